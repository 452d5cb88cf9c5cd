"""What was measured of a study's dreams, as plots, each with its numbers as a table."""
