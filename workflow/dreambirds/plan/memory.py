"""Memory that jobs request, estimated from measurements of models and recipes.

The measurements are those of the job `check` (`plan.measurements`); a missing one is replaced by a default. All
estimates are for float32 and rounded up. The images of a data set do not count: training maps them from their file,
and the operating system can reclaim those pages.
"""

import math

from dreambirds.config.load import Section
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.plan import measurements
from dreambirds.plan.measurements import Facts, Measurements, key_digest
from dreambirds.plan.plan import Plan
from dreambirds.shapes import in_proportion, shape_of

MB = 10**6
DEFAULT = 4000 * MB  # for a job whose model or recipe is not measured yet
BASE = 900 * MB  # Python with torch, torchvision, timm and pandas, and what they allocate in the first step
WORKER = 500 * MB  # a data loader process; most of it is shared with the job, but it is counted in full
COMPILER = 1000 * MB  # torch.compile, its helper process and the compilers that it starts
CUDA = 2500 * MB  # host memory for the context and libraries of a GPU

WORKSPACE = 1.6  # factor on what autograd keeps, for intermediate gradients and convolution workspaces
COPIES = 8  # of a batch in float32: loaded, on the device, adversarial, mixed
LOADED_AHEAD = 2  # batches that each data loader process prefetches, in uint8
BYTES_OF_FLOAT = 4
WEIGHTS = 3  # a network's weights, the file that they are loaded from, and a copy while they are written
FROZEN = 5  # copies of the weights while a checkpoint is loaded and copied, and its batch norms are folded

EVALUATED = 32  # images in a batch, when a network is only evaluated
AT_ONCE = {"cpu": 16, "cuda": 256, "mps": 16}  # maximum number of images in a dream batch
MOST = 8000 * MB  # limit for a dream job, unless a single image needs more
ROOM = 1.3  # memory for a job's images, relative to what its batch needs; the job fills only four fifths
PHOTOGRAPH_PIXELS = 16 * 224**2  # pixels of photographs that a dream job evaluates together
PHOTOGRAPH_COST = 0.25  # memory of a view of a photograph, relative to a dream: it needs no gradient
PHOTOGRAPHS = 2  # float32 copies of a class's photographs: as read, and in [0, 1]
FILM_BYTES = 60  # per pixel and frame, while a film is written


def train_mb(plan: Plan, found: Measurements, run: str) -> int:
    """Return the host memory that a training job requests, in MB (10^6 bytes)."""
    keys = plan.trained[run]
    loaded = keys["batch_size"] * _floats(shape_of(plan.config["dataset"]["image_size"]))
    workers, waiting = plan.config["threads"]["loader_workers"], LOADED_AHEAD * loaded / BYTES_OF_FLOAT
    extra = workers * (WORKER + waiting) + (COMPILER if keys["compile"] else 0)
    model, kept = _model(plan, found, run), found.get(key_digest(measurements.optimizer(plan, run)))
    if model is None or kept is None:
        return _round_mb(DEFAULT + extra)
    # gradients, and the optimizer state, twice while it is read or written
    weights = WEIGHTS * model["weights"] + model["learning"] * (1 + 2 * kept["per_byte"])
    learning = WORKSPACE * keys["batch_size"] * model["image"]
    return _round_mb(BASE + weights + COPIES * loaded + max(learning, _context(plan)) + extra)


def import_mb(plan: Plan, found: Measurements, run: str) -> int:
    """Return the host memory of a job that loads and evaluates a checkpoint that was trained elsewhere, in MB."""
    model = _model(plan, found, run)
    if model is None:
        return _round_mb(DEFAULT)
    images = WORKSPACE * EVALUATED * (model["image"] + _floats(shape_of(plan.config["dataset"]["image_size"])))
    return _round_mb(BASE + FROZEN * model["weights"] + max(images, _context(plan)))


def dream_mb(plan: Plan, found: Measurements, run: str, recipe: str) -> int:
    """Return the host memory that a dream job requests, in MB (10^6 bytes)."""
    image_bytes = _image_bytes(plan, found, run, recipe)
    if image_bytes is None:
        return _round_mb(DEFAULT)
    count, kept = _batch(plan, found, run, recipe, image_bytes), _kept(plan, recipe)
    on_gpu = _context(plan) + _labels(plan, recipe, "cuda") * kept if plan.config["gpu"] else 0
    photographs = _photographs(plan, recipe, image_bytes)  # evaluated before the first step
    return _round_mb(_overhead(plan, found, run, recipe) + max(count * (image_bytes + kept), on_gpu, photographs))


