"""Pages: a gallery to slide through, findings, comparisons."""
