"""Classifiers from timm: how they are built, stored, and made ready to dream.

A checkpoint is a folder that timm and the Hugging Face hub open: `MODEL_FILE` has the weights, and `CONFIG_FILE` tells
timm which model they belong to.
"""

MODEL_FILE, CONFIG_FILE = "model.safetensors", "config.json"
NOT_FILES = (None, "hub", "package")  # what a run's `weights` may be instead of a file
