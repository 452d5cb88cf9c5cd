"""How much memory a job asks for: estimated from what `startup.memory_profile` has measured of models and recipes.

What it has seen of files of weights is known in the same way, so that each is looked at once. Importing torch would
make parsing slow, so the measurements lie as small files in the store; one that is not there is replaced by a default.
All estimates are of float32, upwards. The pictures of a data set are left out: training maps them from their file, and
a machine that runs short takes those pages back.
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
from dreambirds.shapes import in_proportion, shape_of

MB = 10**6
DEFAULT = 4000 * MB  # of a job whose model or recipe is not measured yet
BASE = 900 * MB  # Python with torch, torchvision, timm and pandas, and what they set up in a first step
WORKER = 500 * MB  # a process that loads pictures; most of it is shared with the job, and is counted all the same
COMPILER = 1000 * MB  # torch.compile, its helper and the compilers that it starts
CUDA = 2500 * MB  # of the host's memory, for a GPU's context and libraries

WORKSPACE = 1.6  # beside what autograd keeps: gradients on their way, and the workspaces of convolutions
COPIES = 8  # of a batch in float32: as loaded, on the device, harder, mixed
LOADED_AHEAD = 2  # batches that each loading process holds ready
WEIGHTS = 3  # a network's weights, the file that they come from, and a copy while they are written
FROZEN = 5  # while a checkpoint is loaded, copied, and its batch norms are folded

AT_ONCE = {"cpu": 16, "cuda": 256}  # most pictures of a dream batch
MOST = 8000 * MB  # that a dream job asks for, unless a single picture needs more
ROOM = 1.3  # what a job gets, over what its batch needs, as it fills only four fifths of what it has
LOOKED_AT = 16 * 224**2  # pixels of photographs that a dream job looks at together
LOOK = 0.25  # what a view of a photograph takes, of what a picture does: it needs no gradient
PHOTOGRAPHS = 2  # of a class in float32: as read, and in [0, 1]
SHOOTING = 60  # bytes a pixel and frame, while one film is written

RECIPE = (
    *("objective", "match_statistics", "match_regions", "match_stride", "octaves", "octave_scale", "pad", "crops"),
    *("crop_area", "whole_views", "crop_output_size", "tile", "reference_size"),
)
FOUND = {
    "optimizer": ["per_byte"],
    "training": ["weights", "learning", "picture"],
    "dreaming": ["picture"],
    "weights": ["weights"],
    "judge": ["weights"],
}
CODE = ("startup.memory_profile", "dream_job.context", "models.classifier", "models.inference")
Facts = dict[str, Any]  # as JSON: what decides a measurement, or what was found
_known: dict[Path, Facts] = {}


def needs_profiling(plan: Plan) -> bool:
    """Tell whether a model, an optimiser or a recipe of the plan is still to be measured, or a file of weights to be
    looked at."""
    runs = (what for run in plan.trained for what in profile_keys(plan, run))
    return any(read(what) is None for what in (*runs, *judges(plan).values()))


def profile_keys(plan: Plan, run: str) -> Iterator[Facts]:
    """Yield all that is to be measured for a run's jobs, each as the facts that decide it."""
    yield optimizer(plan, run)
    yield training(plan, run)
    if own := weights(plan, run):
        yield own
    for recipe in plan.dreaming_epochs.get(run, ()):
        yield dreaming(plan, run, recipe)


def optimizer(plan: Plan, run: str) -> Facts:
    """Return the facts that decide how much an optimiser keeps."""
    return {"measured": "optimizer", "optimizer": plan.trained[run]["optimizer"]}


def training(plan: Plan, run: str) -> Facts:
    """Return the facts that decide what one training picture takes."""
    keys = plan.trained[run]
    # harder pictures take a gradient through all of the network
    part = "all" if keys["adversarial"]["epsilon"] else keys["trainable"]
    return {"measured": "training", **_model(plan, run), "trainable": part}


