"""The digest of code covers everything that affects results, and no prose."""

import ast
import re
import textwrap
from pathlib import Path

import grimp
import pytest

from dreambirds.runtime import code_version
from dreambirds.runtime.code_version import (
    ENTRIES,
    EXEMPT,
    PACKAGE,
    SCRIPTS,
    code_digest,
    module_path,
    stage_modules,
)
from dreambirds.runtime.essence import essence

MODULE = textwrap.dedent(
    '''\
    """Blur."""

    import warnings
    from collections.abc import Sequence

    import torch
    from torch import nn

    from dreambirds.errors import UserError

    WIDTH = 3


    class Blur(nn.Module):
        """A blur."""

        width: int = WIDTH

        def forward(self, images: torch.Tensor, widths: Sequence[float] = (0.5,)) -> torch.Tensor:
            """Return the images, blurred."""
            if not widths:
                what = f"widths: {widths} is empty"
                raise UserError(_message(what), "blur") from None
            if max(widths) > self.width:
                warnings.warn("a wide blur", stacklevel=2)
            log.info("blur of %s", widths)
            return images * 2 + nn.functional.relu(images)  # brighter


    def _message(what: str) -> str:
        return f"{what}; {REMEDY}"


    REMEDY = "give one"
    '''
)
SAME = {
    "a comment": ("# brighter", "# lighter"),
    "no comment": ("  # brighter", ""),
    "a blank line": ("WIDTH = 3\n", "WIDTH = 3\n\n\n"),
    "a line break": ("images * 2 + nn", "(\n                images * 2\n            ) + nn"),
    "the module's docstring": ('"""Blur."""', '"""A blur of images."""'),
    "no module's docstring": ('"""Blur."""\n', ""),
    "a function's docstring": ('"""Return the images, blurred."""', '"""Return blurred images."""'),
    "a class's docstring": ('    """A blur."""\n', ""),
    "an error's message": ("is empty", "contains no number"),
    "a part of an error's message": ('return f"{what}; {REMEDY}"', 'return f"{what}: {REMEDY}!"'),
    "an error's key": (', "blur")', ")"),
    "a warning": ('"a wide blur", stacklevel=2', '"this blur is wide", stacklevel=3'),
    "an unused string": ("            what = f", "            unused = 'text'\n            what = f"),
    "a log line": ('"blur of %s", widths', '"%d widths", len(widths)'),
    "a type": ("widths: Sequence[float]", "widths: list[float]"),
    "no type": ("images: torch.Tensor", "images"),
    "a type that must be imported": (
        "from collections.abc import Sequence",
        "from collections.abc import Sequence, Sized",
    ),
    "a type that is no longer imported": ("from collections.abc import Sequence\n", ""),
    "a returned type": (" -> torch.Tensor:", " -> 'torch.Tensor':"),
    "a constant's type": ("WIDTH = 3", "WIDTH: int = 3"),
    "a variable's type": ("        if not widths:", "        widths: list[float]\n        if not widths:"),
    "a field's type": ("width: int", "width: float"),
    "a module of the package moved": ("from dreambirds.errors import", "from dreambirds.runtime.errors import"),
    "the order of imports": ("import torch\nfrom torch import nn", "from torch import nn\nimport torch"),
}
OTHER = {
    "a constant": ("WIDTH = 3", "WIDTH = 4"),
    "a constant's type": ("WIDTH = 3", "WIDTH = 3.0"),
    "a default": ("(0.5,)", "(0.25,)"),
    "an operator": ("images * 2 +", "images * 2 -"),
    "a branch": (
        "        return images",
        "        if len(widths) == 1:\n            return images\n        return images",
    ),
    "a condition": ("if not widths:", "if widths:"),
    "a name": ("nn.functional.relu", "nn.functional.gelu"),
    "a library's function of another module": ("from torch import nn", "from torch.ao import nn"),
    "an import by another name": ("from torch import nn", "from torch import ao as nn"),
    "an own function by another name": ("import UserError", "import Mishap as UserError"),
    "another error": ("raise UserError(", "raise ValueError("),
    "an argument's name": ("widths", "sizes"),
    "a field": ("    width: int = WIDTH\n", "    width: int = WIDTH\n    height: int = WIDTH\n"),
    "a class attribute instead of a field": ("    width: int = WIDTH", "    width = WIDTH"),
    "a string": ("WIDTH = 3", "WIDTH = '3'"),
    "an error that a table lists": (
        'raise UserError(_message(what), "blur")',
        "raise UnreadableError(_message(what))",
    ),
    "a string that another module may import": ("give one", "set one"),
    "a string of a class": ("    width: int = WIDTH", "    width: int = WIDTH\n    kind = 'wide'"),
    "a private method": ("    def forward", "    def _hook(self): return 1\n\n    def forward"),
    "a public function that nothing here uses": ("def _message", "def message"),
    "a base class": ("class Blur(nn.Module):", "class Blur(nn.Identity):"),
    "a decorator": ("    def forward", "    @torch.no_grad()\n    def forward"),
    "one more line": ("            warnings.warn", "            print()\n            warnings.warn"),
}


