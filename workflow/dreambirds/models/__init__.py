"""Classifiers from timm: build them, store them, and prepare them for dreaming.

A checkpoint is a folder that timm and the Hugging Face hub can open: `MODEL_FILE` contains the weights, and
`CONFIG_FILE` records for timm which model they belong to.
"""

from typing import NamedTuple

MODEL_FILE, CONFIG_FILE = "model.safetensors", "config.json"
PACKAGE = "package"
NOT_FILES = (None, "hub", PACKAGE)  # values of a run's `weights` that are not paths


class HeadRows(NamedTuple):
    """The row of a file's head that each output of a network takes, None for one that the file does not have.

    `count` is the number of rows that the file's head has if its class names are complete.
    """

    rows: list[int | None]
    count: int