def dreaming(plan: Plan, run: str, recipe: str) -> Facts:
    """Return the facts that decide what one picture of a dream takes."""
    keys = plan.recipes[recipe]
    asked = {key: keys[key] for key in RECIPE} | {"batch_norm_prior": keys["batch_norm_prior"] > 0}
    return {"measured": "dreaming", **_model(plan, run), "size": list(plan.shape(recipe)), **asked}


def weights(plan: Plan, run: str) -> Facts | None:
    """Return the facts that decide whether the file of weights that a run begins with fits; None if there is none, or
    only the hub's."""
    keys = plan.trained[run]
    file = keys["weights"]
    if file == "package":
        return {"measured": "weights", **_model(plan, run), "file": package_of(keys["model"]).sha256}
    if file in NOT_FILES or _is_made(plan, file):
        return None
    return {"measured": "weights", **_model(plan, run), "file": _state(file)}


def judges(plan: Plan) -> dict[str, Facts]:
    """Return the facts that decide whether a judge from a file fits, by its name; a checkpoint that the study makes
    itself may still change."""
    facts = {}
    for name, judge in plan.judges.items():
        file = judge["checkpoint"] or judge["weights"]
        if file and not _is_made(plan, file):
            files = [_state(each) for each in (file, judge["labels"]) if each]
            labels = [[label.label, label.name] for label in plan.labels]
            facts[name] = {"measured": "judge", "judge": judge, "files": files, "labels": labels}
    return facts


def _is_made(plan: Plan, file: str) -> bool:
    return expand(file).absolute().is_relative_to((Path("results") / plan.study).absolute())


def _state(file: str) -> list[Any]:
    about = expand(file).stat()
    return [str(expand(file).absolute()), about.st_size, about.st_mtime_ns]


def _model(plan: Plan, run: str) -> Facts:
    keys, shape = plan.trained[run], shape_of(plan.config["dataset"]["image_size"])
    model = {"model": keys["model"], "model_options": keys["model_options"]}
    return {**model, "classes": len(plan.labels), "image_size": list(shape)}


def read(what: Facts) -> Facts | None:
    """Return what was measured of something, None if nothing was; each file is read once."""
    path = _path(what)
    if path not in _known:
        try:
            found = dict(json.loads(path.read_text())["found"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if not all(key in found and _is_measured(what, found[key]) for key in FOUND[what["measured"]]):
            return None
        _known[path] = found
    return _known[path]


def _is_measured(what: Mapping[str, object], value: object) -> bool:
    if value is None:
        return what["measured"] == "dreaming"  # only the dream can tell
    return isinstance(value, (int, float)) and 0 <= value < math.inf


def note(what: Facts, found: Facts) -> None:
    """Know what was measured of something, in this process only."""
    _known[_path(what)] = found


def write(what: Facts, found: Facts) -> None:
    """Keep what was measured of something; only in this process where the store can't be written to."""
    path = _path(what)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"of": what, "found": found}))
    note(what, found)


def _path(what: Facts) -> Path:
    return (store_root() / "memory" / f"{digest_of([what, _measurer()])[:32]}.json").absolute()


@cache
def _measurer() -> list[str]:
    """Return what measures: versions of libraries, and a digest of the code."""
    return [version("torch"), version("timm"), code_digest(map(module_path, CODE))]


def train_mb(plan: Plan, run: str) -> int:
    """Return the megabytes (10^6 bytes) that a training job of a run asks for; with a GPU, of the host's memory."""
    keys = plan.trained[run]
    loaded = keys["batch_size"] * _floats(shape_of(plan.config["dataset"]["image_size"]))
    extra = plan.config["threads"]["loader_workers"] * (WORKER + LOADED_AHEAD * loaded) + (
        COMPILER if keys["compile"] else 0
    )
    found, kept = read(training(plan, run)), read(optimizer(plan, run))
    if found is None or kept is None:
        return _whole_mb(DEFAULT + extra)
    # gradients and the optimiser's sums; these twice while they are read or written
    weights = WEIGHTS * found["weights"] + found["learning"] * (1 + 2 * kept["per_byte"])
    learning = WORKSPACE * keys["batch_size"] * found["picture"]
    return _whole_mb(BASE + weights + COPIES * loaded + max(learning, _context(plan)) + extra)


