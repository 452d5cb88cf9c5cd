"""Generate config/README.md from the schemas, and the presets in docs/recipes.md."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dreambirds.config.load import load_schema
from dreambirds.config.recipes import load_presets
from dreambirds.errors import UserError

_NO_DEFAULT = {False: "required", True: "none"}
_PLURALS = {"string": "strings", "number": "numbers", "integer": "integers"}
_YAML_TYPES = {"array": "list", "object": "mapping"}
TOP = ("study", "judges", "questions", "gpu", "store", "provenance")
BEGIN, END = "<!-- generated from presets.yaml by make manual -->\n", "<!-- end -->\n"

INTRODUCTION = """\
# Config reference

This page lists every key of a study's config: what it sets, which values are allowed, and its default. A config is one
YAML file per study.

`config.yaml` is the config that `make` runs. Copy it, change it, and run `make CONFIG=my.yaml` or `snakemake --cores
all --configfile my.yaml`. An unknown key, model, label or value is refused before any job starts, with the closest
allowed name.

*Generated from `workflow/schemas/` by `make manual`. Do not edit this page; a test checks that it is up to date.*
"""
RUNS = """
**Grids.** Any key of a run, of a judge or of a judge's `train` accepts a list of values, unless its value is a list
itself. Each combination becomes a separate run or judge, named after the values that vary:
`finetuned-seed-0-learning_rate-0.01`. The name of the grid stands for all of its runs, in `runs` of a recipe or a
question and in `run` of a judge; in `committee`, for the one with the dreamer's seed.
"""
RECIPES = """
A recipe is a `preset` and the keys that override it. The defaults in the table above are those of the preset
`original`; [docs/recipes.md](../docs/recipes.md) lists the values of every preset.

**Grids.** Any key except `steps`, `runs` and `epochs` accepts a list of values. Each combination of values becomes a
separate recipe, named after the values that vary (`blur-blur_sigma-0.25`). A folder as `start_path` is a list of its
photographs. `results/<study>/recipes.csv` lists all recipes and their parameters.

**Checkpoints.** `runs` and `epochs` select the checkpoints that dream a recipe, for example to limit an expensive one:
`portrait: {preset: bird, runs: [pretrained], epochs: [0, last]}`. They do not change any image, and existing dreams are
kept.

**Schedules.** A schedule is `{random: [low, high]}`, which is drawn uniformly at each step (not for `step_size` and
`crop_area`), or `{from: a, to: b, over: steps}`, which changes linearly from a to b and then stays at b. With
`shape: cosine`, it follows half a cosine wave.

**Layers.** A layer is given by its timm name (`layer3.0.conv2`, `blocks.4`) or by its depth: `50%` is the middle one of
timm's stages. An unknown name is refused with the closest one.
"""


def reference_page() -> str:
    """Return the text of config/README.md."""
    config, recipe = load_schema("config"), load_schema("recipe")
    sections = [
        ("Top-level keys", "", {key: config["properties"][key] for key in TOP}),
        ("`dataset`: training images", "dataset.", config["properties"]["dataset"]["properties"]),
        ("`runs.<name>`: training runs", "", config["$defs"]["run"]["properties"]),
        ("`dreams`: labels and recipes", "dreams.", config["properties"]["dreams"]["properties"]),
        ("`dreams.targets`: a list of targets that are not classes", "", config["$defs"]["target"]["properties"]),
        ("`dreams.recipes.<name>`: parameters of dreams", "", _with_preset(recipe["properties"])),
        ("`judges.<name>`: networks that classify dreams", "", config["$defs"]["judge"]["properties"]),
        ("`questions.<name>`: questions that the study answers", "", config["$defs"]["question"]["properties"]),
        ("`questions.<name>.contrasts`: a list of comparisons", "", config["$defs"]["contrast"]["properties"]),
        ("`montage`: appearance of montages", "montage.", config["properties"]["montage"]["properties"]),
        ("`pictures`: appearance of films", "pictures.", config["properties"]["pictures"]["properties"]),
        ("`threads`: CPU threads per job", "threads.", config["properties"]["threads"]["properties"]),
    ]
    parts = [INTRODUCTION]
    for title, prefix, properties in sections:
        rows = [row for key, schema in properties.items() for row in _rows(f"{prefix}{key}", schema, config, recipe)]
        parts.append(
            "\n".join([f"\n## {title}\n", "| key | allowed | default | meaning |", "|---|---|---|---|", *rows, ""])
        )
        if "runs.<name>" in title:
            parts.append(RUNS)
        if "recipes.<name>" in title:
            parts.append(RECIPES)
    return "".join(parts)


def _with_preset(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a recipe; the defaults are those of the default preset."""
    set_by_preset = load_presets()[properties["preset"]["default"]].recipe
    return {
        key: {**schema, "default": set_by_preset[key]} if key in set_by_preset else schema
        for key, schema in properties.items()
    }


