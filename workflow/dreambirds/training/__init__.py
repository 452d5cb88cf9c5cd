"""Training as a chain of jobs: each checkpoint is trained from the previous one."""
