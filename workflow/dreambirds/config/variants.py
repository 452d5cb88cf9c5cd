"""Checks of the keys of a recipe that make several variants of each target."""

from dreambirds.config.load import Section, dreamer_defaults
from dreambirds.errors import in_yaml

VIEWS = ("jitter", "roll", "noise", "crops")  # keys that make views random unless they are 0
SCHEDULES = ("scale", "scale_width", "rotate", "blur_sigma", "gradient_blur_sigma")  # keys that may be random


def variant_problems(point: Section) -> dict[str, str | None]:
    """Return what is wrong with the keys for variants in a complete recipe, by key; None for a key that is right."""
    if point["variants"] == 1:
        defaults = {key: dreamer_defaults()[key] for key in ("diversity", "diversity_layer")}
        return {
            key: f"is only used with 'variants' above 1; set it to {in_yaml(default)}"
            if point[key] != default
            else None
            for key, default in defaults.items()
        }
    if point["tile"]:
        return {
            "variants": "cannot be combined with 'tile', because tiles of different images are not compared; "
            "remove one of them"
        }
    if not _is_random(point):
        problem = "would all be the same image, because neither the start image nor the views are random"
        return {"variants": f"{problem}; use 'start: noise', or set 'jitter'"}
    return {}


def _is_random(point: Section) -> bool:
    """Return whether the start images of variants, their views or their blurs differ."""
    start = point["start"] == "spectral_noise" or (point["start"] == "noise" and point["start_noise"] > 0)
    crops = point["crop_area"] is not None and point["whole_views"] < 1
    schedules = any(isinstance(point[key], dict) and "random" in point[key] for key in SCHEDULES)
    return start or crops or schedules or any(point[key] for key in VIEWS) or 0 < point["flip"] < 1
