"""What the dream of one image needs besides its network: photographs and statistics of a data set."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dreambirds.config.one_recipe import WHERE
from dreambirds.config.recipes import check_sizes, presets_without_photographs
from dreambirds.data.image_files import find_photographs
from dreambirds.data.tables import read_labels
from dreambirds.dream_job.context import DreamJob, photograph_shape
from dreambirds.dream_job.networks import LoadedNetwork
from dreambirds.dream_job.targets import Facts
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.dreaming.octaves import evaluation_shape
from dreambirds.dreaming.recipe import as_recipe
from dreambirds.errors import UserError, reason_of
from dreambirds.io import expand, file_problem, is_file
from dreambirds.models.classifier import probe
from dreambirds.one_image.network import with_one_label
from dreambirds.one_image.study import dataset_of, photographs_of, start_of_class, statistics_file
from dreambirds.shapes import in_proportion, shape_of, shape_text

log = logging.getLogger(__name__)
LONGEST = 8  # times the shorter side of a start photograph; of a longer one, only the center is used
BYTES = 4 * 10**9  # more than one image needs; if memory runs out, that is reported
GIVE_START = "set the path of a photograph, or another start"
MISSING = {  # for what a recipe needs: the option, what is missing, and what to do
    "objective": ("photographs", "compares dreams with photographs of the class", "set the folder of these"),
    "start": ("start", "starts from a photograph of the class, of which there is none", GIVE_START),
    "mean": ("start", "starts from the mean image of a class in a study's data set", GIVE_START),
    "parameterization": ("preset", "needs the mean spectrum of a data set", "use the checkpoint of a study"),
}


def make_job(
    network: LoadedNetwork,
    parameters: dict[str, Any],
    recipe: str,
    label: str,
    title: str,
    is_class: bool,
    photographs: str | Path | None,
    temporary: ExitStack,
    committee: Sequence[LoadedNetwork] = (),
    targets: Mapping[str, Facts] | None = None,
    shape: Sequence[int] | None = None,
) -> DreamJob:
    """Return the job of one dream of a label with complete parameters.

    `recipe` is its name in errors. `is_class` is whether the label is one of the network's classes. The `photographs`
    are a folder of those of the class, by default the training photographs of the study that the network's checkpoint
    lies in. `targets` are those of a `DreamJob`. `shape` is the (height, width) of the dream, by default that of
    `_shape_of`. Files that are written for the job are removed when `temporary` closes. Raises UserError if the size
    does not fit the recipe, or photographs are missing.
    """
    dataset = dataset_of(Path(network.origin["checkpoint"])) if "checkpoint" in network.origin else None
    if photographs is not None and not needs_photographs(parameters["objective"]):
        raise UserError(f"are not used by the recipe '{recipe}'; remove them", "photographs")
    start = _start(parameters, label, dataset)
    shape = (shape[0], shape[1]) if shape else _shape_of((network, *committee), parameters, start)
    check_sizes(parameters, shape, WHERE)
    references, reference_labels = _references(parameters, label, dataset, photographs, shape)
    of_class_mean, of_spectrum = parameters["start"] == "class_mean", parameters["parameterization"] == "maco"
    found = {
        "objective": references is not None or not needs_photographs(parameters["objective"]),
        "start": start is not None or parameters["start"] != "photograph",
        "mean": not of_class_mean or (dataset is not None and is_class),
        "parameterization": not of_spectrum or dataset is not None,
    }
    for key, complete in found.items():
        if not complete:
            raise _missing(recipe, key)
    statistics = None
    if dataset is not None and (of_class_mean or of_spectrum):
        statistics = statistics_file(dataset, shape, Path(temporary.enter_context(TemporaryDirectory())))
    return DreamJob(
        network if is_class or targets else with_one_label(network, label),
        recipe,
        parameters,
        {label: title},
        {label: start} if start else {},
        statistics,
        BYTES,
        references=references,
        committee=tuple(committee),
        reference_labels=reference_labels,
        where=WHERE,
        keep=False,
        targets=targets or {},
        shape=shape,
    )


def _shape_of(networks: Sequence[LoadedNetwork], parameters: Mapping[str, Any], start: Path | None) -> tuple[int, int]:
    """Return the (height, width) of a dream: in the proportions of its start photograph, if the networks accept that.

    Otherwise, and without a photograph of the user's own, it is in those of the images that the dreamer was trained
    with. The shorter side is the `size` of the recipe, by default that of these images.
    """
    trained = shape_of(networks[0].info.image_size)
    side = parameters["size"] or min(trained)
    found = photograph_shape(start) if start is not None and parameters["start_path"] is not None else None
    if found is None:  # a photograph that cannot be read is an error later
        return in_proportion(trained, side)
    if max(found) > LONGEST * min(found):
        log.warning("the ends of '%s' are cut off, because it is more than %d times as long as wide", start, LONGEST)
        found = (min(found[0], LONGEST * min(found)), min(found[1], LONGEST * min(found)))
    own, recipe = in_proportion(found, side), as_recipe(dict(parameters), side, min(trained))
    for network in networks:
        try:
            probe(network.classifier, evaluation_shape(recipe, own), len(network.info.labels), own_size=True)
        except UserError as error:
            log.warning(
                "the edges of '%s' are cut off, because %s; to choose what is kept, crop it in the proportions of %s",
                start,
                error.message.partition(";")[0],
                shape_text(trained),
            )
            return in_proportion(trained, side)
    return own


def _missing(recipe: str, key: str) -> UserError:
    """Return the error for a recipe that needs photographs or a data set, and does not have them."""
    option, problem, remedy = MISSING[key]
    known = ", ".join(presets_without_photographs())
    others = "" if option == "start" else f", or choose a preset without photographs: {known}"
    return UserError(f"'{recipe}' {problem}; {remedy}{others}", option)


def _references(
    parameters: Mapping[str, Any],
    label: str,
    dataset: Path | None,
    photographs: str | Path | None,
    shape: tuple[int, int],
) -> tuple[Path | tuple[Path, ...] | None, dict[str, str]]:
    """Return the photographs that a dream is compared with, None if there are none, and their class by label."""
    if not needs_photographs(parameters["objective"]):
        return None, {}
    if photographs is not None:
        return _in_folder(expand(str(photographs))), {}
    if dataset is None:
        return None, {}
    labels = list(read_labels(dataset)["label"])
    if label not in labels:
        return None, {}
    following = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
    compared = following[label] if parameters["match_class"] == "next" else label
    return photographs_of(dataset, compared, shape), {label: compared}


def _in_folder(folder: Path) -> tuple[Path, ...]:
    try:
        files = find_photographs(folder)
    except (OSError, ValueError) as error:
        problem = f"'{folder}' is not a folder that can be read ({reason_of(error)})"
        raise UserError(f"{problem}; correct the path", "photographs") from error
    if not files:
        raise UserError(f"'{folder}' contains no photograph; set another folder", "photographs")
    return tuple(files)


def _start(parameters: Mapping[str, Any], label: str, dataset: Path | None) -> Path | None:
    """Return the photograph that a dream starts from, or None."""
    if parameters["start"] != "photograph":
        return None
    if parameters["start_path"] is None:
        return start_of_class(dataset, label) if dataset else None
    if "://" in parameters["start_path"]:
        problem = f"'{parameters['start_path']}' is an address, not a path"
        raise UserError(f"{problem}; download the file, and pass its path", "start")
    path = expand(parameters["start_path"])
    if not is_file(path):
        problem = file_problem(path, "is not a file")
        raise UserError(f"'{parameters['start_path']}' {problem}; correct the path", "start")
    return path