def _rows(key: str, schema: dict[str, Any], *schemas: dict[str, Any]) -> Iterator[str]:
    resolved = _resolve(schema, schemas)
    if "properties" in resolved and "$ref" not in schema:
        for name, inner in resolved["properties"].items():
            yield from _rows(f"{key}.{name}", inner, *schemas)
        return
    default = f"`{json.dumps(schema['default'])}`" if "default" in schema else _NO_DEFAULT["$ref" in schema]
    yield f"| `{key}` | {_allowed(resolved)} | {default} | {schema['description']} |"


def _resolve(schema: dict[str, Any], schemas: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    return next(each["$defs"][name] for each in schemas if name in each["$defs"])


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value or 'null'}`" for value in schema["enum"])
    if "oneOf" in schema:
        title: str = schema["title"]
        return title
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    items = _allowed_items(schema.get("items", {})) if "array" in types else ""
    others = [_YAML_TYPES.get(name, name) for name in types if name != "null" and (name != "array" or not items)]
    values = " or ".join([*others, *([f"list of {items}"] if items else [])]) + ("" if items else _range(schema))
    return f"{values}{',' if '≤' in values else ''} or null" if "null" in types else values


def _allowed_items(items: dict[str, Any]) -> str:
    """Return the allowed items of a list; empty if they have several types."""
    if "oneOf" in items or "enum" in items:
        return _allowed(items)
    return f"{_PLURALS[items['type']]}{_range(items)}" if str(items.get("type")) in _PLURALS else ""


def _range(schema: dict[str, Any]) -> str:
    """Return the limits of a number, such as `` ≥ 0, < 1``."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema]
    return f" {', '.join(limits)}" if limits else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def with_presets(page: str) -> str:
    """Return a page with one section per preset between its two markers."""
    head, tail = page.partition(BEGIN)[0], page.partition(END)[2]
    sections = []
    for name, preset in load_presets().items():
        keys = yaml.safe_dump({name: {"preset": name, **preset.recipe}}, sort_keys=False, default_flow_style=None)
        parts = [f"**Source**: {preset.source}", f"**Differences**: {preset.differs}" if preset.differs else ""]
        text = "\n\n".join(
            textwrap.fill(part, 118, break_long_words=False, break_on_hyphens=False) for part in parts if part
        )
        sections.append(f"\n### `{name}`\n\n{text}\n\n```yaml\n{keys}```\n")
    return head + BEGIN + "".join(sections) + "\n" + END + tail


def write_reference(root: Path) -> None:
    """Write config/README.md and the presets in docs/recipes.md below `root`.

    Raises UserError if docs/recipes.md does not exist.
    """
    page = root / "docs" / "recipes.md"
    if not page.is_file():
        raise UserError(f"'{page}' does not exist; run this in the root folder of a clone of the project")
    (root / "config" / "README.md").write_text(reference_page(), encoding="utf-8")
    page.write_text(with_presets(page.read_text(encoding="utf-8")), encoding="utf-8")
