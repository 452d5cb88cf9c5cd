"""Class names of a network that was trained elsewhere: what its outputs are called, and which class each is."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dreambirds.config.checkpoints import ForeignCheckpoint, facts_of
from dreambirds.config.load import Section
from dreambirds.data.labels import (
    ALL,
    Label,
    choose_labels,
    labels_of_classes,
    match_classes,
    names_by_label,
    read_names,
)
from dreambirds.data.sources.catalog import has_photographs, list_labels
from dreambirds.errors import UserError, counted, error_context, in_yaml
from dreambirds.io import expand
from dreambirds.models import NOT_FILES, PACKAGE, HeadRows
from dreambirds.models.imagenet import CLASSES, has_imagenet_weights, imagenet_names, imagenet_outputs
from dreambirds.models.names import HUB, LOCAL, split_name

STUDY = "the study's data set"
MOST_CLASSES = 100  # that are dreamt of without being listed, if they are those of a network


def weights_path(run: Section) -> Path | None:
    """Return the file or folder of a run's initial weights, None if they are from elsewhere or random.

    With ``hub``, those of a model in a folder are in that folder.
    """
    kind, folder = split_name(run["model"])
    if run["weights"] == "hub" and kind == LOCAL:
        return expand(folder)
    return None if run["weights"] in NOT_FILES else expand(run["weights"])


def check_class_names(run: Section, where: str) -> None:
    """Raise UserError for the keys of a trained run that describe a file of weights, if it has none or they are wrong.

    `where` is the path of the run's section.
    """
    if weights_path(run) or (run["weights"] == "hub" and split_name(run["model"])[0] == HUB):
        with error_context(where):
            if run["labels"]:
                read_names(expand(run["labels"]))
        return
    for key in ("labels", "names", "weights_key"):
        if run[key]:
            problem = f"describes a file of weights, and 'weights' is {in_yaml(run['weights'])}"
            raise UserError(f"{where}.{key}: {problem}; remove it, or set 'weights' to a file")


def read_class_names(weights: Sequence[Path], labels: str | None) -> tuple[list[str] | None, str]:
    """Return the class names of a network, in the order of its outputs, and where they come from.

    `weights` are its files or folders of weights, one for each epoch, and `labels` is the file of names that the config
    sets. The names are None if there are none: then the classes are those of the study. Raises UserError, for the key
    ``labels``, if that file cannot be read or contains no names, or if two files of weights record different ones.
    """
    if labels:
        return read_names(expand(labels)), f"'{labels}'"
    recorded = {path: names for path in weights if (names := facts_of(path).classes)}
    for path, names in recorded.items():
        first = next(iter(recorded))
        if names != recorded[first]:
            problem = f"'{first}' and '{path}' record different class names"
            raise UserError(f"{problem}; set it to a file with those of all, in the order of the outputs", "labels")
    return next(iter(recorded.values()), None), f"'{next(iter(recorded), None)}'" if recorded else STUDY


def network_names(
    run: Section, checkpoints: Collection[ForeignCheckpoint], photographs: bool
) -> tuple[list[str] | None, str]:
    """Return the class names of a network that is not trained, in the order of its outputs, and where they come from.

    `run` is its section. The names are None if nothing records them and the study has `photographs`: then the classes
    are those of the study. Otherwise 1000 or 1001 outputs are ImageNet's. Raises UserError as `read_class_names` does,
    and, without photographs, if the names are unknown.
    """
    model, weights = run["model"], [checkpoint.weights for checkpoint in checkpoints]
    files = [path for each in weights if (path := weights_path({"model": model, "weights": each}))]
    names, origin = read_class_names(files, run["labels"])
    if names is None and (outputs := _imagenet_outputs(model, files, photographs)):
        names, origin = imagenet_names(outputs), "ImageNet"
        if names is None:
            raise UserError(
                "timm, which lists ImageNet's classes, is not installed here; run `pip install timm`", "model"
            )
    if names is None and not photographs:
        problem = f"is required, because '{weights[0]}' does not record its class names"
        raise UserError(
            f"{problem}; set it to a text file with one name per line, in the order of the outputs", "labels"
        )
    return names, origin


def _imagenet_outputs(model: str, files: list[Path], photographs: bool) -> int | None:
    if not files:
        return CLASSES if has_imagenet_weights(model) else None
    return None if photographs else imagenet_outputs(files[-1])


def study_labels(
    dataset: Section, runs: dict[str, Section], foreign: Mapping[str, Mapping[int | float, ForeignCheckpoint]]
) -> list[Label]:
    """Return the classes of a study: those of its data set or, without photographs, those of its first run's network.

    Raises UserError as `list_labels` and `network_names` do.
    """
    if has_photographs(dataset):
        return list_labels(dataset)
    first = next(iter(runs))
    with error_context(f"runs.{first}"):
        names, _ = network_names(runs[first], foreign[first].values(), photographs=False)
    return labels_of_classes(names or [])


def dreamt_labels(
    labels: list[Label], requested: list[str] | str | None, photographs: bool, others: bool = False
) -> list[Label]:
    """Return the classes to dream of, in the order of `labels`.

    None requests all, or none if the study has `others` targets. Raises UserError as `choose_labels` does, and, without
    photographs, if all of many classes are dreamt unasked.
    """
    if requested is None and others:
        return []
    if requested is None and not photographs and len(labels) > MOST_CLASSES:
        problem = f"is null, and the network has {len(labels)} classes"
        example = in_yaml([label.label for label in labels[:2]])
        raise UserError(f"{problem}; list those to dream of, such as {example}, or set it to {ALL}", "dreams.labels")
    return choose_labels(labels, requested, "dreams.labels")


def judge_classes(judge: Section) -> list[str] | None:
    """Return the class names of a judge with `weights`, in the order of its outputs; None if nothing records them.

    Those of a package, and of a file with 1000 or 1001 outputs that records none, are ImageNet's, which are known only
    where timm is installed. Raises UserError as `read_class_names` does.
    """
    files = [] if judge["weights"] == PACKAGE else [expand(judge["weights"])]
    names, _ = read_class_names(files, judge["labels"])
    if names is None:
        outputs = imagenet_outputs(files[0]) if files else CLASSES
        return imagenet_names(outputs) if outputs else None
    return names


def match_outputs(
    labels: list[Label], classes: list[str], names: dict[str, str], any_number: bool = False
) -> dict[str, int]:
    """Return the index of the output for each of the study's labels that a network knows.

    `classes` are the names of its outputs, and `names` those of labels that have another name there. The study's own
    labels in their order match by position. Raises UserError as `match_classes` does.
    """
    names = names_by_label(labels, names)
    own = [label.label for label in labels]
    if classes == own and not names:
        return {label: index for index, label in enumerate(own)}
    found = match_classes(labels, classes, names, any_number)
    for label, index in found.items():
        other = next(each for each, same in found.items() if same == index)
        if other != label:
            problem = f"the classes '{other}' and '{label}' are both the network's class '{classes[index]}'"
            raise UserError(f"{problem}; set another name for one of them", "names")
    return found


def output_labels(labels: list[Label], classes: list[str], names: dict[str, str]) -> list[str]:
    """Return the labels of a network's outputs: the study's label where one matches, else the output's own name.

    They are unique: a name that is not unique has the number of its output after it.
    """
    known = {index: label for label, index in match_outputs(labels, classes, names).items()}
    taken = set(known.values()) | {name for name in classes if classes.count(name) > 1}
    return [known.get(index) or (f"{name} ({index})" if name in taken else name) for index, name in enumerate(classes)]


def head_rows(labels: list[Label], run: Section, of_hub: list[str] | None = None) -> tuple[HeadRows | None, str]:
    """Return the rows of the head of a run's initial weights, and where the class names come from.

    `of_hub` are the names that a model on the hub records. The rows are None if nothing says what the outputs are
    called.
    """
    path = weights_path(run)
    classes, origin = read_class_names([path] if path else [], run["labels"])
    if classes is None and of_hub:
        classes, origin = of_hub, f"'{run['model']}'"
    if classes is None:
        return None, origin
    known = match_outputs(labels, classes, run["names"], any_number=True)
    return HeadRows([known.get(label.label) for label in labels], len(classes)), origin


def check_outputs(labels: list[Label], dreamt: list[Label], classes: list[str], run: Section) -> None:
    """Raise UserError unless a network has an output for every class that is dreamt of.

    `labels` are the study's classes, `classes` the names of the network's outputs, and `run` the section of its run.
    """
    known = match_outputs(labels, classes, run["names"])
    missing = [label for label in dreamt if label.label not in known]
    if missing:
        first = f"'{missing[0].label}' ({missing[0].name})"
        others = f" and {counted(len(missing) - 1, 'other class')}" if missing[1:] else ""
        problem = f"the network has no class for {first}{others} among its {len(classes)}"
        raise UserError(
            f"{problem}; set its name for it here, or list the classes that it knows in 'dreams.labels'", "names"
        )
