"""Read a config: YAML that is checked, the schema, and its defaults."""

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
from dreambirds.errors import UserError, did_you_mean, first_line

MOST_NODES = 100_000
MOST_BYTES = 10_000_000
RUNS_CODE = "__use_yte__"
SUFFIXES = (".yaml", ".yml")
SCHEMAS = Path(__file__).parents[2] / "schemas"
Section = dict[str, Any]  # a config, or a part of it that has keys
# keys of configs from before version 0.1.0, and what they are called since; CHANGELOG.md lists them too
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
}
PATTERNS = "{}<>"


def check_file(path: Path) -> None:
    """Raise UserError with one sentence unless a config's file is YAML with each key once, and of a sane size."""
    where = f"the config '{path}'"
    text = _read(path, where)
    root = _parsed(yaml.compose, text, where)
    if root is None:
        raise UserError(f"{where} is empty; it must at least name runs and dreams")
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{where} must hold keys with values, such as 'study: birds'")
    _count(root, {}, where)
    for key, keys in _mappings(root, ()):
        _check_keys(key, keys, where)
    _parsed(yaml.load, text, where)  # tags that are not plain YAML's show only now


def study_of(path: Path) -> str:
    """Return the study's name in a config's file that is good. Raises UserError if it is no name."""
    values: dict[str, Any] = {"runs": {"any": {}}, "dreams": {"recipes": {"any": {}}}}
    given = yaml.safe_load(_read(path, f"the config '{path}'"))
    values |= {"study": given["study"]} if "study" in given else {}
    check(values, "config")
    study: str = values["study"]
    return study


