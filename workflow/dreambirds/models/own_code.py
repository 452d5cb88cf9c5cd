"""Import a user's own code, and build its network."""

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from inspect import Parameter, signature
from operator import attrgetter
from pathlib import Path
from types import ModuleType

from torch import nn

from dreambirds.errors import UserError, is_out_of_memory, one_line
from dreambirds.models.own_source import check, find_source, syntax_problem

GIVEN = ("num_classes", "in_chans")


def build_own(name: str, classes: int, options: dict) -> nn.Module:
    """Return the network of the function ``module:function`` for a number of classes.

    The function gets ``num_classes`` and ``in_chans``, by these names if it has them, or else as its first required
    arguments. `options` are further arguments; the default of ``in_chans`` is 3. Raises UserError, with the line in the
    user's file, if the code fails, or if it returns anything but a module.
    """
    module, function = name.split(":")
    check(module, function)
    with working_folder_first():
        imported = _import(module)
        try:
            build = attrgetter(function)(imported)
        except AttributeError as error:
            raise UserError(f"'{imported.__file__}' has no function '{function}'; define it", "model") from error
        arguments, named = _arguments(build, function, {"num_classes": classes, "in_chans": 3, **options})
        with _own_errors(f"'{name}' failed", find_source(module)):
            network = build(*arguments, **named)
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise UserError(f"'{name}' returned {kind} instead of a torch.nn.Module; return the network itself", "model")
    return network


@contextmanager
def working_folder_first() -> Iterator[None]:
    """Put the working folder in front of Python's search path while own code is imported and run."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()  # files may be newer than the last look into the folder
    try:
        yield
    finally:
        with suppress(ValueError):  # the code removed it itself
            sys.path.remove(folder)


def _import(name: str) -> ModuleType:
    source, top = find_source(name), name.partition(".")[0]
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded and source and source.is_relative_to(Path.cwd()) and Path(loaded).resolve() != source.resolve():
        for other in [each for each in sys.modules if each == top or each.startswith(f"{top}.")]:
            del sys.modules[other]  # of another working folder
    with _own_errors(f"cannot import '{name}'", source):
        return importlib.import_module(name)


def _arguments(build: Callable, function: str, options: dict) -> tuple[list, dict]:
    """Return the positional and the named arguments of a call."""
    try:
        parameters = signature(build).parameters
    except (TypeError, ValueError) as error:
        raise UserError(f"'{function}' is not a function; define it with 'def'", "model") from error
    kinds = [parameter.kind for parameter in parameters.values()]
    if Parameter.VAR_KEYWORD in kinds or set(GIVEN) <= parameters.keys():
        return [], options
    left = [name for name in GIVEN if name not in parameters]
    required = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is Parameter.empty
        and parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in options
    ]
    positional = [options[name] for name, _ in zip(left, required, strict=False)]
    if "in_chans" in left[len(positional) :] and options["in_chans"] != 3:
        raise UserError(f"'{function}' takes no 'in_chans'; add it, or remove the option", "model_options")
    named = {key: value for key, value in options.items() if key not in left}
    if positional and left == ["in_chans"] and required[0] != next(iter(parameters)):
        return [], {**named, required[0]: positional[0]}  # behind `num_classes`, which is named
    return positional, named


@contextmanager
def _own_errors(what: str, source: Path | None) -> Iterator[None]:
    """Raise UserError, with the line in the user's code, for any exception inside."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # anyone's code raises anything
        if is_out_of_memory(error):
            raise
        text = syntax_problem(error) if isinstance(error, SyntaxError) else one_line(str(error).strip())
        where = _line(error, source)
        raise UserError(f"{what} ({type(error).__name__}: {text}{where}); correct the code", "model") from error


def _line(error: BaseException, source: Path | None) -> str:
    """Return the file and line of the user's code that an exception comes from, if known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f", in '{error.filename}'"
    frames = traceback.extract_tb(error.__traceback__)
    folders = (Path.cwd(), source.parent) if source else (Path.cwd(),)
    own = [frame for frame in frames if _is_own(Path(frame.filename), folders)]
    return f", in line {own[-1].lineno} of '{own[-1].filename}'" if own else ""


def _is_own(file: Path, folders: tuple[Path, ...]) -> bool:
    installed = "site-packages" in file.parts or file.is_relative_to(Path(__file__).parents[1])
    return not installed and any(file.is_relative_to(folder) for folder in folders)
