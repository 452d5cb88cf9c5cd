"""The part of a module's source that can affect a result."""

import ast
from collections.abc import Iterable

IGNORED_FIELDS = {"annotation", "returns", "ctx", "kind", "type_comment", "type_params"}
SCOPES = {ast.ClassDef: "class", ast.FunctionDef: "function", ast.AsyncFunctionDef: "function", ast.Lambda: "function"}
DATA_ERRORS = {"UnreadableError"}  # their messages are the column `error` of images.csv
LOG_CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def essence(source: str) -> str:
    """Return the part of a module that can affect a result.

    This is its syntax tree as text, the same in every Python version, without comments, docstrings, annotations,
    imports of the package's modules, and the arguments of `raise` (except for errors that a table lists), of
    `warnings.warn` and of log calls. Then names that are no longer used in the module, and cannot be used in others,
    are removed as well: imports, private functions, and strings that a function assigns to a variable.
    """
    return essence_of(ast.parse(source))[0]


def essence_of(tree: ast.Module) -> tuple[str, set[str]]:
    """Return the text of a module, and the names that it uses."""
    module = _Part()
    module.add(tree.body)
    used = module.used
    while more := [part for part in module.optional if part.names & used and not part.used <= used]:
        used = used.union(*(part.used for part in more))
    return "\n".join([*sorted(text for name, text in module.imports if name in used), module.text(used)]), used


class _Part:
    """A part of a syntax tree as text, and the names that it uses.

    A part with `names` counts only if one of them is used elsewhere.
    """

    def __init__(self, names: Iterable[str] = (), root: "_Part | None" = None) -> None:
        self.names, self.used, self.pieces = set(names), set[str](), list[str | _Part]()
        self.imports: set[tuple[str, str]] = root.imports if root else set()
        self.optional: list[_Part] = root.optional if root else []

    def text(self, used: set[str]) -> str:
        """Return the text without the parts whose names are not used."""
        parts = (piece for piece in self.pieces if isinstance(piece, str) or piece.names & used)
        return "".join(part if isinstance(part, str) else part.text(used) for part in parts)

    def add(self, node: object, scope: str = "module") -> None:
        """Add a node of the tree; `scope` is module, class or function."""
        if isinstance(node, list):
            for each in node:
                before = len(self.pieces)
                self.add(each, scope)
                if len(self.pieces) > before:
                    last = self.pieces[-1]
                    (last if isinstance(last, _Part) else self).pieces.append(",")
        elif not isinstance(node, ast.AST):
            self.pieces.append(repr(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self._add_imports(node)
        elif isinstance(node, ast.AnnAssign) and scope != "class":
            if node.value:
                self.add(ast.Assign([node.target], node.value), scope)
        elif not (isinstance(node, ast.Expr) and _is_text(node.value)):
            names = _own_names(node, scope)
            if names:
                part = _Part(names, self)
                part._add_fields(node, scope)
                self.optional.append(part)
                self.pieces.append(part)
            else:
                self._add_fields(node, scope)

    def _add_fields(self, node: ast.AST, scope: str) -> None:
        inner = SCOPES.get(type(node), scope)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            self.used.add(node.id)
        elif isinstance(node, ast.Attribute):
            self.used.add(node.attr)
        self.pieces.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if name not in IGNORED_FIELDS and value is not None and value != []:
                self.pieces.append(f"{name}=")
                if isinstance(node, ast.Raise) and isinstance(value, ast.Call) and not _is_data(value.func):
                    value = value.func
                if not (name in ("args", "keywords") and _is_log_call(node)):
                    self.add(value, inner)
        self.pieces.append(")")

    def _add_imports(self, node: ast.Import | ast.ImportFrom) -> None:
        module = getattr(node, "module", None)
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            if not is_own(module):
                self.imports.add((name, f"from {module} import {alias.name} as {name}"))
            elif alias.asname:  # otherwise the code itself contains the name
                self.imports.add((name, f"import {alias.name} as {name}"))


def _own_names(node: ast.AST, scope: str) -> list[str]:
    """Return the names of a module's private function, or of a function's string."""
    if scope == "module" and isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return [node.name] if node.name.startswith("_") and not node.name.startswith("__") else []
    if scope == "function" and isinstance(node, ast.Assign) and _is_text(node.value):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return names if len(names) == len(node.targets) else []
    return []


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_data(error: ast.expr) -> bool:
    return isinstance(error, ast.Name) and error.id in DATA_ERRORS


def _is_log_call(node: ast.AST) -> bool:
    function = node.func if isinstance(node, ast.Call) else None
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
        return False
    name = function.value.id
    return (name in ("log", "logging") and function.attr in LOG_CALLS) or (name, function.attr) == ("warnings", "warn")


def is_own(module: str | None) -> bool:
    """Return whether a module of this name belongs to the project."""
    return (module or "").partition(".")[0] in ("dreambirds", "job")
