"""Make config/README.md from the schemas, and the presets' part of docs/recipes.md from presets.yaml."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dreambirds.config.load import load_schema
from dreambirds.config.recipes import load_presets
from dreambirds.errors import UserError

_NO_DEFAULT = {False: "must be given", True: "none"}
BEGIN, END = "<!-- made from presets.yaml by make manual -->\n", "<!-- end -->\n"

INTRODUCTION = """\
# The config: one YAML file a study

`default.yaml` is what `make` runs. Copy it, change it, and run `make CONFIG=my.yaml` or `snakemake --cores all
--configfile my.yaml`. A key that is left out has the default given here (in a recipe, the one of the preset `original`;
another preset has others); a key, model, label or value that is not allowed is refused, with the nearest allowed one,
before any job starts.

*This page is made from `workflow/schemas/` by `make manual`; a test compares them.*
"""
GRIDS = """
A recipe is a `preset` and what overrides it; [docs/recipes.md](../docs/recipes.md) shows them all.

Any recipe key but `steps`, `runs` and `epochs` may hold a **list**: each combination of listed values becomes a recipe
of its own, named after what varies (`blur-blur_sigma-0.25`); `results/<study>/recipes.csv` lists them all with every
parameter. A folder as `start_path` is such a list of its photographs.

`runs` and `epochs` say which checkpoints dream a recipe, so that a costly one is not paid for where nobody looks:
`portrait: {preset: bird, runs: [pretrained], epochs: [0, last]}`. They change no picture, and what was dreamt stays.

A width, factor, angle, share or step is a number, `{random: [low, high]}` (drawn anew each step; not for a step) or
`{from: a, to: b, over: steps}` (moving from a to b, then staying; with `shape: cosine` along half a wave).

A layer is named as timm does (`layer3.0.conv2`, `blocks.4`), or by depth: `50%` is the middle one of timm's stages. A
wrong name is refused with the nearest one.
"""


def manual() -> str:
    """Return the text of config/README.md."""
    config, recipe = load_schema("config"), load_schema("recipe")
    sections = [
        ("The study", "", {key: config["properties"][key] for key in ("study", "judges", "gpu")}),
        ("`dataset`: what the models learn from", "dataset.", config["properties"]["dataset"]["properties"]),
        ("`runs.<name>`: ways to train", "", config["$defs"]["run"]["properties"]),
        ("`dreams`", "dreams.", config["properties"]["dreams"]["properties"]),
        ("`dreams.recipes.<name>`: ways to dream", "", _with_preset(recipe["properties"])),
        ("`judges.<name>`: who judges the dreams", "", config["$defs"]["judge"]["properties"]),
        ("`experiment`: what the study asks", "experiment.", config["properties"]["experiment"]["properties"]),
        ("`experiment.contrasts`: what is compared", "", config["$defs"]["contrast"]["properties"]),
        ("`montage`: how montages look", "montage.", config["properties"]["montage"]["properties"]),
        ("`pictures`: how films look", "pictures.", config["properties"]["pictures"]["properties"]),
        ("`threads`", "threads.", config["properties"]["threads"]["properties"]),
    ]
    parts = [INTRODUCTION]
    for title, prefix, properties in sections:
        rows = [row for key, schema in properties.items() for row in _rows(f"{prefix}{key}", schema, config, recipe)]
        parts.append(
            "\n".join([f"\n## {title}\n", "| key | allowed | default | meaning |", "|---|---|---|---|", *rows, ""])
        )
        if "recipes.<name>" in title:
            parts.append(GRIDS)
    return "".join(parts)


def _with_preset(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a recipe with the defaults that hold: those of the default preset, where it sets a key."""
    set_by_preset = load_presets()[properties["preset"]["default"]].recipe
    return {
        key: {**schema, "default": set_by_preset[key]} if key in set_by_preset else schema
        for key, schema in properties.items()
    }


def _rows(key: str, schema: dict[str, Any], *schemas: dict[str, Any]) -> Iterator[str]:
    described = _resolve(schema, schemas)
    if "properties" in described and "$ref" not in schema:
        for name, inner in described["properties"].items():
            yield from _rows(f"{key}.{name}", inner, *schemas)
        return
    default = f"`{json.dumps(schema['default'])}`" if "default" in schema else _NO_DEFAULT["$ref" in schema]
    yield f"| `{key}` | {_allowed(described)} | {default} | {schema['description']} |"


def _resolve(schema: dict[str, Any], schemas: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    return next(each["$defs"][name] for each in schemas if name in each["$defs"])


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "oneOf" in schema:
        title: str = schema["title"]
        return title
    kind = schema["type"] if isinstance(schema["type"], str) else " or ".join(schema["type"])
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    more = "" if low is None else f" {'>' if 'exclusiveMinimum' in schema else '≥'} {low}"
    return kind + more + ("" if high is None else f", ≤ {high}")


def with_presets(page: str) -> str:
    """Return a page with what lies between its two marks written anew: a section a preset."""
    head, tail = page.partition(BEGIN)[0], page.partition(END)[2]
    sections = []
    for name, preset in load_presets().items():
        keys = yaml.safe_dump({name: {"preset": name, **preset.recipe}}, sort_keys=False, default_flow_style=None)
        told = [f"**From** {preset.source}", f"**Differs**: {preset.differs}" if preset.differs else ""]
        words = "\n\n".join(textwrap.fill(text, 118, break_long_words=False) for text in told if text)
        sections.append(f"\n### `{name}`\n\n{words}\n\n```yaml\n{keys}```\n")
    return head + BEGIN + "".join(sections) + "\n" + END + tail


def write_manual(root: Path) -> None:
    """Write config/README.md and the presets' part of docs/recipes.md below a copy of the project. Raises UserError
    where there is no docs/recipes.md."""
    page = root / "docs" / "recipes.md"
    if not page.is_file():
        raise UserError(f"'{page}' is not there; run this in a copy of the project")
    (root / "config" / "README.md").write_text(manual())
    page.write_text(with_presets(page.read_text()))
