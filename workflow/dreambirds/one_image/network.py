"""The network of one image: a checkpoint of this project, or any model with its weights; and its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import timm

from dreambirds.config.checkpoints import fill_from_facts
from dreambirds.config.class_names import read_class_names
from dreambirds.config.load import Section, check
from dreambirds.config.runs import check_model, check_package, check_weights
from dreambirds.data.labels import labels_of_classes
from dreambirds.data.names import class_indices, composed, folded, normalized
from dreambirds.dream_job.networks import LoadedNetwork
from dreambirds.errors import UserError, did_you_mean, error_context
from dreambirds.io import digest_of, expand, sha256_of
from dreambirds.models import MODEL_FILE, NOT_FILES, PACKAGE
from dreambirds.models.checkpoint import CheckpointInfo, digest_of_tensors, load_checkpoint
from dreambirds.models.checkpoint_facts import read_facts, weights_files
from dreambirds.models.classifier import Classifier, build, load_classifier
from dreambirds.models.imagenet import CLASSES, imagenet_names
from dreambirds.models.names import LOCAL, TIMM, current_name, split_name
from dreambirds.models.networks import stored_class_names
from dreambirds.models.packages import find_weights
from dreambirds.one_image.study import class_names_of
from dreambirds.shapes import as_size

IMAGENET, WITH_BACKGROUND = CLASSES, CLASSES + 1  # numbers of outputs
REMEDY = "set it to package, hub, or a file or folder of weights"
KEYS = ("model_options", "weights_key", "head", "normalization", "image_size")
LOADED = ("model", "weights", *KEYS)
Path_ = str | Path


def load_network(
    model: str | None = None,
    weights: Path_ | None = None,
    *,
    checkpoint: Path_ | None = None,
    names: Path_ | None = None,
    keys: Mapping[str, Any] | None = None,
) -> LoadedNetwork:
    """Return a network that can dream: a checkpoint of this project, or a `model` with its `weights`.

    `checkpoint` is the folder of a checkpoint, or its weights file. A file or folder of weights that was trained
    elsewhere needs the `model`, unless it records it. `weights` are ``package``, ``hub`` or a path, as in a run's
    section. `names` is a text file with one class name per line, in the order of the outputs; by default the names are
    those that the weights record, or ImageNet's. `keys` are other keys of a judge with weights in a config: `KEYS`.
    Raises UserError if the network is not given in exactly one way, or cannot be loaded.
    """
    if checkpoint is not None and weights is not None:
        raise UserError("cannot be combined with weights; remove one of them", "checkpoint")
    if checkpoint is None and weights is None:
        if model is None:
            raise UserError("there is no network; set a model and its weights, or a checkpoint", "model")
        raise UserError(f"are required for '{model}'; {REMEDY}", "weights")
    key, given = ("weights", str(weights)) if checkpoint is None else ("checkpoint", str(checkpoint))
    if given in NOT_FILES and key == "weights":
        return _of_model(model, given, names, key, keys or {})
    check_weights(given, key, "" if key == "checkpoint" else ", hub or package")
    if read_facts(expand(given)).kind != "dreambirds":
        return _of_model(model, given, names, key, keys or {})
    for other, value in (("model", model), ("names", names), ("network", keys or None)):
        if value is not None:
            raise UserError(f"is recorded in the checkpoint '{given}' of this project; remove it", other)
    return load_own(expand(given), key)


def load_member(given: str, weights: Path_ | None) -> LoadedNetwork:
    """Return another network of a committee: a model with ``package`` or ``hub`` `weights`, or a checkpoint.

    Raises UserError as `load_network` does, for the key ``committee``.
    """
    try:
        return load_network(given, weights) if str(weights) in NOT_FILES else load_network(checkpoint=given)
    except UserError as error:
        raise UserError(error.message, "committee") from error


def load_own(path: Path, key: str = "checkpoint") -> LoadedNetwork:
    """Return the network of a checkpoint of this project; errors begin with `key`."""
    file = path / MODEL_FILE if path.is_dir() else path
    with error_context(key):
        classifier, info = load_checkpoint(file, "set another one")
    names = class_names_of(file)
    shown = [names.get(label, label) for label in info.labels]
    origin = {"checkpoint": str(file.absolute()), "model": info.model}
    return LoadedNetwork(classifier, info, shown, sha256_of(file), origin)


def _of_model(model: str | None, weights: str, names: Path_ | None, key: str, keys: Mapping[str, Any]) -> LoadedNetwork:
    """Return a network with weights that were trained elsewhere."""
    section = _section(model, weights, keys)
    is_file = weights not in NOT_FILES
    if is_file:
        fill_from_facts(section, read_facts(expand(weights)))
    if not section["model"]:
        records = f"'{weights}' does not record it" if is_file else f"the weights are '{weights}'"
        raise UserError(f"is required, because {records}; set it to the name of an architecture", "model")
    check_model(section["model"], "model")
    if weights == PACKAGE:
        check_package(section["model"], "weights")
    section["head"] = section["head"] or "softmax"
    with error_context("names") if names is not None else error_context(key):
        path = [expand(weights)] if is_file else []
        classes, _ = read_class_names(path, None if names is None else str(names))
    classifier, shape, classes = _load(section, classes)
    info = CheckpointInfo(
        section["model"],
        section["model_options"],
        [label.label for label in labels_of_classes(classes)],
        run="",
        epoch=0,
        image_size=as_size(shape),
        head=section["head"],
        normalization=section["normalization"],
    )
    origin = {"model": section["model"], "weights": str(expand(weights).absolute()) if is_file else weights}
    origin |= {"names": str(Path(names).absolute())} if names is not None else {}
    origin |= {"keys": dict(keys)} if keys else {}
    return LoadedNetwork(classifier.eval(), info, classes, _digest(section["model"], weights, classifier), origin)


def _section(model: str | None, weights: str, keys: Mapping[str, Any]) -> Section:
    """Return the section of a judge with weights, checked against the schema. Raises UserError for a wrong key."""
    for key in keys:
        if key not in KEYS:
            raise UserError(f"unknown key '{key}'; {did_you_mean(key, KEYS)}", "network")
    judge = {"model": model, "weights": weights, **keys}
    config = {"runs": {"a": {}}, "dreams": {"recipes": {"a": {}}}, "judges": {"network": judge}}
    try:
        check(config, "config")
    except UserError as error:
        raise UserError(error.message.removeprefix("judges.network."), "network") from error
    return judge


def _load(section: Section, classes: list[str] | None) -> tuple[Classifier, tuple[int, int], list[str]]:
    """Return the classifier, its input (height, width) and the names of its classes.

    Without names, the head is ImageNet's, or that of the model's pretrained weights.
    """
    kind, _ = split_name(section["model"])
    if classes is None and section["weights"] == "hub":
        classes = stored_class_names(section["model"])
    counts = [len(classes)] if classes else [IMAGENET, WITH_BACKGROUND]
    if not classes and section["weights"] == "hub" and kind == TIMM:
        counts = [timm.get_pretrained_cfg(current_name(section["model"])).num_classes]
    if not classes and section["weights"] == PACKAGE:
        counts = [IMAGENET]
    first: UserError | None = None
    for count in counts:
        try:
            classifier, shape = load_classifier(count, **{key: section[key] for key in LOADED})
        except UserError as error:
            first = first or error
            continue
        return classifier, shape, classes or default_names(count)
    if len(counts) == 1 or kind == LOCAL:
        raise first or AssertionError
    build(
        section["model"], IMAGENET, section["model_options"], section["weights"]
    )  # raises if not only the head differs
    problem = f"are required, because '{section['weights']}' records no class names and its classes are not ImageNet's"
    raise UserError(f"{problem}; set it to a text file with one class name per line", "names") from first


def default_names(count: int) -> list[str]:
    """Return the names of the classes of a head without recorded ones: ImageNet's, or else their numbers."""
    known = imagenet_names(count) if count in (IMAGENET, WITH_BACKGROUND) else None
    return known or [str(number) for number in range(count)]


