"""Classifiers from timm: build them, store them, and prepare them for dreaming.

A checkpoint is a folder that timm and the Hugging Face hub can open: `MODEL_FILE` contains the weights, and
`CONFIG_FILE` records for timm which model they belong to.
"""

MODEL_FILE, CONFIG_FILE = "model.safetensors", "config.json"
NOT_FILES = (None, "hub", "package")  # values of a run's `weights` that are not paths
