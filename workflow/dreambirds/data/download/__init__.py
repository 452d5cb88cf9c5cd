"""Downloads of data sets: resumable, checked, and safe to run twice at once."""
