"""What invalidates a result: code counts as input, sentences do not.

Each rule carries `stage_code` among its parameters, and so does each key of the dream store and of prepared pictures:
an edit runs its own stage again, and no stage before it. A stage's modules are found by following imports from its
scripts. What counts of a module is its syntax tree (`essence`); modules that decide no result are `EXEMPT`, by name.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dreambirds.errors import StudyError

PACKAGE = Path(__file__).parent
SCRIPTS = PACKAGE.parent / "scripts"
TEMPLATES = sorted((PACKAGE / "gallery" / "templates").iterdir())
ENTRIES = {
    "dataset": [SCRIPTS / "dataset.py"],
    "prepared": [PACKAGE / "data" / "framing.py"],
    "look": [SCRIPTS / "look.py"],
    "training": [SCRIPTS / "train.py"],
    "dreaming": [SCRIPTS / "dream.py"],
    "statistics": [SCRIPTS / "data_statistics.py"],
    "assembly": [SCRIPTS / "montage.py", SCRIPTS / "film.py"],
    "curves": [SCRIPTS / "curves.py"],
    "submission": [SCRIPTS / "submission.py"],
    "recipes": [SCRIPTS / "recipes.py"],
    "judging": [SCRIPTS / "judge.py"],
    "measurements": [SCRIPTS / "measurements.py"],
    "plots": [SCRIPTS / "plots.py"],
    "gallery": [SCRIPTS / "gallery.py", *TEMPLATES],
    "finding": [SCRIPTS / "finding.py", *TEMPLATES],
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
    "they word errors and write logs": ["errors", "logs", "mishaps"],
    "they lock, link, move, digest and store files, whose contents others decide": [
        *("data.files", "data.store", "dreaming.store", "judging.memory", "models.hub", "study.known"),
    ],
    "they run a job: its GPUs, its end with Snakemake's, its check of the code": [
        "code_version",
        "job",
        "leases",
        "watch",
    ],
    "they check a config and plan its jobs, and each rule's parameters contain what they decide": [
        *("study.asked", "study.chain", "study.fitting", "study.judgement", "study.judges", "study.memory"),
        *("study.models", "study.paths", "study.plan", "study.presets", "study.runs", "study.schema"),
        *("study.single", "study.sources"),
    ],
}
LOG_CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def libraries(stage: str) -> dict[str, str]:
    """Return the versions of the libraries that decide a stage's results, by name."""
    return {name: version(name) for name in LIBRARIES[stage]}


@cache
def stage_code(stage: str) -> str:
    """Return a stage's name with a digest of the contents of its modules, wherever they lie."""
    return f"{stage} code {code_digest(stage_modules(stage))[:16]}"


def check_code(code: str | None) -> None:
    """Raise StudyError unless a stage's code is what it was when Snakemake began; None is not checked."""
    if code is not None and stage_code(code.partition(" code ")[0]) != code:
        raise StudyError("the code was edited while Snakemake ran; type the same command again")


def code_digest(paths: Iterable[Path]) -> str:
    """Return the sha256 of the essence of Python modules and of the bytes of other files, in any order."""
    digests = set(map(_digest, paths)) - {hashlib.sha256().hexdigest()}  # a module of a docstring only has no essence
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def stage_modules(stage: str) -> list[Path]:
    """Return the scripts and templates of a stage and the modules that they import, directly or not, but for those that
    are exempt and what only those import."""
    exempt = {module_path(name) for names in EXEMPT.values() for name in names}
    found: set[Path] = set()
    waiting = list(ENTRIES[stage])
    while waiting:
        path = waiting.pop()
        if path not in found | exempt:
            found.add(path)
            waiting += _imported(path)
    return sorted(found)


def module_path(name: str) -> Path:
    """Return the file of a module of the package, such as ``data.files``."""
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


@cache
def _imported(path: Path) -> list[Path]:
    """Return the files of the package's own modules that a module imports."""
    tree = ast.parse(path.read_text()) if path.suffix == ".py" else ast.Module([], [])
    bases = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _is_own(node.module):
            base = PACKAGE.joinpath(*(node.module or "").split(".")[1:])
            bases += [base, *(base / alias.name for alias in node.names)]
    # the package's own `__init__` contains its version and its public names, which decide nothing
    files = [file for base in bases if base != PACKAGE for file in (base.with_suffix(".py"), base / "__init__.py")]
    return [file for file in files if file.is_file()]


def _is_own(module: str | None) -> bool:
    return (module or "").partition(".")[0] in ("dreambirds", "job")


@cache
def _digest(path: Path) -> str:
    content = essence(path.read_text()).encode() if path.suffix == ".py" else path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def essence(source: str) -> str:
    """Return what of a module can decide a result: its syntax tree as text, the same in every version of Python.

    Left out are comments, docstrings, annotations, imports of the package's own modules and of names that nothing else
    uses, and the arguments of ``raise``, of `warnings.warn` and of log calls.
    """
    tree = _Essence()
    body = tree.visit(ast.parse(source)).body
    used = {node.id for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    imports = sorted(text for name, text in tree.imports if name in used)
    return "\n".join([*imports, *map(_as_text, body)])


class _Essence(ast.NodeTransformer):
    """Remove from a tree what decides no result; the names that its imports bind are collected, each with its text."""

    def __init__(self) -> None:
        self.imports: set[tuple[str, str]] = set()

    def visit_Import(self, node: ast.Import) -> None:
        self.imports |= {
            (alias.asname or alias.name.partition(".")[0], f"import {alias.name} as {alias.asname}")
            for alias in node.names
        }

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if not _is_own(node.module):
                self.imports.add((alias.asname or alias.name, f"from {node.module} import {alias.name} {alias.asname}"))
            elif alias.asname:  # else the code itself contains the name
                self.imports.add((alias.asname, f"import {alias.name} as {alias.asname}"))

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):  # a field: that it has a type counts, and not which
                statement.annotation = ast.Constant(...)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if isinstance(node.annotation, ast.Constant) and node.annotation.value is ...:
            return self.generic_visit(node)
        return self.generic_visit(ast.Assign([node.target], node.value)) if node.value else None

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            called = function.value.id
            logs = called in ("log", "logging") and function.attr in LOG_CALLS
            if logs or (called == "warnings" and function.attr == "warn"):
                node.args, node.keywords = [], []
        return self.generic_visit(node)


def _as_text(node: object) -> str:
    """Return a part of a syntax tree as text; `ast.dump` writes other text in other versions of Python."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(f'{name}={_as_text(value)}' for name, value in fields)})"
    return f"[{', '.join(map(_as_text, node))}]" if isinstance(node, list) else repr(node)
