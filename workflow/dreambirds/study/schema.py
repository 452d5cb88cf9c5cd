"""Check a config against its JSON schema, fill in the defaults, and say in one sentence what is wrong."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import jsonschema
import yaml
from jsonschema.protocols import Validator

from dreambirds.errors import StudyError, nearest

SCHEMAS = Path(__file__).parents[2] / "schemas"
Section = dict[str, Any]  # a config, or a part of it that has keys


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
    """Return the schema called ``config`` or ``recipe``."""
    schema: dict[str, Any] = yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text())
    return schema


def check(values: Section, name: str, where: str = "") -> None:
    """Fill the schema's defaults into `values`, in place, and check them; `where` is put before every key.

    Raises StudyError with one sentence: the key's full path, what is wrong, what is allowed.
    """
    validator = _FillingValidator(load_schema(name), format_checker=None)
    errors = sorted(validator.iter_errors(values), key=lambda error: [str(part) for part in error.absolute_path])
    if errors:
        raise StudyError(_sentence(errors[0], where))


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
    return f"unknown key '{unknown}'; {nearest(unknown, allowed)}"


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
    "enum": lambda error: f"unknown value {error.instance!r}; {nearest(error.instance, error.validator_value)}",
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
