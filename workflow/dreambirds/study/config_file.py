"""Whether a config's file can be read as what it seems to say, and what its study is called.

YAML takes the last of two keys of one name without a word, lets a page of text stand for gigabytes by its aliases, and
Snakemake's own reader ends in a traceback where there is no such file. Imports nothing that takes time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from dreambirds.errors import StudyError, first_line, nearest

MOST_NODES = 100_000
MOST_BYTES = 10_000_000
RUNS_CODE = "__use_yte__"
SUFFIXES = (".yaml", ".yml")


def check_file(path: Path) -> None:
    """Raise StudyError with one sentence unless a config's file is YAML with each key once, and of a sane size."""
    where = f"the config '{path}'"
    text = _read(path, where)
    root = _parsed(yaml.compose, text, where)
    if root is None:
        raise StudyError(f"{where} is empty; it must at least name runs and dreams")
    if not isinstance(root, yaml.MappingNode):
        raise StudyError(f"{where} must hold keys with values, such as 'study: birds'")
    _count(root, {}, where)
    for key, keys in _mappings(root, ()):
        _check_keys(key, keys, where)
    _parsed(yaml.load, text, where)  # tags that are not plain YAML's show only now


def study_of(path: Path) -> str:
    """Return the study's name in a config's file that is good. Raises StudyError if it is no name."""
    from dreambirds.study.schema import check  # only here, since jsonschema takes its time

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
        raise StudyError(f"{where} is no YAML: {_reason(error)}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        told = "is nested too deep" if isinstance(error, RecursionError) else f"is no YAML: {first_line(error)}"
        raise StudyError(f"{where} {told}") from None


def _read(path: Path, where: str) -> str:
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise StudyError(f"{where} is larger than {MOST_BYTES // 10**6} MB")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"{where} is not there; {_others(path)}") from None
    except IsADirectoryError:
        raise StudyError(f"{where} is a folder; name a YAML file") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"{where} is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StudyError(f"{where} can't be read: {reason}") from None


def _others(path: Path) -> str:
    beside = [str(file) for file in sorted(path.parent.glob("*")) if file.suffix in SUFFIXES]
    return nearest(path, beside) if beside else f"'{path.parent}' holds no YAML file"


def _reason(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    tabs = "; indent with spaces, not with tabs" if "\\t" in problem else ""
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{' '.join(problem.split())}{tabs}"


def _count(node: yaml.Node, known: dict[int, int], where: str) -> int:
    """Return how many values a node stands for, each alias counted as all that it repeats."""
    if id(node) in known:
        if not known[id(node)]:
            raise StudyError(f"{where}, line {node.start_mark.line + 1}: '&' names a part that holds itself")
        return known[id(node)]
    known[id(node)] = 0
    parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    count = 1 + sum(_count(part, known, where) for part in parts) if isinstance(node, yaml.CollectionNode) else 1
    if count > MOST_NODES:
        raise StudyError(f"{where} stands for more than {MOST_NODES} values; use fewer aliases ('*name')")
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
            raise StudyError(f"{where}, line {line}: a key must be a word, not a list or keys of its own")
        if key.value == RUNS_CODE:
            raise StudyError(f"{where}, line {line}: '{RUNS_CODE}' would run what the file says as code")
        if key.value in lines:
            path = ".".join((*place, key.value))
            raise StudyError(f"{where}: the key '{path}' is there twice, in lines {lines[key.value]} and {line}")
        lines[key.value] = line