def _digest(model: str, weights: str, classifier: Classifier) -> str:
    """Return the sha256 of a file of weights, one of all shards, or that of the tensors if there is no file."""
    if weights == PACKAGE:
        return sha256_of(find_weights(model))
    if weights in NOT_FILES:
        return digest_of_tensors(classifier.network.state_dict())
    files = [path for path in weights_files(expand(weights)) if path.suffix != ".json"]
    return sha256_of(files[0]) if len(files) == 1 else digest_of([sha256_of(path) for path in files])


def find_class(network: LoadedNetwork, name: str) -> int:
    """Return the index of a class by its name, its label, one of its synonyms, or its number.

    Names are compared as `normalized` does, unless one is the same without case. Raises UserError, with the closest
    names, if no class or several classes have it.
    """
    labels, names = network.info.labels, network.names
    for form, known in product((composed, folded), (labels, names)):
        same = [index for index, each in enumerate(known) if form(each) == form(name)]
        if len(same) == 1 and not _is_shared(names, labels, known[same[0]]):
            return same[0]
    both = [class_indices(known).get(normalized(name), []) for known in (names, labels)]
    found = sorted({index for indices in both for index in indices})
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        listed = ", ".join(f"{index} ({names[index]})" for index in found[:8])
        raise UserError(f"'{name}' is the name of several classes: {listed}; pass the number of one", "class")
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    words = [part.strip() for each in names for part in each.replace(")", "").split("(")]
    hint = did_you_mean(name, list(dict.fromkeys(words)), "available")
    raise UserError(f"the network has no class '{name}'; {hint}", "class")


def _is_shared(names: Sequence[str], labels: Sequence[str], name: str) -> bool:
    """Return whether several classes have this very name; their labels differ by a number."""
    return name in labels and names.count(names[labels.index(name)]) > 1


def with_one_label(network: LoadedNetwork, label: str) -> LoadedNetwork:
    """Return the network for a target that is not a class; its single label stands for output 0, which is not used."""
    return replace(network, info=replace(network.info, labels=[label]))
