"""Write the sections of a new config for checkpoints: the runs, their data set, and what to dream."""

from collections.abc import Iterator
from contextlib import suppress

from dreambirds.config.checkpoints import known_model
from dreambirds.data.labels import Label, make_labels, match_classes
from dreambirds.data.synthetic.species import SPECIES
from dreambirds.errors import UserError, counted
from dreambirds.models.names import TIMM, split_name
from dreambirds.startup.new_study.checkpoints import Training
from dreambirds.startup.new_study.models import guess_model
from dreambirds.startup.new_study.photographs import Photographs
from dreambirds.startup.new_study.sections import LISTED, dataset_lines, dreams_lines
from dreambirds.startup.new_study.text import comment, entry, safe_name, suggestion

DREAMT = 8  # checkpoints of a run that dream; the others are comments
SIZE = 224  # pixels of images, if nothing records them


def complete_models(trainings: list[Training]) -> None:
    """Find the architecture and the number of outputs of trainings that do not record them, in place."""
    for training in trainings:
        training.model = known_model(training.model)
        if training.model and (training.outputs or split_name(training.model)[0] != TIMM):
            continue
        fitting = guess_model(training.checkpoints[max(training.checkpoints)], training.model)
        if fitting:
            training.guessed = not training.model
            training.model, outputs = fitting
            training.outputs = training.outputs or outputs


def describe(training: Training) -> str:
    """Return what was found of a training as text, with its epochs."""
    number, model = counted(len(training.checkpoints), "checkpoint"), training.model or "an unknown model"
    plural = "s" if len(training.checkpoints) > 1 else ""
    epochs = f"of {'unknown epochs, numbered by name:' if training.numbered else f'epoch{plural}'}"
    listed = ", ".join(map(str, training.checkpoints))
    names = f"{len(training.classes)} class names" if training.classes else "no class names"
    return f"{number} {epochs} {listed} in '{training.folder}' ({model}, {names})"


def checkpoint_config(
    trainings: list[Training], photographs: Photographs | None, study: str
) -> tuple[list[str], list[str]]:
    """Return the lines of a config that dreams of checkpoints, and what a user has to fill in, as sentences."""
    missing = [f"the model of the run '{name}'" for name, each in _named(trainings).items() if not each.model]
    if photographs:
        missing += [problem for each in trainings for problem in _keep_known_classes(each, photographs)]
    runs = [line for name, training in _named(trainings).items() for line in _run(name, training)]
    data, known = _dataset(trainings, photographs)
    missing += [f"the epochs of the run '{name}'" for name, each in _named(trainings).items() if each.numbered]
    if not known:
        missing.append("the folder of photographs, in 'dataset.path'")
    return [entry("study", study), *data, "runs:", *runs, *_dreams(trainings, photographs, known)], missing


def _keep_known_classes(training: Training, photographs: Photographs) -> Iterator[str]:
    """Leave out the classes of photographs that checkpoints do not have, in place, and yield what does not fit."""
    outputs, labels = training.outputs, list(photographs.labels)
    if training.classes:
        try:
            matched = match_classes(labels, training.classes, {})
        except UserError:
            matched = {}
        if len(matched) < 2:
            yield "'names' of the run, because the class names of the checkpoints are not those of the photographs"
            return
        for label in (label for label in labels if label.label not in matched):
            del photographs.labels[label]
            photographs.left_out.append(f"the folder '{label.folder}', which is not a class of the checkpoints")
    elif outputs and outputs != len(labels):
        yield f"'dataset.labels', because the checkpoints have {outputs} outputs, the photographs {len(labels)} classes"


def _named(trainings: list[Training]) -> dict[str, Training]:
    """Return the trainings by the names of their runs, which are those of their folders."""
    names = make_labels((safe_name(training.folder, "mine"), "", "") for training in trainings)
    return {label.label: training for label, training in zip(names, trainings, strict=True)}


