"""Check config files, fill in defaults, and check values against the schema."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import jsonschema
import yaml
from jsonschema.protocols import Validator

from dreambirds.dreaming.recipe import Recipe, Start
from dreambirds.errors import UserError, counted, did_you_mean, first_line, in_yaml, reason_of, remedy_for
from dreambirds.io import read_yaml, refuse_pipe

MAX_NODES, MAX_BYTES = 100_000, 10_000_000
CODE_KEY = "__use_yte__"  # makes Snakemake execute code from the file
SCHEMAS = Path(__file__).parents[2] / "schemas"
Section = dict[str, Any]  # a config, or one of its mappings
# old and new names of the keys renamed before version 0.1.0; CHANGELOG.md lists them too
RENAMED = {
    "image": "parameterization",
    "start_colour": "start_color",
    "gradient_normalisation": "gradient_normalization",
    "total_variation": "tv_weight",
    "l2": "l2_weight",
    "octave_manner": "octave_mode",
    "lengths_at": "reference_size",
    "crop_view": "crop_output_size",
    "colour": "color",
    "length": "epsilon",
    "ramp_epochs": "warmup_epochs",
    "load": "loader_workers",
    "seconds_per_frame": "frame_duration",
    "cell": "montage.cell_size",
    "experiment": "questions",
}
TYPE_NAMES = {"integer": "an integer", "boolean": "true or false", "array": "a list", "object": "a mapping"}
TYPE_NAMES |= {"string": "a string", "number": "a number", "null": "null"}


def check_file(path: Path) -> None:
    """Raise UserError unless a config file is valid YAML without duplicate keys."""
    where = f"the config '{path}'"
    text = _read(path, where)
    root = _parsed(yaml.compose, text, where)
    if root is None:
        raise UserError(f"{where} is empty; add at least the keys 'runs' and 'dreams'")
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{where} must be a mapping of keys to values, such as 'study: birds'")
    _count(root, {}, where)
    for path_of_keys, mapping in _mappings(root, ()):
        _check_keys(path_of_keys, mapping, where)
    _parsed(yaml.load, text, where)  # only loading detects tags that are not plain YAML


def study_of(config: Section) -> str:
    """Return the study's name from a config, and check only the name and the data set."""
    values: dict[str, Any] = {"runs": {"any": {}}, "dreams": {"recipes": {"any": {}}}}
    values |= copy.deepcopy({key: config[key] for key in ("study", "dataset") if key in config})
    check(values, "config")
    study: str = values["study"]
    return study


