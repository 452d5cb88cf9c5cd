"""Memory that jobs request, estimated from measurements of models and recipes.

`startup.memory_profile` measures them. It also records which weights files fit, so each is checked once. Importing
torch would make parsing slow, so the measurements are small files in the store; a missing one is replaced by a
default. All estimates are for float32 and rounded up. The images of a data set do not count: training maps them from
their file, and the operating system can reclaim those pages.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dreambirds.config.load import Section
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.io import atomic_write, digest_of, expand, store_root
from dreambirds.models import NOT_FILES
from dreambirds.models.packages import package_of
from dreambirds.plan.plan import Plan
from dreambirds.runtime.code_version import code_digest, module_path
from dreambirds.runtime.timings import PASSES
from dreambirds.shapes import in_proportion, shape_of

MB = 10**6
DEFAULT = 4000 * MB  # for a job whose model or recipe is not measured yet
BASE = 900 * MB  # Python with torch, torchvision, timm and pandas, and what they allocate in the first step
WORKER = 500 * MB  # a data loader process; most of it is shared with the job, but it is counted in full
COMPILER = 1000 * MB  # torch.compile, its helper process and the compilers that it starts
CUDA = 2500 * MB  # host memory for the context and libraries of a GPU

WORKSPACE = 1.6  # factor on what autograd keeps, for intermediate gradients and convolution workspaces
COPIES = 8  # of a batch in float32: loaded, on the device, adversarial, mixed
LOADED_AHEAD = 2  # batches that each data loader process prefetches
WEIGHTS = 3  # a network's weights, the file that they are loaded from, and a copy while they are written
FROZEN = 5  # copies of the weights while a checkpoint is loaded and copied, and its batch norms are folded

AT_ONCE = {"cpu": 16, "cuda": 256}  # maximum size of a dream batch
MOST = 8000 * MB  # limit for a dream job, unless a single image needs more
ROOM = 1.3  # memory for a job's images, relative to what its batch needs; the job fills only four fifths
PHOTOGRAPH_PIXELS = 16 * 224**2  # pixels of photographs that a dream job evaluates together
PHOTOGRAPH_COST = 0.25  # memory of a view of a photograph, relative to a dream: it needs no gradient
PHOTOGRAPHS = 2  # float32 copies of a class's photographs: as read, and in [0, 1]
FILM_BYTES = 60  # per pixel and frame, while a film is written

FOUND = {
    "optimizer": ["per_byte"],
    "training": ["weights", "learning", "image"],
    "dreaming": ["image"],
    "weights": ["weights"],
    "judge": ["weights"],
}
CODE = ("startup.memory_profile", "dream_job.context", "models.classifier", "models.inference")
Facts = dict[str, Any]  # JSON: what determines a measurement, or its result
_known: dict[Path, Facts] = {}


def needs_profiling(plan: Plan) -> bool:
    """Return whether the plan needs a new measurement or check of a weights file."""
    runs = (key for run in plan.trained for key in profile_keys(plan, run))
    return any(read(key) is None for key in (*runs, *judges(plan).values()))


def profile_keys(plan: Plan, run: str) -> Iterator[Facts]:
    """Yield the keys of all measurements for a run's jobs."""
    yield optimizer(plan, run)
    yield training(plan, run)
    if file := weights(plan, run):
        yield file
    for recipe in plan.dreaming_epochs.get(run, ()):
        yield dreaming(plan, run, recipe)


def optimizer(plan: Plan, run: str) -> Facts:
    """Return what determines the size of an optimizer's state."""
    return {"measured": "optimizer", "optimizer": plan.trained[run]["optimizer"]}


def training(plan: Plan, run: str) -> Facts:
    """Return what determines the memory of one training image."""
    keys = plan.trained[run]
    # adversarial training needs gradients through the whole network
    part = "all" if keys["adversarial"]["epsilon"] else keys["trainable"]
    return {"measured": "training", **_model(plan, run), "trainable": part}


