"""Table of a study's recipes and their parameters."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dreambirds.config.dreamers import parameter_names


def recipe_table(recipes: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return all parameters: one row per recipe; lists and dicts as JSON."""
    rows = [{"recipe": name, **{key: _cell(value) for key, value in point.items()}} for name, point in recipes.items()]
    return pd.DataFrame(rows, columns=["recipe", *parameter_names()])


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value
