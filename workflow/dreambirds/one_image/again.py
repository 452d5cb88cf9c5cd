"""Make a dream again from its metadata, and compare the pixels."""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreambirds.config.one_recipe import DREAM, recorded_parameters
from dreambirds.data.image_files import open_file
from dreambirds.data.image_io import open_image
from dreambirds.device import available_gpus, choose_device
from dreambirds.dream_job.image_files import read_facts, versions
from dreambirds.dream_job.networks import LoadedNetwork
from dreambirds.dream_job.start_dreams import StartDream
from dreambirds.errors import UserError, did_you_mean, error_context, reason_of
from dreambirds.io import exists, file_problem
from dreambirds.models import NOT_FILES
from dreambirds.one_image.image import OneImage, Progress, compute
from dreambirds.one_image.inputs import make_job
from dreambirds.one_image.network import load_network, load_own
from dreambirds.one_image.study import check_sha256, find_checkpoint, find_dream
from dreambirds.shapes import in_proportion, shape_of

NEEDED = ("label", "step", "parameters", "checkpoint_sha256", "precision")


@dataclass(frozen=True)
class Redream:
    """A dream that was made again: the new image, and its difference from the first.

    `difference` is the mean absolute difference of the pixels in grey levels, from 0 to 255. `versions` maps each
    library whose version differs to the version then and the version now.
    """

    dream: OneImage
    difference: float
    identical: bool
    versions: dict[str, tuple[str, str]]