def dreaming(plan: Plan, run: str, recipe: str) -> Facts:
    """Return what determines the memory of one image of a dream."""
    keys = plan.recipes[recipe]
    settings = {key: keys[key] for key in (*PASSES, "reference_size")}
    settings["batch_norm_prior"] = keys["batch_norm_prior"] > 0
    return {"measured": "dreaming", **_model(plan, run), "size": list(plan.shape(recipe)), **settings}


def weights(plan: Plan, run: str) -> Facts | None:
    """Return what determines whether a run's initial weights file fits.

    None if the run has no such file, or if the file is from the hub or a checkpoint of the same study.
    """
    keys = plan.trained[run]
    file = keys["weights"]
    if file == "package":
        return {"measured": "weights", **_model(plan, run), "file": package_of(keys["model"]).sha256}
    if file in NOT_FILES or _is_own_result(plan, file):
        return None
    return {"measured": "weights", **_model(plan, run), "file": _state(file)}


def judges(plan: Plan) -> dict[str, Facts]:
    """Return what determines whether a judge's weights file fits, by judge.

    Checkpoints of the same study are excluded, because they may still change.
    """
    facts = {}
    for name, judge in plan.judges.items():
        file = judge["checkpoint"] or judge["weights"]
        if file and not _is_own_result(plan, file):
            files = [_state(path) for path in (file, judge["labels"]) if path]
            labels = [[label.label, label.name] for label in plan.labels]
            facts[name] = {"measured": "judge", "judge": judge, "files": files, "labels": labels}
    return facts


def _is_own_result(plan: Plan, file: str) -> bool:
    return expand(file).absolute().is_relative_to((Path("results") / plan.study).absolute())


def _state(file: str) -> list[Any]:
    status = expand(file).stat()
    return [str(expand(file).absolute()), status.st_size, status.st_mtime_ns]


def _model(plan: Plan, run: str) -> Facts:
    keys, shape = plan.trained[run], shape_of(plan.config["dataset"]["image_size"])
    model = {"model": keys["model"], "model_options": keys["model_options"]}
    return {**model, "classes": len(plan.labels), "image_size": list(shape)}


def read(key: Facts) -> Facts | None:
    """Return a measurement, or None if it is missing; each file is read once."""
    path = _path(key)
    if path not in _known:
        try:
            found = dict(json.loads(path.read_text())["found"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if not all(name in found and _is_measured(key, found[name]) for name in FOUND[key["measured"]]):
            return None
        _known[path] = found
    return _known[path]


def _is_measured(key: Mapping[str, object], value: object) -> bool:
    if value is None:
        return key["measured"] == "dreaming"  # known only when dreaming
    return isinstance(value, (int, float)) and 0 <= value < math.inf


def note(key: Facts, found: Facts) -> None:
    """Keep a measurement in this process only."""
    _known[_path(key)] = found


def write(key: Facts, found: Facts) -> None:
    """Write a measurement to the store, or keep it in this process if that fails."""
    path = _path(key)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"of": key, "found": found}))
    note(key, found)


def _path(key: Facts) -> Path:
    return (store_root() / "memory" / f"{digest_of([key, _measurer()])[:32]}.json").absolute()


@cache
def _measurer() -> list[str]:
    """Return the library versions and the code digest that measurements depend on."""
    return [version("torch"), version("timm"), code_digest(map(module_path, CODE))]


def train_mb(plan: Plan, run: str) -> int:
    """Return the host memory that a training job requests, in MB (10^6 bytes)."""
    keys = plan.trained[run]
    loaded = keys["batch_size"] * _floats(shape_of(plan.config["dataset"]["image_size"]))
    extra = plan.config["threads"]["loader_workers"] * (WORKER + LOADED_AHEAD * loaded) + (
        COMPILER if keys["compile"] else 0
    )
    found, kept = read(training(plan, run)), read(optimizer(plan, run))
    if found is None or kept is None:
        return _round_mb(DEFAULT + extra)
    # gradients, and the optimizer state, twice while it is read or written
    weights = WEIGHTS * found["weights"] + found["learning"] * (1 + 2 * kept["per_byte"])
    learning = WORKSPACE * keys["batch_size"] * found["image"]
    return _round_mb(BASE + weights + COPIES * loaded + max(learning, _context(plan)) + extra)


