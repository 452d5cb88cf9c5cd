"""Read, check and expand a config, without reading images or importing torch."""

# the views of a dream, and the suffixes of their file names
VIEWS = {"raw": "", "rescaled": "-rescaled"}