def _parsed(parse: Callable[..., object], text: str, where: str) -> object:
    try:
        return parse(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is no YAML: {_reason(error)}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        told = "is nested too deep" if isinstance(error, RecursionError) else f"is no YAML: {first_line(error)}"
        raise UserError(f"{where} {told}") from None


def _read(path: Path, where: str) -> str:
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise UserError(f"{where} is larger than {MOST_BYTES // 10**6} MB")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{where} is not there; {_others(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{where} is a folder; name a YAML file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{where} can't be read: {reason}") from None


def _others(path: Path) -> str:
    beside = [str(file) for file in sorted(path.parent.glob("*")) if file.suffix in SUFFIXES]
    return did_you_mean(path, beside) if beside else f"'{path.parent}' holds no YAML file"


def _reason(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    tabs = "; indent with spaces, not with tabs" if "\\t" in problem else ""
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{' '.join(problem.split())}{tabs}"


def _count(node: yaml.Node, known: dict[int, int], where: str) -> int:
    """Return how many values a node stands for, each alias counted as all that it repeats."""
    if id(node) in known:
        if not known[id(node)]:
            raise UserError(f"{where}, line {node.start_mark.line + 1}: '&' names a part that holds itself")
        return known[id(node)]
    known[id(node)] = 0
    parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    count = 1 + sum(_count(part, known, where) for part in parts) if isinstance(node, yaml.CollectionNode) else 1
    if count > MOST_NODES:
        raise UserError(f"{where} stands for more than {MOST_NODES} values; use fewer aliases ('*name')")
    known[id(node)] = count
    return count


def _mappings(node: yaml.Node, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], yaml.MappingNode]]:
    if isinstance(node, yaml.MappingNode):
        yield place, node
        for key, value in node.value:
            yield from _mappings(value, (*place, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _mappings(value, (*place, str(number)))


def _check_keys(place: tuple[str, ...], node: yaml.MappingNode, where: str) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{where}, line {line}: a key must be a word, not a list or keys of its own")
        if key.value == RUNS_CODE:
            raise UserError(f"{where}, line {line}: '{RUNS_CODE}' would run what the file says as code")
        if key.value in lines:
            path = ".".join((*place, key.value))
            raise UserError(f"{where}: the key '{path}' is there twice, in lines {lines[key.value]} and {line}")
        lines[key.value] = line


class _Error(Protocol):
    """A ValidationError with all of its fields set, as a validator yields it; the library's types allow for others."""

    message: str
    instance: Any
    schema: dict[str, Any]
    validator: str
    validator_value: Any
    absolute_path: Sequence[str | int]
    absolute_schema_path: Sequence[str | int]


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return the schema called ``config`` or ``recipe``; what the dreamer has a default for has that one."""
    schema: dict[str, Any] = yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text())
    if name == "recipe":
        for key, value in dreamer_defaults().items():
            schema["properties"][key]["default"] = value
    return schema


def dreamer_defaults() -> dict[str, Any]:
    """Return the defaults of the dreamer's `Recipe` and `Start` by the keys of a config's recipe."""
    own = {field.name: field.default for field in fields(Recipe)}
    start = {"start": Start.kind, "start_color": Start.color, "start_noise": Start.noise}
    return {**own, "steps": list(Recipe.steps), **start, "start_blur_sigma": Start.blur_sigma}


def check(values: Section, name: str, where: str = "") -> None:
    """Fill the schema's defaults into `values`, in place, and check them; `where` is put before every key.

    Raises UserError with one sentence: the key's full path, what is wrong, what is allowed.
    """
    validator = _FillingValidator(load_schema(name), format_checker=None)
    errors = sorted(validator.iter_errors(values), key=lambda error: [str(part) for part in error.absolute_path])
    if errors:
        raise UserError(_sentence(errors[0], where))


def _with_defaults(validator_class: type[Validator]) -> Any:
    check_properties = validator_class.VALIDATORS["properties"]

    def fill_then_check(
        validator: Validator, properties: dict[str, Any], instance: object, schema: dict[str, Any]
    ) -> Iterator[jsonschema.ValidationError]:
        if isinstance(instance, dict):
            for key, subschema in properties.items():
                if "default" in subschema:
                    instance.setdefault(key, copy.deepcopy(subschema["default"]))
        yield from check_properties(validator, properties, instance, schema)

    checker = validator_class.TYPE_CHECKER.redefine("number", _is_finite_number).redefine("integer", _is_whole_number)
    return jsonschema.validators.extend(validator_class, {"properties": fill_then_check}, type_checker=checker)


def _is_finite_number(_: object, value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_whole_number(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_FillingValidator = _with_defaults(jsonschema.Draft202012Validator)


def _sentence(error: _Error, where: str) -> str:
    path = ".".join([where, *map(str, error.absolute_path)] if where else map(str, error.absolute_path)) or "config"
    describe: Callable[[_Error], str] = _WORDS.get(error.validator, lambda error: error.message)
    return f"{path}: {describe(error)}"


def _unknown_key(error: _Error) -> str:
    allowed = error.schema["properties"]
    unknown = sorted(str(key) for key in error.instance if key not in allowed)[0]
    new = RENAMED.get(unknown, "")
    if new in allowed or ("." in new and new.partition(".")[0] not in allowed and "frame_duration" in allowed):
        return f"the key '{unknown}' is called '{new}' now"
    return f"unknown key '{unknown}'; {did_you_mean(unknown, allowed)}"


def _wrong_type(error: _Error) -> str:
    if "propertyNames" in error.absolute_schema_path:
        return f"the name {error.instance!r} is no text; put it in quotes"
    kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
    hint = "; write a finite number" if isinstance(error.instance, float) and "number" in kinds else ""
    if {"number", "integer"} & set(kinds):
        hint = hint or _as_number(error.instance)
    return f"must be of type {' or '.join(kinds)}, not {error.instance!r}{hint}"


def _wrong_choice(error: _Error) -> str:
    return f"must be {error.schema['description']}, not {error.instance!r}{_as_number(error.instance)}"


def _as_number(value: object) -> str:
    """Return the sentence's end that says how a number is written where YAML read a text, in a value or within it."""
    for text in _texts(value):
        with contextlib.suppress(ValueError):
            number = float(text)
            if math.isfinite(number):
                said = "it" if text is value else repr(text)
                return f"; {said} was read as text, write {int(number) if number.is_integer() else number}"
    return ""


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _wrong_form(error: _Error) -> str:
    if "title" in error.schema:
        return f"must be {error.schema['title']}, not {error.instance!r}"
    return f"the name {error.instance!r} must be 1 to 64 letters, digits, '_' or '-', beginning with a letter or digit"


_WORDS: dict[str, Callable[[_Error], str]] = {
    "additionalProperties": _unknown_key,
    "type": _wrong_type,
    "enum": lambda error: f"unknown value {error.instance!r}; {did_you_mean(error.instance, error.validator_value)}",
    "pattern": _wrong_form,
    "required": lambda error: f"the key {error.message.split(' is a required')[0]} is missing",
    "minimum": lambda error: f"must be at least {error.validator_value}, not {error.instance}",
    "maximum": lambda error: f"must be at most {error.validator_value}, not {error.instance}",
    "exclusiveMaximum": lambda error: f"must be less than {error.validator_value}, not {error.instance}",
    "exclusiveMinimum": lambda error: f"must be greater than {error.validator_value}, not {error.instance}",
    "minItems": lambda error: f"must hold at least {error.validator_value} value(s), not {error.instance}",
    "maxItems": lambda error: f"must hold at most {error.validator_value} values, not {error.instance}",
    "minProperties": lambda error: "must not be empty",
    "uniqueItems": lambda error: f"must not repeat a value, not {error.instance}",
    "oneOf": _wrong_choice,
}


def check_path_characters(path: Path, where: str) -> None:
    """Raise UserError if Snakemake would take a part of a file's name for a pattern, since that can't be escaped."""
    strange = next((letter for letter in str(path) if letter in PATTERNS), None)
    if strange:
        raise UserError(f"{where}: '{path}' has a '{strange}', which Snakemake takes for a pattern; rename or link it")
