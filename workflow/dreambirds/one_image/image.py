"""Dream of one image: `dream_image` for a class or a layer, and `compute` for a job of one dream."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dreambirds.config.one_recipe import default_preset, image_parameters, targets_class
from dreambirds.device import choose_device
from dreambirds.dream_job import snapshots
from dreambirds.dream_job.batches import in_batches
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.dream_job.image_files import check_output, save_png
from dreambirds.dream_job.networks import LoadedNetwork
from dreambirds.dream_job.run import failure, silence
from dreambirds.dream_job.views import views
from dreambirds.dreaming import objectives
from dreambirds.dreaming.octaves import evaluation_shape, resize
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.regularizers import norm_layers
from dreambirds.errors import UserError, did_you_mean, in_yaml
from dreambirds.one_image.inputs import make_job
from dreambirds.one_image.network import find_class
from dreambirds.runtime.machine import cpu_count

Progress = Callable[[int, int], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OneImage:
    """A dream: an RGB image, its title, and its metadata.

    `seconds` is the time that the dream took. `before` and `after` are the network's probabilities of the class for
    the start image and for the dream, in [0, 1]; they are None if a layer was maximized.
    """

    image: Image.Image
    title: str
    facts: dict
    seconds: float
    before: float | None = None
    after: float | None = None

    def save(self, path: Path | str) -> None:
        """Write a PNG file with the metadata, from which `redream` makes the image again.

        An existing file is replaced only when the new one is complete. Raises UserError for another suffix.
        """
        save_png(self.image, check_output(Path(path)), self.title, self.facts)


def dream_image(
    network: LoadedNetwork,
    target: str | None = None,
    preset: str | Recipe | None = None,
    *,
    objective: str | None = None,
    size: int | None = None,
    steps: int | None = None,
    seed: int | None = None,
    start: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    committee: Sequence[LoadedNetwork] = (),
    photographs: str | Path | None = None,
    device: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> OneImage:
    """Return a dream of a class, or of an `objective` that scores layers, such as ``channel:75%:12``.

    `network` is that of `load_network`. `target` is a class by any of its names, or its number. `preset` is the name of
    a preset, scaled to `steps`, the last step, or a `Recipe` for images of this size; by default, it is that of
    `default_preset`. `size` is the shorter side in pixels, by default that of the network's training images. `start` is
    a kind of start image or the path of a photograph. `settings` are other keys of a recipe. The networks of a
    `committee` take turns with `network`. `photographs` is a folder of photographs of the class, which feature matching
    needs. `device` is one of `device.DEVICES`, `precision` one of `device.PRECISIONS`, and `threads` the number of CPU
    threads, by default all cores. `progress` is called with the number of steps that are done and that of all steps,
    first with 0. Raises UserError if an argument is wrong, or does not fit the network.
    """
    preset = preset or default_preset(objective, bool(norm_layers(network.classifier.network)))
    name, given = (preset if isinstance(preset, str) else "recipe"), (None if start is None else str(start))
    options = {"size": size, "seed": seed, "precision": precision}
    parameters = image_parameters(preset, dict(settings or {}), steps, objective, given, **options)
    index = _check_target(network, target, objective, parameters["objective"], name)
    if index is None:
        label = title = str(objective or in_yaml(parameters["objective"])).strip("'")
        recorded: dict[str, Any] = {"objective": parameters["objective"]}
    else:
        label, title = network.info.labels[index], network.names[index]
        recorded = {"class": title, "index": index}
    _check_committee(committee, None if index is None else label)
    chosen = choose_device(1, threads or min(torch.get_num_threads(), cpu_count()), device)
    with ExitStack() as temporary:
        job = make_job(network, parameters, name, label, title, index is not None, photographs, temporary, committee)
        return compute(job, chosen, {"target": recorded}, progress=progress)


def _check_target(
    network: LoadedNetwork,
    target: str | None,
    layers: str | None,
    objective: str | Mapping[str, float],
    preset: str,
) -> int | None:
    """Return the index of the class among the network's outputs, None if only layers are maximized."""
    if target is not None and layers is not None:
        raise UserError("cannot be combined with a layer; remove one of them", "class")
    if layers is not None or (target is None and not targets_class(objective)):
        return None
    if target is None:
        raise UserError("there is no target; set a class or a layer", "class")
    if not targets_class(objective):
        problem = f"is not used, because '{preset}' maximizes {in_yaml(objective)}"
        raise UserError(f"{problem}; remove it, or choose another preset", "class")
    return find_class(network, str(target))


