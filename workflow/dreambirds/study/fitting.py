"""Whether the keys of a recipe fit each other, its start files, and the sizes of its pictures."""

from pathlib import Path

from dreambirds.data.files import expand, is_file
from dreambirds.data.opening import find_photographs, is_photograph
from dreambirds.data.shapes import in_proportion, shape_of
from dreambirds.errors import StudyError, said_of
from dreambirds.study.paths import check_letters
from dreambirds.study.schema import Section
from dreambirds.terms import parse

SMALLEST_SIDE = 16
_PIXELS_ONLY = {"blur_sigma": 0, "gradient_blur_sigma": 0, "octaves": 1, "zoom": 1}
FLAT_STARTS = ("grey", "colour")


def expand_folders(recipe: Section) -> Section:
    """Return the recipe with every folder of `start_path` as the list of its photographs, each a recipe of its own."""
    named = recipe.get("start_path")
    paths = named if isinstance(named, list) else [named]
    each = [file for path in paths for file in (_photographs(path) if isinstance(path, str) else [path])]
    return recipe if each == paths else {**recipe, "start_path": each}


def _photographs(path: str) -> list[str]:
    try:
        return [str(file) for file in find_photographs(expand(path))] or [path]
    except (OSError, ValueError):  # it is a file, or nothing that can be looked into
        return [path]


def start_file(parameters: Section, recipe: str) -> Path | None:
    """Return the photograph that a recipe's `start_path` names, None if it names nothing.

    Raises StudyError if it is no photograph.
    """
    if parameters["start_path"] is None:
        return None
    path = expand(parameters["start_path"])
    check_letters(path, f"dreams.recipes.{recipe}.start_path")
    if not is_file(path) or not is_photograph(path):
        where, named = f"dreams.recipes.{recipe}.start_path", parameters["start_path"]
        raise StudyError(f"{where}: '{named}' is no JPEG, PNG or WebP, nor a folder of them")
    return path


def check_point(point: Section, where: str) -> None:
    """Raise StudyError unless the keys of one recipe, checked against its schema, fit each other."""
    with said_of(f"{where}.objective"):
        parse(point["objective"])
    for key, wrong in _misfits(point).items():
        if wrong:
            raise StudyError(f"{where}.{key}: {wrong}")
    for key, value in point.items():
        low, high = value["random"] if isinstance(value, dict) and "random" in value else (0, 0)
        if low > high:
            raise StudyError(f"{where}.{key}: must go from the lower to the higher, not {value['random']}")


def _misfits(point: Section) -> dict[str, str | None]:
    steps, image, start = point["steps"], f"image: {point['image']}", f"start: {point['start']}"
    optimizer, pixels = f"optimizer: {point['optimizer']}", point["image"] == "pixels"
    adaptive = point["optimizer"] != "ascent"
    grown = (point["octaves"] - 1) * point["octave_steps"]
    return {
        "steps": f"must be ascending, not {steps}" if steps != sorted(steps) else None,
        "octaves": f"need more than {grown} steps to reach the last, not {steps[-1]}" if steps[-1] <= grown else None,
        "start_path": _only(
            point["start_path"] is not None and point["start"] != "photograph", "start: photograph", start
        ),
        "momentum": _only(point["momentum"] and adaptive, "optimizer: ascent", optimizer),
        "weight_decay": _only(point["weight_decay"] and not adaptive, "optimizer: adam, adamw or nadam", optimizer),
        "start": f"'{point['start']}' has no phases for 'image: maco' to climb in; take noise or a photograph"
        if point["image"] == "maco" and point["start"] in FLAT_STARTS
        else None,
        "tile": "shows tiles of the whole picture, it can't go with 'crops'"
        if point["tile"] and point["crops"]
        else None,
        **{
            key: _only(point[key] != least and not pixels, "image: pixels", image)
            for key, least in _PIXELS_ONLY.items()
        },
    }


def _only(misused: bool, with_what: str, given: str) -> str | None:
    return f"is only used with '{with_what}', not '{given}'" if misused else None


def dream_shape(point: Section, dataset: Section) -> tuple[int, int]:
    """Return (height, width) of a recipe's dreams in pixels: those of the data set's pictures, or, where the recipe has
    a `size`, in their proportions with that as the shorter side."""
    shape = shape_of(dataset["image_size"])
    return in_proportion(shape, point["size"] or min(shape))


def check_sizes(point: Section, shape: tuple[int, int], where: str) -> None:
    """Raise StudyError where a recipe's lengths do not fit pictures of (height, width), of which the shorter side
    counts."""
    side = min(shape)
    smallest = round(side / point["octave_scale"] ** (point["octaves"] - 1))
    if smallest < SMALLEST_SIDE:
        raise StudyError(
            f"{where}.octaves: the first of {point['octaves']} would be {smallest} pixels wide or high; it must "
            f"have at least {SMALLEST_SIDE}"
        )
    jitter = round(point["jitter"] * side / (point["lengths_at"] or side))
    if jitter >= smallest:
        raise StudyError(f"{where}.jitter: must be below the picture's side, {smallest}, not {jitter}")
