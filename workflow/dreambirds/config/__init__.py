"""From a config file to the table of dreams that a study asks for; reads no picture and imports no torch."""

# the views of a dream, and what the names of their files end in
VIEWS = {"raw": "", "rescaled": "-rescaled"}
