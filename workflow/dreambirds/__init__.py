"""Dreaming of Birds: what has a classifier learnt, and when?"""

__version__ = "0.1.0"
