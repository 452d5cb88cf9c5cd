"""Prose, messages and comments are plain English, as CONTRIBUTING.md describes it."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.prose import AVOIDED, find_hits, passages

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".smk", ".rst", ".j2", ".js", ".css", ".toml", ".cff", ""}
EXEMPT = {"tests/helpers/prose.py", "tests/unit/test_prose.py", "CHANGELOG.md"}  # these name the words themselves


def test_no_file_contains_an_avoided_phrase():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.splitlines() if Path(name).suffix in SUFFIXES and name not in EXEMPT]
    assert len(files) > 200
    hits = [str(hit) for name in files for hit in find_hits(ROOT / name)]
    assert not hits, "\n".join(hits)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ('"""A row a picture."""', "A row a picture"),
        ('print("it is no\\nYAML")', "is no"),
        ("x = 1  # made anew", "anew"),
        ('raise ValueError(f"{1} is what it was told")', "told"),
        ('"""The loss leaves the\nnumbers."""', "leaves the numbers"),
        ('"""Use ASCII letters."""', None),
        ('"""There is no file."""', None),
        ('"""Call `beside` again."""', None),
        ('x = {"told": beside}', None),
    ],
)
def test_phrases_of_python_are_found_in_strings_and_comments(tmp_path, text, phrase):
    file = tmp_path / "module.py"
    file.write_text(text)
    assert [hit.phrase for hit in find_hits(file)] == ([phrase] if phrase else [])


def test_markdown_is_searched_outside_of_code_and_lines_are_counted(tmp_path):
    file = tmp_path / "page.md"
    file.write_text("# Page\n\n```sh\nbeside\n```\n\nA `beside` and\nthis one\nis beside it.\n")
    assert [(hit.line, hit.instead) for hit in find_hits(file)] == [(9, AVOIDED["beside"])]
    assert len(list(passages(file))) == 1
