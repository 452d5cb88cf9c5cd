"""Every text file and pipe has an encoding, because that of the locale may not be UTF-8."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("workflow", "tests/helpers", "benchmarks")
TEXTS = {"read_text": 0, "write_text": 1}  # the position of the argument `encoding`
PIPES = {"run", "Popen", "check_output", "check_call", "call"}
BINARY = {"Image", "tarfile", "ZipFile", "zipfile", "os", "zip"}  # their `open` is binary


def unspecified(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of calls that read or write text in the encoding of the locale."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        owner, name = _names(call.func)
        if "encoding" in given or None in given:
            continue
        is_text = name in TEXTS and len(call.args) <= TEXTS[name]
        is_pipe = name in PIPES and owner == "subprocess" and {"text", "universal_newlines", "errors"} & given.keys()
        if is_text or is_pipe:
            yield call.lineno
        elif name in ("open", "fdopen", "makefile", "NamedTemporaryFile", "TemporaryFile") and owner not in BINARY:
            position = 1 if name in ("open", "fdopen") and owner in ("", "io", "gzip", "bz2", "lzma", "os") else 0
            mode = given.get("mode", call.args[position] if len(call.args) > position else None)
            default = "b" if name.endswith("File") or owner in ("gzip", "bz2", "lzma") else ""
            if "b" not in (ast.unparse(mode) if mode else default):
                yield call.lineno


def _names(function: ast.expr) -> tuple[str, str]:
    """Return the last name of the object whose method is called, or an empty text, and the name of the function."""
    *owners, name = ast.unparse(function).split(".")
    return (owners[-1] if owners else ""), name


def test_every_text_has_an_encoding():
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): list(unspecified(ast.parse(path.read_bytes()))) for path in paths}
    assert len(paths) > 200 and {path: lines for path, lines in found.items() if lines} == {}


def test_texts_without_an_encoding_are_found():
    wrong = ["open(path)", "path.open()", "path.open('w')", "path.read_text()", "path.write_text(text)", "open(p, 'a')"]
    wrong += ["subprocess.run(command, text=True)", "connection.makefile()", "tempfile.NamedTemporaryFile('w')"]
    right = [
        "open(path, 'rb')",
        "path.open('wb')",
        "path.read_text('utf-8')",
        "path.write_text(text, encoding='utf-8')",
    ]
    right += ["Image.open(path)", "subprocess.run(command)", "connection.makefile('rb')", "tempfile.TemporaryFile()"]
    assert [len(list(unspecified(ast.parse(line)))) for line in wrong] == [1] * len(wrong)
    assert [len(list(unspecified(ast.parse(line)))) for line in right] == [0] * len(right)
