"""Digest of the code of each stage; a change of code invalidates results.

Comments, docstrings and messages do not count. Each rule has `stage_code` among its parameters, and the keys of the
dream store and of prepared images contain it. So an edit reruns its own stage and no earlier stage. The modules of a
stage are found by following imports from its scripts. Of each module, the syntax tree counts (see `essence`). Modules
that affect no result are in `EXEMPT`.
"""

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dreambirds.errors import UserError

PACKAGE = Path(__file__).parents[1]
SCRIPTS = PACKAGE.parent / "scripts"
TEMPLATES = sorted((PACKAGE / "gallery" / "templates").iterdir())
SOURCES = sorted((PACKAGE / "data" / "sources").glob("*.py"))  # discovered at run time, not imported by name
STYLE = PACKAGE / "figures" / "style.mplstyle"
ENTRIES = {
    "dataset": [SCRIPTS / "dataset.py", *SOURCES],
    "prepared": [PACKAGE / "data" / "image_io.py"],
    "overview": [SCRIPTS / "overview.py"],
    "training": [SCRIPTS / "train.py"],
    "dreaming": [SCRIPTS / "dream.py"],
    "statistics": [SCRIPTS / "data_statistics.py"],
    "montage": [SCRIPTS / "montage.py"],
    "film": [SCRIPTS / "film.py"],
    "curves": [SCRIPTS / "curves.py", STYLE],
    "submission": [SCRIPTS / "submission.py", *SOURCES],
    "recipes": [SCRIPTS / "recipes.py"],
    "judging": [SCRIPTS / "judge.py"],
    "measurements": [SCRIPTS / "measurements.py"],
    "plots": [SCRIPTS / "plots.py", STYLE],
    "gallery": [SCRIPTS / "gallery.py", *TEMPLATES],
    "finding": [SCRIPTS / "finding.py", STYLE, *TEMPLATES],
    "findings": [SCRIPTS / "findings.py", *TEMPLATES],
    "comparison": [SCRIPTS / "comparison.py", *TEMPLATES],
}
LIBRARIES = {
    "dataset": ["numpy", "pillow", "torchvision"],
    "prepared": ["pillow", "torchvision"],
    "training": ["timm", "torch", "torchvision"],
    "statistics": ["pillow", "torch", "torchvision"],
    "judging": ["pillow", "timm", "torch", "torchvision"],
}
EXEMPT = {
    "they format errors and write logs": ["errors", "log"],
    "they lock, link, move, digest and store files, whose contents other modules determine": ["io", "dream_job.store"],
    "they run a job: they fork, reserve GPUs, exit with Snakemake, check the code, and record times": [
        *("runtime.code_version", "runtime.job", "runtime.gpu_lock", "runtime.snakemake_lock", "runtime.timings"),
        *("runtime.fork_client", "runtime.fork_server"),
    ],
    "they check a config and plan its jobs, and the parameters of each rule contain the outcome": [
        *("config.judges", "config.load", "config.runs", "models.packages"),
        *("plan.checkpoints", "plan.inputs", "plan.paths", "plan.plan", "plan.targets"),
    ],
    "it estimates memory, which sets the batch size; that changes an image only by rounding": ["plan.memory"],
}
IGNORED_FIELDS = {"annotation", "returns", "ctx", "kind", "type_comment", "type_params"}
SCOPES = {ast.ClassDef: "class", ast.FunctionDef: "function", ast.AsyncFunctionDef: "function", ast.Lambda: "function"}
DATA_ERRORS = {"UnreadableError"}  # their messages are the column `error` of images.csv
NOTHING = hashlib.sha256().hexdigest()
LOG_CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def libraries(stage: str) -> dict[str, str]:
    """Return the versions of the libraries that affect a stage's results, by name."""
    return {name: version(name) for name in LIBRARIES[stage]}


@cache
def stage_code(stage: str) -> str:
    """Return a stage's name with a digest of its modules, independent of their paths."""
    return f"{stage} code {code_digest(stage_modules(stage))[:16]}"


def check_code(code: str | None) -> None:
    """Raise UserError if a stage's code changed since Snakemake started.

    None is not checked.
    """
    if code is not None and stage_code(code.partition(" code ")[0]) != code:
        raise UserError("the code was edited while Snakemake was running; run the same command again")


def code_digest(paths: Iterable[Path]) -> str:
    """Return a sha256 of the `essence` of modules and the bytes of other files.

    The order of the paths does not matter.
    """
    counted = {path: _read(path) for path in paths}
    lines = {read.digest for read in counted.values()} - {NOTHING}  # modules with nothing but a docstring
    for read in counted.values():  # the content behind an imported name counts, the path of its module does not
        lines |= {f"{read.digest} {name} {counted[file].digest}" for name, file in read.names if file in counted}
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def stage_modules(stage: str) -> list[Path]:
    """Return the scripts and templates of a stage, and the modules that they import.

    Indirect imports count too. Exempt modules, and modules that only those import, are excluded.
    """
    exempt = {module_path(name) for names in EXEMPT.values() for name in names}
    found: set[Path] = set()
    waiting = list(ENTRIES[stage])
    while waiting:
        path = waiting.pop()
        if path not in found | exempt:
            found.add(path)
            waiting += _read(path).imported
    return sorted(found)


def module_path(name: str) -> Path:
    """Return the file of a module of the package, such as ``data.tables``."""
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


@dataclass(frozen=True)
class _File:
    """A file's digest, its imports from the package, and the names that it uses."""

    digest: str
    imported: list[Path]
    names: list[tuple[str, Path]]


@cache
def _read(path: Path) -> _File:
    if path.suffix != ".py":
        return _File(hashlib.sha256(path.read_bytes()).hexdigest(), [], [])
    tree = ast.parse(path.read_bytes())
    text, used = _essence(tree)
    files: list[Path] = []
    names: list[tuple[str, Path]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _is_own(node.module):
            base = PACKAGE.joinpath(*(node.module or "").split(".")[1:])
            files += _files(base)
            for alias in node.names:
                modules = _files(base / alias.name)
                files += modules
                names += [
                    (alias.name, file) for file in modules or _files(base) if (alias.asname or alias.name) in used
                ]
    return _File(hashlib.sha256(text.encode()).hexdigest(), files, names)


def _files(base: Path) -> list[Path]:
    # the package's `__init__` contains only its version and public names, which affect no result
    files = (base.with_suffix(".py"), base / "__init__.py") if base != PACKAGE else ()
    return [file for file in files if file.is_file()]


def _is_own(module: str | None) -> bool:
    return (module or "").partition(".")[0] in ("dreambirds", "job")


def essence(source: str) -> str:
    """Return the part of a module that can affect a result.

    This is its syntax tree as text, the same in every Python version, without comments, docstrings, annotations,
    imports of the package's modules, and the arguments of `raise` (except for errors that a table lists), of
    `warnings.warn` and of log calls. Then names that are no longer used in the module, and cannot be used in others,
    are removed as well: imports, private functions, and strings that a function assigns to a variable.
    """
    return _essence(ast.parse(source))[0]


def _essence(tree: ast.Module) -> tuple[str, set[str]]:
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
            if not _is_own(module):
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
