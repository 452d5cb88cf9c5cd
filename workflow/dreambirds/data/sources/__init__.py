"""Data sources, one module each: layout, classes, images and downloads."""