def dream_bytes(plan: Plan, found: Measurements, run: str, recipe: str) -> int:
    """Return the bytes for the images of a dream job on the CPU.

    The process and its model are not included. It is the same at every attempt, because another batch size would
    round differently.
    """
    image_bytes = _image_bytes(plan, found, run, recipe)
    return (
        DEFAULT - BASE
        if image_bytes is None
        else math.ceil(ROOM * _batch(plan, found, run, recipe, image_bytes) * image_bytes)
    )


def memory_budget(plan: Plan, found: Measurements, run: str, recipe: str, mem_mb: int) -> int:
    """Return the bytes for the images of a dream job that was granted `mem_mb`.

    It is less than `dream_bytes` only if less memory was granted than the job requests.
    """
    estimated = dream_mb(plan, found, run, recipe)
    return dream_bytes(plan, found, run, recipe) - max(0, (estimated - mem_mb) * MB)


def _model(plan: Plan, found: Measurements, run: str) -> Facts | None:
    return found.get(key_digest(measurements.training(plan, run)))


def _image_bytes(plan: Plan, found: Measurements, run: str, recipe: str) -> int | None:
    """Return the bytes of a dream, of all its variants, and its film; None if a measurement is missing."""
    networks = plan.dreaming_networks(run, recipe)  # they take turns, so the one that needs the most counts
    dreams = [found.get(key_digest(measurements.dreaming(plan, network, recipe))) for network in networks]
    sizes = [dream["image"] for dream in dreams if dream is not None and dream["image"] is not None]
    if len(sizes) < len(networks) or any(_model(plan, found, network) is None for network in networks):
        return None
    size: int = max(sizes) + 3 * math.prod(plan.sheet_shape(recipe)) * frames(plan.recipes[recipe])
    return size


def _batch(plan: Plan, found: Measurements, run: str, recipe: str, image_bytes: int) -> int:
    """Return the batch size of a dream job on the CPU."""
    free = MOST - _overhead(plan, found, run, recipe)
    return max(1, min(_labels(plan, recipe, "cpu"), int(free / (image_bytes + _kept(plan, recipe)))))


def _overhead(plan: Plan, found: Measurements, run: str, recipe: str) -> int:
    """Return the bytes of a dream job without its images."""
    film = FILM_BYTES * math.prod(plan.sheet_shape(recipe)) * frames(plan.recipes[recipe])
    models = [_model(plan, found, network) for network in plan.dreaming_networks(run, recipe)]
    weights: list[int] = [model["weights"] for model in models if model is not None]  # `_image_bytes` has checked it
    loading = (FROZEN - 1) * max(weights)  # one network after another is loaded, and stays
    return BASE + sum(weights) + loading + film


def _photographs(plan: Plan, recipe: str, image_bytes: int) -> float:
    """Return the bytes to evaluate the photographs of a class; 0 if not needed."""
    keys, shape = plan.recipes[recipe], plan.shape(recipe)
    if not needs_photographs(keys["objective"]):
        return 0
    trained = min(shape_of(plan.config["dataset"]["image_size"]))
    cropped = keys["crop_area"] is not None
    view = in_proportion(shape, keys["crop_output_size"] or trained) if cropped else shape
    photographs: int = keys["match_photographs"]
    at_once, variants = min(photographs, max(1, PHOTOGRAPH_PIXELS // math.prod(view))), int(keys["variants"])
    return PHOTOGRAPHS * photographs * _floats(shape) + PHOTOGRAPH_COST * at_once * image_bytes / variants


def _labels(plan: Plan, recipe: str, device: str) -> int:
    at_once = max(1, AT_ONCE[device] // int(plan.recipes[recipe]["variants"]))
    return min(at_once, max(map(len, plan.parts.values())))


def frames(keys: Section) -> int:
    """Return the number of frames of a dream's film, given a recipe; 0 without a film."""
    return keys["steps"][-1] // keys["film_every"] + 2 if keys["film_every"] else 0


def _kept(plan: Plan, recipe: str) -> int:
    return _floats(plan.sheet_shape(recipe)) * len(plan.recipes[recipe]["steps"])


def _floats(shape: tuple[int, int]) -> int:
    return 4 * 3 * math.prod(shape)


def _context(plan: Plan) -> int:
    return CUDA if plan.config["gpu"] else 0


def _round_mb(size: float) -> int:
    return 100 * math.ceil(size / (100 * MB))