def dream_mb(plan: Plan, run: str, recipe: str) -> int:
    """Return the host memory that a dream job requests, in MB (10^6 bytes)."""
    image_bytes = _image_bytes(plan, run, recipe)
    if image_bytes is None:
        return _round_mb(DEFAULT)
    count, kept = _batch(plan, run, recipe, image_bytes), _kept(plan, recipe)
    on_gpu = _context(plan) + _labels(plan, "cuda") * kept if plan.config["gpu"] else 0
    photographs = _photographs(plan, recipe, image_bytes)  # evaluated before the first step
    return _round_mb(_overhead(plan, run, recipe) + max(count * (image_bytes + kept), on_gpu, photographs))


def dream_bytes(plan: Plan, run: str, recipe: str) -> int:
    """Return the bytes for the images of a dream job on the CPU.

    The process and its model are not included. It is the same at every attempt, because another batch size would
    round differently.
    """
    image_bytes = _image_bytes(plan, run, recipe)
    return (
        DEFAULT - BASE
        if image_bytes is None
        else math.ceil(ROOM * _batch(plan, run, recipe, image_bytes) * image_bytes)
    )


def memory_budget(plan: Plan, run: str, recipe: str, mem_mb: int) -> int:
    """Return the bytes for the images of a dream job that was granted `mem_mb`.

    It is less than `dream_bytes` only if less memory was granted than the job requests.
    """
    estimated = dream_mb(plan, run, recipe)
    return dream_bytes(plan, run, recipe) - max(0, (estimated - mem_mb) * MB)


def _image_bytes(plan: Plan, run: str, recipe: str) -> int | None:
    """Return the bytes of a dream and its film; None if a measurement is missing."""
    found, model = read(dreaming(plan, run, recipe)), read(training(plan, run))
    if found is None or found["image"] is None or model is None:
        return None
    size: int = found["image"] + 3 * math.prod(plan.shape(recipe)) * frames(plan.recipes[recipe])
    return size


def _batch(plan: Plan, run: str, recipe: str, image_bytes: int) -> int:
    """Return the batch size of a dream job on the CPU."""
    free = MOST - _overhead(plan, run, recipe)
    return max(1, min(_labels(plan, "cpu"), int(free / (image_bytes + _kept(plan, recipe)))))


def _overhead(plan: Plan, run: str, recipe: str) -> int:
    """Return the bytes of a dream job without its images."""
    film = FILM_BYTES * math.prod(plan.shape(recipe)) * frames(plan.recipes[recipe])
    model: int = read(training(plan, run))["weights"]  # type: ignore[index]  # `_image_bytes` has checked it
    return BASE + FROZEN * model + film


def _photographs(plan: Plan, recipe: str, image_bytes: int) -> float:
    """Return the bytes to evaluate the photographs of a class; 0 if not needed."""
    keys, shape = plan.recipes[recipe], plan.shape(recipe)
    if not needs_photographs(keys["objective"]):
        return 0
    trained = min(shape_of(plan.config["dataset"]["image_size"]))
    cropped = keys["crop_area"] is not None
    view = in_proportion(shape, keys["crop_output_size"] or trained) if cropped else shape
    photographs: int = keys["match_photographs"]
    at_once = min(photographs, max(1, PHOTOGRAPH_PIXELS // math.prod(view)))
    return PHOTOGRAPHS * photographs * _floats(shape) + PHOTOGRAPH_COST * at_once * image_bytes


def _labels(plan: Plan, device: str) -> int:
    return min(AT_ONCE[device], max(map(len, plan.parts.values())))


def frames(keys: Section) -> int:
    """Return the number of frames of a dream's film, given a recipe; 0 without a film."""
    return keys["steps"][-1] // keys["film_every"] + 2 if keys["film_every"] else 0


def _kept(plan: Plan, recipe: str) -> int:
    return _floats(plan.shape(recipe)) * len(plan.recipes[recipe]["steps"])


def _floats(shape: tuple[int, int]) -> int:
    return 4 * 3 * math.prod(shape)


def _context(plan: Plan) -> int:
    return CUDA if plan.config["gpu"] else 0


def _round_mb(size: float) -> int:
    return 100 * math.ceil(size / (100 * MB))
