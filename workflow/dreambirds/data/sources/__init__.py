"""Data sources: one module each, with its layout, its classes, its images, and what it downloads."""