def _check_committee(committee: Sequence[LoadedNetwork], label: str | None) -> None:
    """Raise UserError unless all networks of a committee know the label of a class, which is None for a layer."""
    if committee and label is None:
        raise UserError("cannot be combined with a layer, which is another one in each network; remove it", "committee")
    for network in committee:
        if label not in network.info.labels:
            hint = did_you_mean(label, network.info.labels, "available")
            raise UserError(f"the network '{network}' has no class '{label}'; {hint}", "committee")


def compute(
    job: DreamJob,
    device: torch.device,
    more: Mapping[str, Any],
    view: str = "raw",
    batch: int = 1,
    progress: Progress | None = None,
) -> OneImage:
    """Return the dream of a job with one label and one step, with its metadata and `more`.

    The pixels are those of a dream job for the same network, recipe, label and seed. A CPU rounds differently for
    another `batch`; so, to repeat a dream exactly, the label is repeated as often as the batch had dreams. Raises
    UserError if the recipe does not fit the network, or the dream becomes NaN or infinite.
    """
    context, (label,), (step,) = DreamContext(job, device), job.names, job.steps
    _ = context.batch  # runs the model once, which raises an error if a layer, a channel or the size does not fit
    by_class = isinstance(job.checkpoint, LoadedNetwork) and "index" in more.get("target", {})
    before = probability(context, label) if by_class else None
    if progress:
        progress(0, step)
    began = time.perf_counter()
    (result,) = (
        result
        for _, result in in_batches(
            lambda _: context.dream([label] * batch, [step], on_step=progress and (lambda done: progress(done, step))),
            *(1, 1, context.where),
        )
    )
    seconds = time.perf_counter() - began
    if diverged := int(result.diverged[0]):
        raise UserError("; ".join(failure(job, label, diverged)), context.where)
    if result.silent[0]:
        log.warning("%s", silence([label]))
    if progress:
        progress(step, step)  # also if it stopped early
    after = float(result.metrics[step].probability[0]) if by_class else None
    facts = snapshots.shared_request(job, context)
    facts = facts if context.info.run else {key: facts[key] for key in facts if key not in ("run", "epoch")}
    facts |= {"label": label, "step": step, "size": list(context.shape), **snapshots.inputs_of(job, context, label)}
    facts |= {**snapshots.environment_of(context, result, 0, step), "view": view, **more}
    facts |= {"network": _origin(job.checkpoint), **_paths(job, label)}
    loaded = [member for member in job.committee if isinstance(member, LoadedNetwork)]
    if loaded:
        known = zip(facts["committee"], loaded, strict=True)
        facts["committee"] = [{**provenance, "network": _origin(member)} for provenance, member in known]
    facts |= {} if before is None else {"probability": [before, after]}
    title = f"{job.names[label]}, dreamt by {context.info.model}, step {step}"
    return OneImage(views(result.snapshots[step][0])[view], title, facts, seconds, before, after)


@torch.no_grad()
def probability(context: DreamContext, label: str) -> float:
    """Return the network's probability of a label for its start image, in [0, 1]; the mean over its variants."""
    network = context.own
    images = context.starts([label], context.rngs([label]))
    logits = network.model(resize(images, evaluation_shape(context.recipe, context.shape)))
    target = torch.full((len(logits),), network.info.labels.index(label), device=logits.device)
    return float(objectives.probability(logits.float(), target, network.model.head).mean())


def _origin(network: Path | LoadedNetwork) -> dict[str, Any]:
    """Return from where a network in memory can be loaded again."""
    assert isinstance(network, LoadedNetwork), "a single image has its networks in memory"
    return {**network.origin, "sha256": network.sha256}


def _paths(job: DreamJob, label: str) -> dict[str, str]:
    """Return the absolute paths of the photographs that a dream starts from and is compared with, if any."""
    start, references = job.photographs.get(label), job.references
    folder = references if isinstance(references, Path) else references[0].parent if references else None
    named = {"start_file": start, "photographs": folder}
    return {key: str(path.absolute()) for key, path in named.items() if path is not None}