def _parsed(parse: Callable[..., object], text: str, where: str) -> object:
    try:
        return parse(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {_reason(error)}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        too_deep = isinstance(error, RecursionError)
        problem = "is nested too deeply; use fewer levels" if too_deep else f"is not valid YAML: {first_line(error)}"
        raise UserError(f"{where} {problem}") from None


def _read(path: Path, where: str) -> str:
    refuse_pipe(path, where)
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise UserError(f"{where} is larger than {MAX_BYTES // 10**6} MB; check that it is the right file")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{where} does not exist; {_suggest_files(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{where} is a folder; pass the path of a YAML file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {where} ({reason_of(error)}); {remedy_for(error, 'pass another path')}") from None


def _suggest_files(path: Path) -> str:
    files = [str(file) for file in sorted(path.parent.glob("[!.]*")) if file.suffix in (".yaml", ".yml")]
    return did_you_mean(path, files, "available") if files else f"the folder '{path.parent}' contains no YAML file"


def _reason(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    tabs = "; indent with spaces, not with tabs" if "\\t" in problem else ""
    position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{position}{' '.join(problem.split())}{tabs}"


def _count(node: yaml.Node, known: dict[int, int], where: str) -> int:
    """Return the number of values in a node; aliases count as what they repeat."""
    if id(node) in known:
        if not known[id(node)]:
            line = node.start_mark.line + 1
            raise UserError(f"{where}, line {line}: an anchor ('&') contains its own alias ('*'); remove the alias")
        return known[id(node)]
    known[id(node)] = 0
    parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    count = 1 + sum(_count(part, known, where) for part in parts) if isinstance(node, yaml.CollectionNode) else 1
    if count > MAX_NODES:
        raise UserError(f"{where} expands to more than {MAX_NODES} values; use fewer aliases ('*name')")
    known[id(node)] = count
    return count


def _mappings(node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], yaml.MappingNode]]:
    if isinstance(node, yaml.MappingNode):
        yield path, node
        for key, value in node.value:
            yield from _mappings(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _mappings(value, (*path, str(number)))


def _check_keys(path: tuple[str, ...], node: yaml.MappingNode, where: str) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{where}, line {line}: a key must be a string, not a list or a mapping")
        if key.value == CODE_KEY:
            raise UserError(f"{where}, line {line}: '{CODE_KEY}' would execute code from the file; remove it")
        if key.value in lines:
            name, both = ".".join((*path, key.value)), f"lines {lines[key.value]} and {line}"
            raise UserError(f"{where}: the key '{name}' is given twice, on {both}; remove one")
        lines[key.value] = line


class _Error(Protocol):
    """A ValidationError as validators yield it: all of its fields are set."""

    message: str
    instance: Any
    schema: dict[str, Any]
    validator: str
    validator_value: Any
    absolute_path: Sequence[str | int]
    absolute_schema_path: Sequence[str | int]


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return the schema ``config``, or ``recipe`` with the `dreamer_defaults`."""
    schema: dict[str, Any] = read_yaml(SCHEMAS / f"{name}.schema.yaml")
    if name == "recipe":
        for key, value in dreamer_defaults().items():
            schema["properties"][key]["default"] = value
    return schema


def dreamer_defaults() -> dict[str, Any]:
    """Return the defaults of `Recipe` and `Start`, by the key in a config."""
    defaults = {field.name: field.default for field in fields(Recipe)}
    start = {"start": Start.kind, "start_color": Start.color, "start_noise": Start.noise}
    return {**defaults, "steps": list(Recipe.steps), **start, "start_blur_sigma": Start.blur_sigma}


def check(values: Section, name: str, where: str = "") -> None:
    """Fill a schema's defaults into `values`, put its keys in the schema's order, both in place, and check the values.

    `where` is the path of `values`. Raises UserError with the key's full path, what is wrong, and what is allowed.
    """
    validator = _FillingValidator(load_schema(name), format_checker=None)
    errors = sorted(validator.iter_errors(values), key=lambda error: [str(part) for part in error.absolute_path])
    if errors:
        raise UserError(_message(errors[0], where))


def _with_defaults(validator_class: type[Validator]) -> Any:
    check_properties = validator_class.VALIDATORS["properties"]

    def fill_then_check(
        validator: Validator, properties: dict[str, Any], instance: object, schema: dict[str, Any]
    ) -> Iterator[jsonschema.ValidationError]:
        if isinstance(instance, dict):
            for key, subschema in properties.items():
                if "default" in subschema:
                    instance.setdefault(key, copy.deepcopy(subschema["default"]))
            for key in sorted(instance, key=[*properties, *instance].index):  # Snakemake's records contain the order
                instance[key] = instance.pop(key)
        yield from check_properties(validator, properties, instance, schema)

    checker = validator_class.TYPE_CHECKER.redefine("number", _is_finite_number).redefine("integer", _is_integer)
    return jsonschema.validators.extend(validator_class, {"properties": fill_then_check}, type_checker=checker)


def _is_finite_number(_: object, value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_FillingValidator = _with_defaults(jsonschema.Draft202012Validator)


def _message(error: _Error, where: str) -> str:
    path = ".".join([where, *map(str, error.absolute_path)] if where else map(str, error.absolute_path)) or "config"
    describe: Callable[[_Error], str] = _DESCRIPTIONS.get(error.validator, lambda error: error.message)
    return f"{path}: {describe(error)}"


def _unknown_key(error: _Error) -> str:
    allowed = error.schema["properties"]
    unknown = sorted(str(key) for key in error.instance if key not in allowed)[0]
    new = RENAMED.get(unknown, "")
    if new in allowed or ("." in new and new.partition(".")[0] not in allowed and "frame_duration" in allowed):
        return f"the key '{unknown}' was renamed to '{new}'; rename it"
    return f"unknown key '{unknown}'; {did_you_mean(unknown, allowed)}"


def _wrong_type(error: _Error) -> str:
    if "propertyNames" in error.absolute_schema_path:
        return f"the name {in_yaml(error.instance)} is not a string; put it in quotes"
    types = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
    hint = "; write a finite number" if isinstance(error.instance, float) and "number" in types else ""
    hint = hint or (_as_number(error.instance) if {"number", "integer"} & set(types) else "")
    allowed = ", ".join(TYPE_NAMES[name] for name in types)
    return f"must be {' or '.join(allowed.rsplit(', ', 1))}, not {in_yaml(error.instance)}{hint}"


def _wrong_choice(error: _Error) -> str:
    return f"must be {error.schema['description']}, not {in_yaml(error.instance)}{_as_number(error.instance)}"


def _as_number(value: object) -> str:
    """Return a hint on how to write a number that YAML reads as text."""
    for text in _strings(value):
        with contextlib.suppress(ValueError):
            number = float(text)
            if math.isfinite(number):
                written = int(number) if number.is_integer() else number
                return f"; write {written}, because YAML reads {text!r} as text"
    return ""


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _wrong_pattern(error: _Error) -> str:
    if "title" in error.schema:
        return f"must be {error.schema['title']}, not {in_yaml(error.instance)}"
    return f"the name {error.instance!r} is not allowed; use {error.schema['description']}"


def _values(error: _Error) -> str:
    return f"{counted(error.validator_value, 'value')}, not {in_yaml(error.instance)}"


_DESCRIPTIONS: dict[str, Callable[[_Error], str]] = {
    "additionalProperties": _unknown_key,
    "type": _wrong_type,
    "enum": lambda error: (
        f"unknown value {in_yaml(error.instance)}; {did_you_mean(error.instance, error.validator_value)}"
    ),
    "pattern": _wrong_pattern,
    "required": lambda error: f"the key {error.message.split(' is a required')[0]} is missing",
    "minimum": lambda error: f"must be at least {error.validator_value}, not {error.instance}",
    "maximum": lambda error: f"must be at most {error.validator_value}, not {error.instance}",
    "exclusiveMaximum": lambda error: f"must be less than {error.validator_value}, not {error.instance}",
    "exclusiveMinimum": lambda error: f"must be greater than {error.validator_value}, not {error.instance}",
    "minItems": lambda error: f"must contain at least {_values(error)}",
    "maxItems": lambda error: f"must contain at most {_values(error)}",
    "minProperties": lambda error: "must not be empty",
    "uniqueItems": lambda error: f"has duplicate values: {in_yaml(error.instance)}; remove them",
    "oneOf": _wrong_choice,
}


def check_path_characters(path: Path, where: str) -> None:
    """Raise UserError if Snakemake would read a path as a pattern (no escape exists)."""
    found = next((character for character in str(path) if character in "{}<>"), None)
    if found:
        raise UserError(f"{where}: '{path}' contains '{found}', which Snakemake reads as a pattern; rename or link it")
