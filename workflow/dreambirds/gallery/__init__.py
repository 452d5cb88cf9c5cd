"""HTML pages: the interactive gallery, findings, and comparisons."""
