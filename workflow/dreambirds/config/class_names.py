"""Class names of a network that was trained elsewhere: what its outputs are called, and which class each is."""

from collections.abc import Sequence
from pathlib import Path

from dreambirds.config.checkpoints import facts_of
from dreambirds.config.load import Section
from dreambirds.data.labels import Label, check_labels, match_classes, read_names
from dreambirds.errors import UserError, counted, error_context, in_yaml
from dreambirds.io import expand
from dreambirds.models import NOT_FILES, PACKAGE, HeadRows
from dreambirds.models.imagenet import imagenet_names
from dreambirds.models.names import HUB, LOCAL, split_name

STUDY = "the study's data set"


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


def judge_classes(judge: Section) -> list[str] | None:
    """Return the class names of a judge with `weights`, in the order of its outputs; None if nothing records them.

    Those of a package are ImageNet's, which are known only where timm is installed. Raises UserError as
    `read_class_names` does.
    """
    shipped = judge["weights"] == PACKAGE
    names, _ = read_class_names([] if shipped else [expand(judge["weights"])], judge["labels"])
    return imagenet_names() if shipped and names is None else names


def match_outputs(
    labels: list[Label], classes: list[str], names: dict[str, str], any_number: bool = False
) -> dict[str, int]:
    """Return the index of the output for each of the study's labels that a network knows.

    `classes` are the names of its outputs, and `names` those of labels that have another name there. The study's own
    labels in their order match by position. Raises UserError as `match_classes` does.
    """
    check_labels(labels, names)
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
