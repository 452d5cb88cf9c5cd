"""Dreaming: gradient ascent on pictures that a frozen classifier is asked to recognise.

Nothing in here knows Snakemake, the files of a study, or the names of birds.
"""