def _run(name: str, training: Training) -> list[str]:
    """Return the section of a run."""
    lines = [f"  {name}:"]
    if training.model:
        found = "recognized by the names and shapes of all tensors" if training.guessed else ""
        lines.append(entry("model", training.model, found, 4))
    else:
        lines.append(suggestion("model", "resnet50", "fill in: the checkpoints do not record their model", 4))
    optional = {"model_options": training.options, "normalization": training.normalization}
    optional["head"] = training.head if training.head != "softmax" else None
    optional["labels"] = str(training.labels) if training.labels else None
    about = {"labels": f"{len(training.classes or ())} class names, in the order of the outputs"}
    lines += [entry(key, value, about.get(key, ""), 4) for key, value in optional.items() if value]
    if training.classes and not training.labels:
        lines.append(comment(f"the checkpoints record the names of {counted(len(training.classes), 'class')}", 4))
    elif not training.classes:
        lines.append(suggestion("labels", "classes.txt", "no class names found: outputs follow the study's order", 4))
    lines.append("    checkpoints:              # by number of completed epochs")
    kept = _spread(list(training.checkpoints))
    for epoch, path in training.checkpoints.items():
        line = entry(epoch, str(path), f"epoch from {training.sources[epoch]}", 6)
        lines.append(line if epoch in kept else f"      # {line.strip()}")
    return lines + [comment(f"left out: {what}", 6) for what in training.left_out]


def _spread(epochs: list[float]) -> list[float]:
    """Return at most DREAMT of the epochs: the first, the last, and some evenly between them."""
    count = min(len(epochs), DREAMT)
    return [epochs[round(number * (len(epochs) - 1) / max(count - 1, 1))] for number in range(count)]


def _dataset(trainings: list[Training], photographs: Photographs | None) -> tuple[list[str], bool]:
    """Return the section `dataset`, and whether it is complete."""
    sizes = [training.image_size for training in trainings if training.image_size]
    size = sizes[0] if sizes else SIZE
    about = "the input size that the checkpoints record" if sizes else "assumed, because nothing records the input size"
    if photographs:
        return dataset_lines(photographs, size, about), True
    drawn = _drawn_labels(trainings)
    if drawn:
        about_drawn = "the classes fit drawn birds; for others, set a folder"
        some = [entry("labels", drawn, indent=2)] if len(drawn) < len(SPECIES) else []
        return ["dataset:", entry("source", "drawn", about_drawn, 2), entry("image_size", size, about, 2), *some], True
    outputs = next((training.outputs for training in trainings if training.outputs), None)
    classes = counted(outputs, "class") if outputs else "the classes"
    fill = suggestion("path", "my/photographs", f"fill in: a folder with {classes}, one subfolder per class", 2)
    return ["dataset:", entry("source", "folder", indent=2), fill, entry("image_size", size, about, 2)], False


def _drawn_labels(trainings: list[Training]) -> list[str]:
    """Return the drawn birds that all networks may have learned, by class names or else by number; or []."""
    species = [Label(label, species.name) for label, species in SPECIES.items()]
    found = []
    for training in trainings:
        with suppress(UserError):  # no class matches
            matched = match_classes(species, training.classes, {}) if training.classes else dict(SPECIES)
            if len(matched) == (len(training.classes or ()) or training.outputs):
                found.append(list(matched))
    return found[0] if len(found) == len(trainings) and all(each == found[0] for each in found) else []


def _dreams(trainings: list[Training], photographs: Photographs | None, known: bool) -> list[str]:
    """Return the section `dreams`."""
    recipes: dict[str, tuple[dict, str]] = {
        "study": ({"preset": "original", "steps": [25, 50, 100], "step_size": 0.02}, "the original study's algorithm"),
        "bird": ({"preset": "bird"}, "coarse shapes first"),
        "portrait": (
            {"preset": "portrait", "epochs": ["last"]},
            "also matches features of photographs; the most expensive",
        ),
    }
    if photographs:
        return dreams_lines(photographs, recipes)
    many = max((training.outputs or 0 for training in trainings), default=0)
    labels = [suggestion("labels", ["0"], "a selection of the classes takes less time", 2)] if many > LISTED else []
    return ["dreams:", *labels, "  recipes:", *(entry(name, *recipe, indent=4) for name, recipe in recipes.items())]
