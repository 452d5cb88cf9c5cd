"""Find classes, model, size and normalization in what other programs record next to weights; without torch."""

import re
from collections.abc import Iterator
from typing import Any

from dreambirds.models.inert_pickle import as_mapping

CLASS_KEYS = ("classes", "class_names", "class_to_idx", "idx_to_class", "labels", "CLASSES", "id2label", "label_names")
PARTS = ("meta", "hyper_parameters", "hparams", "args", "config", "cfg", "dataset_meta")
MODEL_KEYS = ("architecture", "arch", "model_name", "model")
SYNSET = re.compile(r"n\d{8}")


def parts_of(content: dict) -> Iterator[dict]:
    """Yield a checkpoint's content, and the mappings and namespaces in it that describe its training."""
    yield content
    for name in PARTS:
        part = as_mapping(content.get(name))
        yield part
        yield from (as_mapping(part.get(inner)) for inner in PARTS)


def classes_in(content: dict) -> list[str] | None:
    """Return the class names that a checkpoint records, in the order of the outputs; None if it records none."""
    found = (as_classes(part.get(key)) for part in parts_of(content) for key in CLASS_KEYS)
    return next((classes for classes in found if classes), None)


def as_classes(value: Any) -> list[str] | None:
    """Return class names in order, from a list of names or a map between names and the numbers 0 to n - 1.

    Anything else gives None, as do the names that transformers uses for classes without names.
    """
    if isinstance(value, dict) and value:
        by_name = all(isinstance(number, int) for number in value.values())  # the names may be numbers, too
        names = {_index(number): name for name, number in value.items()} if by_name else {}
        names = names or {_index(number): name for number, name in value.items()}
        value = [names.get(number) for number in range(len(value))]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        return None
    return None if all(re.fullmatch(r"LABEL_\d+", name) for name in value) else list(value)


def _index(value: Any) -> int | None:
    """Return the number of a class, which JSON writes as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def model_in(content: dict, kind: str) -> dict[str, Any]:
    """Return the facts on the model that a checkpoint of torch records, by field of CheckpointFacts."""
    facts: dict[str, Any] = {}
    if any(_several_at_once(part) for part in parts_of(content)):
        facts["head"] = "sigmoid"
    args = as_mapping(content.get("args"))
    names = (part.get(key) for part in (args, *parts_of(content)) for key in MODEL_KEYS)
    name = next((name for name in names if isinstance(name, str) and name), None)
    if kind == "timm" and not args:  # then 'arch' is the name of a Python class
        name = None
    if kind == "torchvision" and {"workers", "print_freq"} <= args.keys():  # torchvision's own training
        return {**facts, "model": f"torchvision:{name}" if name else None, **_size(args.get("val_crop_size"))}
    options = dict(as_mapping(args.get("model_kwargs")))
    if isinstance(args.get("in_chans"), int):
        options["in_chans"] = args["in_chans"]
    sizes = [args.get("input_size"), args.get("img_size")] if kind == "timm" else []
    size = next((_size(size) for size in sizes if _size(size)), {})
    return {**facts, "model": name, "model_options": options, **size, **_normalization(args)}


def _several_at_once(part: dict) -> bool:
    """Return whether a mapping states that several classes apply to one image."""
    stated = part.get("multilabel") is True or part.get("multi_label") is True or part.get("task") == "multilabel"
    return stated or part.get("problem_type") == "multi_label_classification"


def config_facts(config: dict) -> dict[str, Any]:
    """Return the facts that a ``config.json`` of timm or transformers records, by field of CheckpointFacts.

    Only what it records has an entry. Raises AttributeError or TypeError if it is malformed.
    """
    facts: dict[str, Any] = {}
    pretrained = config.get("pretrained_cfg") or config
    name = config.get("architecture") or next(iter(config.get("architectures") or ()), None)
    if name:
        facts["model"] = name
    if config.get("model_args"):
        facts["model_options"] = dict(config["model_args"])
    classes = as_classes(config.get("label_names") or pretrained.get("label_names") or pretrained.get("labels"))
    classes = classes or as_classes(config.get("id2label"))
    if classes:
        described = config.get("label_descriptions") or pretrained.get("label_descriptions") or {}
        known = isinstance(described, dict) and all(SYNSET.fullmatch(name) and name in described for name in classes)
        facts["classes"] = [described[name] for name in classes] if known else classes
    if _several_at_once(config):
        facts["head"] = "sigmoid"
    return facts | _size(pretrained.get("input_size")) | _normalization(pretrained)


def _size(value: Any) -> dict[str, Any]:
    """Return an image size as an entry, from a side, (height, width) or (channels, height, width); else nothing."""
    sides = [value, value] if isinstance(value, int) else list(value[-2:]) if isinstance(value, list | tuple) else []
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        return {}
    return {"image_size": sides[0] if sides[0] == sides[1] else sides}


def _normalization(part: dict) -> dict[str, Any]:
    """Return a mean and standard deviation as an entry, if both are recorded as numbers."""
    values = {key: part.get(key) for key in ("mean", "std")}
    lists = {key: list(value) for key, value in values.items() if isinstance(value, list | tuple) and value}
    if len(lists) < 2 or not all(isinstance(number, int | float) for value in lists.values() for number in value):
        return {}
    return {"normalization": lists}
