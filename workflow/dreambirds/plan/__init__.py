"""The study as a table of dreams, and what each of its jobs needs."""
