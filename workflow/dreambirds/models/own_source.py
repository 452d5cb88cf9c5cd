"""Find the source of a user's own network, without importing it.

Modules are searched in the working folder first, and then on the usual path.
"""

import ast
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from dreambirds.errors import UserError, did_you_mean, remedy_for


def find_source(module: str) -> Path | None:
    """Return the source of a module, whose name may contain dots, or None if there is none."""
    first, *rest = module.split(".")
    source, folders = _find(first, [Path.cwd(), *map(Path, sys.path)])
    if source is None and not folders:
        source, folders = _find_installed(first)
    for name in rest:
        source, folders = _find(name, folders)
    return source


def _find(name: str, folders: list[Path]) -> tuple[Path | None, list[Path]]:
    """Return the source of a module in one of the folders, if any, and the folders of its modules."""
    for folder in folders:
        if (package := folder / name / "__init__.py").is_file():
            return package, [package.parent]
        if (file := folder / f"{name}.py").is_file():
            return file, []
    return None, [folder / name for folder in folders if (folder / name).is_dir()]


def _find_installed(name: str) -> tuple[Path | None, list[Path]]:
    """Return the same for a package that an import hook finds, as some editable installations need."""
    with suppress(ImportError, ValueError):
        if spec := find_spec(name):
            source = Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
            return source, list(map(Path, spec.submodule_search_locations or []))
    return None, []


def files(module: str) -> list[Path]:
    """Return the sources that determine a module: the files of its package in the working folder, or its own file.

    Those in the working folder have relative paths. Raises UserError if there is no such module.
    """
    source = _existing(module)
    top = Path.cwd() / module.partition(".")[0]
    if not source.is_relative_to(Path.cwd()):
        return [source]
    found = sorted(top.rglob("*.py")) if source.is_relative_to(top) else [source]
    return [file.relative_to(Path.cwd()) for file in found]


def check(module: str, function: str) -> None:
    """Raise UserError if there is no such module, or if nothing at its top level has the name of the function."""
    source = _existing(module)
    try:
        tree = ast.parse(source.read_bytes())
    except OSError as error:
        raise UserError(
            f"cannot read '{source}' ({error.strerror}); {remedy_for(error, 'set another model')}"
        ) from error
    except (SyntaxError, ValueError) as error:
        raise UserError(f"'{source}' is not valid Python ({syntax_problem(error)}); correct it") from error
    names, first = set(_names(tree.body)), function.partition(".")[0]
    if not names & {first, "*", "__getattr__"}:
        raise UserError(f"'{source}' has no function '{first}'; {did_you_mean(first, names, 'available')}")


def syntax_problem(error: BaseException) -> str:
    """Return the message of an error of Python's parser, with its line."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"line {error.lineno}: {error.msg}"
    return str(error)


def _existing(module: str) -> Path:
    source = find_source(module)
    if source is None:
        file = f"{module.replace('.', '/')}.py"
        raise UserError(f"there is no module '{module}'; write '{file}' in the working folder '{Path.cwd()}'")
    return source


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements bind at the top level of a module, and ``*`` for an import of all names."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            nodes = ast.walk(statement)
            yield from (node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        else:  # such as `if` and `try`
            for part in ("body", "handlers", "orelse", "finalbody", "cases"):
                yield from _names(getattr(statement, part, []))
