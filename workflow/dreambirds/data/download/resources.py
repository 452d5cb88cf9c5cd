"""Photographs that the workflow can download: which a study lacks, and where they lie."""

from collections.abc import Mapping

from dreambirds.data.sources.catalog import SOURCES
from dreambirds.data.sources.source import Resource

RESOURCES: dict[str, Resource] = {name: source.resource for name, source in SOURCES.items() if source.resource}


def missing(config: Mapping) -> Resource | None:
    """Return what a study must download before its classes can be known; None if it names its data, or has it."""
    dataset = config.get("dataset")
    source = dataset.get("source") if isinstance(dataset, Mapping) else None
    resource = RESOURCES.get(source) if isinstance(source, str) else None
    return None if resource is None or dataset.get("path") is not None or resource.found() else resource


def locate(config: dict) -> dict:
    """Return a checked config whose `dataset.path` is filled in where its data has been downloaded."""
    dataset = config["dataset"]
    resource = RESOURCES.get(dataset["source"])
    if resource is None or dataset["path"] is not None:
        return config
    return {**config, "dataset": {**dataset, "path": resource.found()}}
