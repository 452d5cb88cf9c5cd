"""Classifiers from timm: how they are built, stored, and made ready to dream."""