def dream_mb(plan: Plan, run: str, recipe: str) -> int:
    """Return the megabytes (10^6 bytes) that a dream job of a run and recipe asks for; with a GPU, of the host's
    memory."""
    picture = _picture(plan, run, recipe)
    if picture is None:
        return _whole_mb(DEFAULT)
    count, kept = _batch(plan, run, recipe, picture), _kept(plan, recipe)
    on_card = _context(plan) + _labels(plan, "cuda") * kept if plan.config["gpu"] else 0
    looked_at = _photographs(plan, recipe, picture)  # before anything is dreamt
    return _whole_mb(_beside(plan, run, recipe) + max(count * (picture + kept), on_card, looked_at))


def dream_bytes(plan: Plan, run: str, recipe: str) -> int:
    """Return the bytes that the pictures of a dream job may take on the processor, beside the process and its model.

    It is the same at every attempt, since another batch rounds otherwise.
    """
    picture = _picture(plan, run, recipe)
    return DEFAULT - BASE if picture is None else math.ceil(ROOM * _batch(plan, run, recipe, picture) * picture)


def memory_budget(plan: Plan, run: str, recipe: str, mem_mb: int) -> int:
    """Return the bytes that the pictures of a dream job may take where it was given so many megabytes: less than
    `dream_bytes` only where that is less than was asked for."""
    estimated = dream_mb(plan, run, recipe)
    return dream_bytes(plan, run, recipe) - max(0, (estimated - mem_mb) * MB)


def _picture(plan: Plan, run: str, recipe: str) -> int | None:
    """Return the bytes of a picture and its film in a dream, None where these or the model's are not known."""
    found, model = read(dreaming(plan, run, recipe)), read(training(plan, run))
    if found is None or found["picture"] is None or model is None:
        return None
    size: int = found["picture"] + 3 * math.prod(plan.shape(recipe)) * frames(plan.recipes[recipe])
    return size


def _batch(plan: Plan, run: str, recipe: str, picture: int) -> int:
    """Return how many pictures a dream job on the processor is to hold at once."""
    free = MOST - _beside(plan, run, recipe)
    return max(1, min(_labels(plan, "cpu"), int(free / (picture + _kept(plan, recipe)))))


def _beside(plan: Plan, run: str, recipe: str) -> int:
    """Return the bytes of a dream job beside its pictures."""
    shooting = SHOOTING * math.prod(plan.shape(recipe)) * frames(plan.recipes[recipe])
    model: int = read(training(plan, run))["weights"]  # type: ignore[index]  # those of a known picture are known
    return BASE + FROZEN * model + shooting


def _photographs(plan: Plan, recipe: str, picture: int) -> float:
    """Return the bytes that are taken to look at the photographs of a class, none if a recipe compares with none."""
    keys, shape = plan.recipes[recipe], plan.shape(recipe)
    if not needs_photographs(keys["objective"]):
        return 0
    trained = min(shape_of(plan.config["dataset"]["image_size"]))
    cropped = keys["crop_area"] is not None
    view = in_proportion(shape, keys["crop_output_size"] or trained) if cropped else shape
    photographs: int = keys["match_photographs"]
    at_once = min(photographs, max(1, LOOKED_AT // math.prod(view)))
    return PHOTOGRAPHS * photographs * _floats(shape) + LOOK * at_once * picture


def _labels(plan: Plan, device: str) -> int:
    return min(AT_ONCE[device], max(map(len, plan.parts.values())))


def frames(keys: Section) -> int:
    """Return how many frames the film of a dream has, none if there is to be no film; `keys` are a recipe's values."""
    return keys["steps"][-1] // keys["film_every"] + 2 if keys["film_every"] else 0


def _kept(plan: Plan, recipe: str) -> int:
    return _floats(plan.shape(recipe)) * len(plan.recipes[recipe]["steps"])


def _floats(shape: tuple[int, int]) -> int:
    return 4 * 3 * math.prod(shape)


def _context(plan: Plan) -> int:
    return CUDA if plan.config["gpu"] else 0


def _whole_mb(size: float) -> int:
    return 100 * math.ceil(size / (100 * MB))