def edited(text: str, new: str) -> str:
    """Return the module with every occurrence of a text replaced."""
    assert text in MODULE
    return MODULE.replace(text, new)


@pytest.mark.parametrize("edit", SAME.values(), ids=SAME)
def test_prose_comments_and_types_do_not_change_the_digest(edit):
    assert edited(*edit) != MODULE and essence(edited(*edit)) == essence(MODULE)


@pytest.mark.parametrize("edit", OTHER.values(), ids=OTHER)
def test_everything_else_changes_the_digest(edit):
    assert essence(edited(*edit)) != essence(MODULE)


def test_the_digest_is_of_contents_independent_of_paths_and_order(tmp_path):
    paths = [tmp_path / name for name in ("a.py", "b.py", "page.css", "__init__.py")]
    for path, text in zip(paths, ("a = 1", "b = 2", "body {}", '"""Only a docstring."""'), strict=True):
        path.write_text(text)
    digest = code_digest(paths)
    moved = tmp_path / "room" / "z.py"
    moved.parent.mkdir()
    paths[0].rename(moved)
    assert code_digest([*paths[1:3], moved]) == digest, "and a module with only a docstring does not count"
    assert len({digest, code_digest(paths[1:]), code_digest([moved, *paths[1:2]])}) == 3
    other = paths[2].with_name("other.css")
    other.write_text("body { }")
    assert code_digest([moved, paths[1], other]) != digest, "each byte of other files counts"


@pytest.mark.parametrize("stage", ENTRIES)
def test_everything_that_a_stage_imports_is_in_its_digest_or_exempt(stage):
    graph = grimp.build_graph("dreambirds", include_external_packages=False, cache_dir=None)
    exempt = {"dreambirds", *(f"dreambirds.{name}" for names in EXEMPT.values() for name in names)}
    hashed = {_name(path) for path in stage_modules(stage) if path.suffix == ".py" and path.parent != SCRIPTS}
    scripts = [path.read_text() for path in ENTRIES[stage] if path.parent == SCRIPTS]
    waiting = {name for name in graph.modules for text in scripts if f"from {name} import" in text}
    waiting |= {_name(path) for path in ENTRIES[stage] if path.suffix == ".py" and path.parent != SCRIPTS}
    imported = set()
    while waiting:
        name = waiting.pop()
        imported.add(name)
        if name not in exempt:
            waiting |= graph.find_modules_directly_imported_by(name) - imported
    assert imported - hashed - exempt == set()
    assert hashed - imported <= {_name(path) for path in PACKAGE.rglob("__init__.py")}, (
        "only packages of imported modules"
    )


def test_each_exempt_module_exists_and_is_listed_once():
    names = [name for names in EXEMPT.values() for name in names]
    assert len(names) == len(set(names)) and [name for name in names if not module_path(name).is_file()] == []


def test_no_module_uses_a_private_function_of_another():
    """`essence` excludes private functions that their module does not use."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dreambirds"):
                found += [f"{path.name}: {alias.name}" for alias in node.names if re.match("_[^_]", alias.name)]
    assert found == []


MISSED = re.compile(
    r"\b(ClassVar|InitVar|KW_ONLY|singledispatch|globals\(|locals\(|getattr\(\w+, \"_)"
    r"|import \*|from \.|import \w+ as log\b"
)


def test_the_package_has_nothing_that_the_digest_would_miss():
    """It has no annotations with an effect, names in strings, or other `log` objects."""
    paths = {*PACKAGE.rglob("*.py"), *SCRIPTS.glob("*.py")} - {PACKAGE / "__init__.py"}
    assert [f"{path.name}: {match[0]}" for path in paths for match in MISSED.finditer(path.read_text())] == []


def test_importing_a_name_from_another_module_changes_the_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(code_version, "PACKAGE", tmp_path)
    for name, text in {"one": "def f(): return 1", "two": "def f(): return 2"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    digests = []
    for name in ("one", "two"):
        (tmp_path / f"user_of_{name}.py").write_text(f"from dreambirds.{name} import f\nf()")
        digests.append(code_digest([tmp_path / f"{each}.py" for each in ("one", "two", f"user_of_{name}")]))
    assert digests[0] != digests[1]


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
