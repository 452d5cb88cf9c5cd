"""Entry point, GPUs, locks and code version of every job."""
