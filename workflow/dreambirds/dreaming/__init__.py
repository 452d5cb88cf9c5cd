"""Dreaming: gradient ascent on images to maximize a score of a frozen classifier.

Nothing in this package depends on Snakemake, on the files of a study, or on the names of classes.
"""
