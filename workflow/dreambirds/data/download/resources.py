"""Photographs that the workflow can fetch by itself: where they go, and whether they are there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resource:
    """One published data set: its name and size for people, and where it lies, relative to the working directory.

    `place` is what the download makes. `signs` are the paths of which one is enough to tell that the data is there,
    each with the place that it speaks for, so that data put there by hand is taken too.
    """

    title: str
    place: str
    signs: dict[str, str]

    def found(self) -> str | None:
        """Return where the data lies; None if it is not there."""
        return next((place for sign, place in self.signs.items() if Path(sign).exists()), None)


RESOURCES = {
    "cub": Resource(
        title="CUB-200-2011 (1.15 GB)",
        place="resources/cub/CUB_200_2011",
        signs={"resources/cub/CUB_200_2011/images.txt": "resources/cub/CUB_200_2011"},
    ),
    "kaggle": Resource(
        title="the CSE455 birds from Kaggle (gigabytes)",
        place="resources/cse455/birds21sp.zip",
        signs={
            "resources/cse455/birds/train": "resources/cse455/birds",
            "resources/cse455/birds21sp.zip": "resources/cse455/birds21sp.zip",
        },
    ),
}


def missing(config: Mapping) -> Resource | None:
    """Return what a study must fetch before its classes can be known; None if it names its data, or has it."""
    dataset = config.get("dataset")
    source = dataset.get("source") if isinstance(dataset, Mapping) else None
    resource = RESOURCES.get(source) if isinstance(source, str) else None
    return None if resource is None or dataset.get("path") is not None or resource.found() else resource


def locate(config: dict) -> dict:
    """Return a checked config whose `dataset.path` is filled in where its data has been fetched; others as they are."""
    dataset = config["dataset"]
    resource = RESOURCES.get(dataset["source"])
    if resource is None or dataset["path"] is not None:
        return config
    return {**config, "dataset": {**dataset, "path": resource.found()}}