def redream(
    picture: Path | str,
    *,
    checkpoint: Path | str | None = None,
    start: Path | str | None = None,
    photographs: Path | str | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Redream:
    """Make the dream in a PNG file again, from the metadata that `dream_image` or a study wrote into it.

    The network is found by its recorded path or package, or in the results of studies, and must have the recorded
    sha256; `checkpoint`, `start` and `photographs` replace recorded paths. `device` and `threads` are those of
    `dream_image`, by default the recorded ones where they exist. Raises UserError if the file has no such metadata, or
    something that it needs is missing or has changed.
    """
    picture = Path(picture)
    facts, pixels = read_dream(picture)
    network = _network(facts, picture, checkpoint)
    members = facts.get("committee", [])
    others = tuple(_network(member, picture, None) for member in members)
    target, label = facts.get("target", {}), str(facts["label"])
    targets = {label: target} if "layer" in target or "classes" in target else {}  # of a study
    is_class = not targets and ("index" in target or "network" not in facts)
    if is_class and label not in network.info.labels:
        hint = did_you_mean(label, network.info.labels, "available")
        raise UserError(f"the network has no class '{label}'; {hint}", "checkpoint")
    parameters = recorded_parameters({**facts["parameters"], "precision": facts["precision"]}, facts["step"])
    from_dream = parameters["start"] == DREAM
    if not from_dream and (start is not None or (parameters.get("start_path") and facts.get("start_file"))):
        parameters["start_path"] = str(start or facts["start_file"])
    given = photographs or (_recorded_folder(facts) if "network" in facts else None)
    recorded = facts.get("device", "cpu")
    requested = device or (recorded if recorded in ("cpu", *available_gpus()) else "auto")
    chosen = choose_device(1, threads or facts.get("threads") or 1, requested)
    title = network.names[network.info.labels.index(label)] if is_class else label
    with ExitStack() as temporary:
        recipe = str(facts.get("recipe", "recipe"))
        trained = shape_of(network.info.image_size)
        shape = facts.get("size") or in_proportion(trained, parameters["size"] or min(trained))  # without: of a study
        inputs = (label, title, is_class, given, temporary, others, targets)
        job = make_job(network, parameters, recipe, *inputs, shape=shape)
        _check_start(job.photographs.get(label), facts)
        if from_dream:
            job = replace(job, start_dreams={label: _start_dream(facts, picture, start)})
        copied = {"target": target} if target else {}
        again = compute(job, chosen, copied, str(facts.get("view", "raw")), int(facts.get("batch", 1)), progress)
    if again.facts.get("references_sha256") != facts.get("references_sha256"):
        raise UserError(
            "the photographs are not those that the image was compared with; set their folder", "photographs"
        )
    return _compared(again, pixels, facts)


def read_dream(picture: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return the metadata and the pixels (H, W, 3) of a dream in a PNG file.

    Raises UserError if the file is not one, or has no metadata of this project.
    """
    if not picture.is_file():
        problem = file_problem(picture, "is a folder" if picture.is_dir() else "is not a file")
        raise UserError(f"'{picture}' {problem}; pass the path of an image")
    try:
        with open_file(picture) as file, open_image(file) as image:
            pixels = np.asarray(image.convert("RGB")).astype(np.int16)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"'{picture}' cannot be read as an image ({reason_of(error)}); pass another") from error
    facts: Any = None
    with suppress(OSError, ValueError, LookupError, AttributeError, SyntaxError):
        facts = read_facts(picture)
    mappings = isinstance(facts, dict) and isinstance(facts.get("parameters"), dict)
    if not mappings or not all(key in facts for key in NEEDED):
        problem = "has no metadata of a dream of this project"
        raise UserError(f"'{picture}' {problem}; pass an image of `dreambirds dream` or of a study's dreams")
    return facts, pixels


def _network(facts: Mapping[str, Any], picture: Path, checkpoint: Path | str | None) -> LoadedNetwork:
    """Return the network that dreamt an image, with the recorded sha256."""
    origin, digest = facts.get("network", {}), facts["checkpoint_sha256"]
    foreign = origin if "weights" in origin else {}
    described = {"names": _existing(foreign.get("names")), "keys": foreign.get("keys")}
    if checkpoint is not None:
        network = load_network(foreign.get("model"), checkpoint=checkpoint, **described)
    elif foreign:
        if foreign["weights"] not in NOT_FILES and not exists(Path(foreign["weights"])):
            problem = f"the weights '{foreign['weights']}' do not exist"
            raise UserError(f"{problem}; set the path where they are now", "checkpoint")
        network = load_network(foreign["model"], foreign["weights"], **described)
    else:
        path = Path(origin.get("checkpoint", ""))
        with suppress(UserError):
            check_sha256(path, digest, "the checkpoint", "checkpoint")
            return load_own(path)
        named = f"the checkpoint of the run '{facts['run']}'" if facts.get("run") else "the image's checkpoint"
        return _found(facts, picture, f"the checkpoint '{path}'" if origin else named)
    if network.sha256 != digest:
        problem = f"the weights of '{network}' are not those that dreamt the image (sha256 {digest[:12]}…)"
        raise UserError(f"{problem}; set the path of the original ones", "checkpoint")
    return network


def _found(facts: Mapping[str, Any], picture: Path, what: str) -> LoadedNetwork:
    """Return the network of a study's checkpoint with the recorded sha256; `what` begins the error if there is none."""
    digest = facts["checkpoint_sha256"]
    path = find_checkpoint(digest, str(facts.get("run", "")), float(facts.get("epoch", 0)), picture)
    if path is None:
        problem = f"{what} (sha256 {digest[:12]}…) was not found there or in results/*/runs"
        raise UserError(f"{problem}; set the path where it is now", "checkpoint")
    return load_own(path)


def _existing(path: str | None) -> str | None:
    return path if path and Path(path).is_file() else None


def _recorded_folder(facts: Mapping[str, Any]) -> str | None:
    """Return the folder of photographs that a dream was compared with, None if they are those of its study."""
    folder = facts.get("photographs")
    return None if folder is None or (Path(folder) / "images.csv").is_file() else folder


def _check_start(path: Path | None, facts: Mapping[str, Any]) -> None:
    if path is not None:
        check_sha256(path, facts.get("start_sha256"), "the start photograph", "start")


def _start_dream(facts: Mapping[str, Any], picture: Path, given: Path | str | None) -> StartDream:
    """Return the dream that an image started from: the file `given`, or the one in the results of a study.

    Raises UserError if it is missing, or has other pixels.
    """
    origin, digest = facts["start_dream"], facts["start_sha256"]
    if given is None:
        found = find_dream(digest, origin, picture)
        if found is None:
            of = ", ".join(f"{key} {origin[key]}" for key in ("run", "epoch", "recipe", "label", "step"))
            problem = f"the dream that the image starts from ({of}) was not found near it or in results/*/dreams"
            raise UserError(f"{problem}; set the path where it is now", "start")
        return found
    found = StartDream(Path(given), origin)
    if not Path(given).is_file():
        problem = f"'{given}' {file_problem(Path(given))}"
        raise UserError(f"{problem}; set the path of the dream that the image starts from", "start")
    with error_context("start"):
        given_digest = found.sha256
    if given_digest != digest:
        problem = f"the pixels of '{given}' are not those that the image starts from (sha256 {digest[:12]}…)"
        raise UserError(f"{problem}; set the original", "start")
    return found


def _compared(again: OneImage, before: np.ndarray, facts: Mapping[str, Any]) -> Redream:
    after = np.asarray(again.image).astype(np.int16)
    if after.shape != before.shape:
        problem = f"has {before.shape[1]}x{before.shape[0]} pixels, but its dream {after.shape[1]}x{after.shape[0]}"
        raise UserError(f"the image {problem}, so it was resized; pass the original file")
    now, then = versions(), facts.get("versions", {})
    differing = {name: (str(then.get(name, "unknown")), now[name]) for name in now if then.get(name) != now[name]}
    return Redream(again, float(np.abs(after - before).mean()), bool((after == before).all()), differing)
