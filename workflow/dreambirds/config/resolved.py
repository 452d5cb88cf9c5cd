"""Write the resolved config of a study: every default filled in, and the software that computed the results.

Running a resolved config reproduces the study.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from dreambirds.config.load import Section
from dreambirds.io import atomic_write

HEADER = """\
# The config of this study with every default, written by the workflow. `provenance` lists the software that computed
# the results.
#   snakemake --cores all --configfile {path}
"""


def fill_recipe(recipe: Section, points: Collection[Section]) -> Section:
    """Return a recipe with the values that all points of its grid share.

    The result has the same grid, with the same names.
    """
    first = next(iter(points))
    grid = [key for key, value in recipe.items() if isinstance(value, list) and first.get(key) != value]
    shared = {key: value for key, value in first.items() if all(point[key] == value for point in points)}
    # the keys of the grid keep their order, because it is that of the values in a recipe's name
    return {**{key: value for key, value in shared.items() if key not in grid}, **recipe}


def write_resolved_config(config: Section, provenance: dict[str, Any], path: Path) -> None:
    """Write a config with all defaults as YAML, with its provenance."""
    text = yaml.safe_dump({**config, "provenance": provenance}, sort_keys=False, allow_unicode=True, width=120)
    with atomic_write(path) as temporary:
        temporary.write_text(HEADER.format(path=path) + text, encoding="utf-8")
