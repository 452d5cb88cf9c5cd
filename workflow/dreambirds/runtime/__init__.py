"""What every job shares: its entry, its GPUs, its locks, and the version of its code."""
