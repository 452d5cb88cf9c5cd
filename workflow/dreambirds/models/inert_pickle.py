"""Read what a file of torch contains without torch, and without running anything.

A pickle is a program. This module interprets it on its own stack and calls nothing: what it would import or call
becomes an `Inert`, a tensor's values are never read.
"""

import io
import mmap
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dreambirds.errors import reason_of
from dreambirds.models.file_kinds import LEGACY, corrupt, file_kind

LIMIT = 100 * 2**20  # bytes of a pickle
MAPPINGS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
SEQUENCES = {"builtins.set", "builtins.frozenset", "builtins.list", "builtins.tuple", "collections.deque"}
NUMBERS = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f4": "f", "f8": "d"}
KEYS = (str, bytes, int, float, bool, type(None))
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, struct.error, zipfile.BadZipFile)
_DAMAGED += (NotImplementedError, RecursionError, MemoryError, OverflowError, AssertionError)


@dataclass(eq=False)
class Inert:
    """Something that the pickle would import, call or create: its name, the arguments, and its state or items."""

    name: str
    args: Any = None  # None if it is only imported
    items: dict = field(default_factory=dict)

    @property
    def is_tensor(self) -> bool:
        """Return whether it is a tensor or a parameter."""
        return self.args is not None and self.name.startswith(("torch._utils._rebuild", "torch._tensor._rebuild"))


def read_tree(path: Path) -> Any:
    """Return the object that `torch.save` wrote into a file, with Inert objects for all but plain data.

    Raises UserError if the file is corrupt, is not one of torch, or contains more than LIMIT bytes in its pickle.
    """
    kind = file_kind(path)
    try:
        if kind == LEGACY:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                for _ in range(3):  # the magic number, the version, and facts on the machine
                    interpret(mapped)
                return interpret(mapped)
        with zipfile.ZipFile(path) as archive:
            info = next(info for info in archive.infolist() if info.filename.split("/")[-1] == "data.pkl")
            if info.file_size > LIMIT:
                raise corrupt(path, f"its pickle has {info.file_size} bytes")
            return interpret(io.BytesIO(archive.read(info)))
    except _DAMAGED as error:
        raise (error if hasattr(error, "key") else corrupt(path, reason_of(error))) from error


def interpret(file) -> Any:
    """Return the object of the pickle that begins at a file's position; a storage becomes None."""
    stack, marks, memo, begin = [], [], {}, file.tell()

    def since_mark() -> list:
        items = stack[marks[-1] :]
        del stack[marks.pop() :]
        return items

    for code, argument, position in pickletools.genops(file):
        name = code.name
        if (position or 0) - begin > LIMIT:
            raise ValueError("its pickle is too large")
        if name == "MARK":
            marks.append(len(stack))
        elif name == "STOP":
            return stack.pop()
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("POP", "POP_MARK"):
            stack.pop() if name == "POP" else since_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("SETITEM", "SETITEMS"):
            pairs = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _set_items(stack[-1], zip(pairs[::2], pairs[1::2], strict=True))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            if isinstance(stack[-1], list):
                stack[-1].extend(items)
        elif name in ("TUPLE", "LIST", "FROZENSET"):
            items = since_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name == "DICT":
            items = since_mark()
            stack.append({})
            _set_items(stack[-1], zip(items[::2], items[1::2], strict=True))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            number = int(name[-1])
            stack[-number:] = [tuple(stack[-number:])]
        elif name in ("EMPTY_LIST", "EMPTY_SET", "EMPTY_DICT", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": {}, "EMPTY_TUPLE": ()}.get(name, []))
        elif name == "GLOBAL":
            stack.append(Inert(argument.replace(" ", ".").replace("__builtin__", "builtins")))
        elif name == "STACK_GLOBAL":
            module, last = stack.pop(-2), stack.pop()
            stack.append(Inert(f"{module}.{last}"))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, what = stack.pop(), stack.pop()
            stack.append(_created(what, arguments))
        elif name == "NEWOBJ_EX":
            _, arguments, what = stack.pop(), stack.pop(), stack.pop()
            stack.append(_created(what, arguments))
        elif name in ("INST", "OBJ"):
            items = since_mark()
            what = Inert(argument.replace(" ", ".")) if name == "INST" else items.pop(0)
            stack.append(_created(what, tuple(items)))
        elif name == "BUILD":
            state = stack.pop()
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(stack[-1], Inert) and isinstance(part, dict):
                    stack[-1].items.update(part)
        elif name in ("BINPERSID", "PERSID"):
            persistent = stack.pop() if name == "BINPERSID" else None
            is_class = isinstance(persistent, tuple) and persistent[:1] == ("module",)  # else it is a storage
            stack.append(persistent[1] if is_class else None)
        elif name not in ("PROTO", "FRAME"):  # the other codes push a value, such as a number
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}.get(name, argument))
    raise EOFError("it ends early")


def _created(what: Any, arguments: Any) -> Any:
    """Return what a call or a class would create, as plain data where that is known."""
    if not isinstance(what, Inert) or what.args is not None or not isinstance(arguments, tuple):
        return Inert("unknown", arguments)
    if what.name in MAPPINGS:
        pairs = next((value for value in arguments if isinstance(value, dict | list)), ())
        created = {}
        _set_items(created, pairs.items() if isinstance(pairs, dict) else pairs)
        return created
    if what.name in SEQUENCES:
        return list(arguments[0]) if arguments and isinstance(arguments[0], list | tuple) else []
    if what.name.endswith("multiarray.scalar"):
        return _number(*arguments)
    return Inert(what.name, arguments)


def _number(kind: Any, data: Any = None) -> Any:
    """Return a NumPy number from its type and bytes, or None if it is of another type."""
    data = data.args[0].encode("latin-1") if isinstance(data, Inert) and data.args else data
    with suppress(struct.error, TypeError, LookupError, AttributeError):
        return struct.unpack("<" + NUMBERS[kind.args[0]], data)[0]
    return None


def _set_items(target: Any, pairs) -> None:
    """Put pairs into a mapping; only with keys that are cheap to compare."""
    items = target.items if isinstance(target, Inert) else target
    items.update((key, value) for key, value in pairs if isinstance(key, KEYS))


def as_mapping(value: Any) -> dict:
    """Return a mapping, or the attributes of an object such as a namespace, by name; else an empty mapping."""
    if isinstance(value, Inert):
        return value.items
    return value if isinstance(value, dict) else {}


def is_state(value: Any) -> bool:
    """Return whether a value maps names to tensors, such as what `state_dict()` returns."""
    return isinstance(value, dict) and any(
        isinstance(key, str) and isinstance(item, Inert) and item.is_tensor for key, item in value.items()
    )


def walk(value: Any, depth: int = 6) -> Iterator[Inert]:
    """Yield the Inert objects in nested data that are not tensors."""
    if (isinstance(value, Inert) and value.is_tensor) or depth == 0:
        return
    if isinstance(value, Inert):
        yield value
    inner = value.items.values() if isinstance(value, Inert) else value.values() if isinstance(value, dict) else ()
    for item in value if isinstance(value, list | tuple) else inner:
        yield from walk(item, depth - 1)
