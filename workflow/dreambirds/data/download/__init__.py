"""Downloads of data sets: resumable, verified, and safe to run concurrently."""
