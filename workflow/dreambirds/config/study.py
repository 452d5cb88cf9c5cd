"""Check the whole config of a study: its grids, defaults, runs, judges and recipes."""

from dataclasses import dataclass

from dreambirds.config.checkpoints import (
    ForeignCheckpoint,
    fill_runs,
    remove_training_keys,
    select_checkpoints,
)
from dreambirds.config.class_names import check_class_names
from dreambirds.config.dreamers import Epochs
from dreambirds.config.grids import Grids, Point, expand_grids, written_paths
from dreambirds.config.judges import resolve_judges
from dreambirds.config.load import Section, check
from dreambirds.config.recipes import check_photographs, check_sizes, dream_shape, expand_recipes, start_file
from dreambirds.config.runs import check_foreign_run, check_run, native_input_size
from dreambirds.data.sources.catalog import check_keys, has_photographs
from dreambirds.io import plain_copy


@dataclass(frozen=True)
class CheckedConfig:
    """A config that was checked as far as possible without photographs; `Plan` describes its fields."""

    config: Section
    recipes: dict[str, Section]
    dreamers: dict[str, dict[str, Epochs]]
    foreign: dict[str, dict[int | float, ForeignCheckpoint]]
    grids: Grids
    recipe_points: dict[str, Point]


def expand_config(config: Section) -> tuple[Section, Grids]:
    """Return a copy of a config with single runs and judges instead of grids and with all defaults, and their points.

    Raises UserError unless it matches its schema.
    """
    config = plain_copy(config)
    grids = expand_grids(config)
    with written_paths(grids):
        fill_runs(config)
        _list_targets(config)
        check(config, "config")
    return config, grids


def _list_targets(config: Section) -> None:
    """Replace a single section of targets by a list of it, in place."""
    dreams = config.get("dreams")
    if isinstance(dreams, dict) and isinstance(dreams.get("targets"), dict):
        dreams["targets"] = [dreams["targets"]]


def check_all_but_labels(config: Section, grids: Grids) -> CheckedConfig:
    """Check a config from `expand_config`, whose image size and judges are filled in, in place.

    Raises UserError for every mistake that can be found without the photographs.
    """
    check_keys(config["dataset"])
    foreign, photographs = {}, has_photographs(config["dataset"])
    with written_paths(grids):
        for name, run in config["runs"].items():
            if run["checkpoints"] or not photographs:
                check_foreign_run(run, f"runs.{name}")
                foreign[name] = select_checkpoints(run, f"runs.{name}")
            else:
                check_run(run, f"runs.{name}")
                check_class_names(run, f"runs.{name}")
        dreams = config["dreams"]
        resolve_judges(config, photographs, bool(dreams["labels"]) or not dreams["targets"])
        for name in foreign:
            remove_training_keys(config["runs"][name])
        if config["dataset"]["image_size"] is None:
            recorded = {name: list(found.values())[-1].facts.image_size for name, found in foreign.items()}
            config["dataset"]["image_size"] = native_input_size(config["runs"], recorded)
        recipes, dreamers, points = expand_recipes(config["dreams"]["recipes"], config["runs"], grids.runs)
    for name, recipe in recipes.items():
        if not photographs:
            check_photographs(recipe, name)
        start_file(recipe, name)
        check_sizes(recipe, dream_shape(recipe, config["dataset"]), f"dreams.recipes.{name}")
    return CheckedConfig(config, recipes, dreamers, foreign, grids, points)
