"""Plan of a study: table of dreams, and the inputs and parameters of its jobs."""
