"""What `make` hands on: the study's name as YAML has it, and a user's words as they are."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("dreambirds")
TELLING = f"""#!/bin/sh
if [ "$1" = compare ]; then shift 2; printf '<%s>' "$@"; else exec '{COMMAND}' "$@"; fi
"""


@pytest.fixture
def make(tmp_path):
    """Return the function that calls `make` in a folder of its own, where comparing only tells its arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dreambirds").write_text(TELLING)
    (tmp_path / "bin" / "dreambirds").chmod(0o755)

    def call(*words: str) -> subprocess.CompletedProcess:
        command = ["make", "--silent", "--file", ROOT / "Makefile", "--old-file", ".venv/installed", "BIN=bin", *words]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)

    return call


@pytest.mark.parametrize("name", ["my.yaml", "my own.yaml", "it's; touch owned.yaml", '"`touch owned`.yaml'])
@pytest.mark.parametrize(
    ("text", "study"),
    [
        ("study: tiny", "tiny"),
        ("study : 'tiny'  # not large", "tiny"),
        ('"study": "tiny"', "tiny"),
        ("{study: tiny, gpu: 0}", "tiny"),
        ("gpu: 0\nruns: {study: {}}\n", "default"),
    ],
)
def test_the_study_is_the_one_that_yaml_reads(make, tmp_path, name, text, study):
    (tmp_path / name).write_text(text)
    told = make("compare", f"CONFIG={name}")
    assert told.stdout == f"<results/{study}>" and told.stderr == ""
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "word", ["results/other", "two words", "it's", '"; touch owned', "; touch owned", "`touch owned`"]
)
def test_the_other_study_is_one_word_whatever_it_holds(make, tmp_path, word):
    (tmp_path / "my.yaml").write_text("study: tiny")
    told = make("compare", "CONFIG=my.yaml", f"WITH={word}")
    assert told.stdout == f"<results/tiny><{word}>" and not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("study: 3", "study: must be a string, not 3"),
        ("study: $(touch owned)", "study: the name '$(touch owned)' is not allowed; use 1 to 64 ASCII letters"),
        ("study: ../..", "study: the name '../..' is not allowed; use 1 to 64"),
    ],
)
def test_what_is_no_name_ends_in_one_sentence_and_compares_nothing(make, tmp_path, text, sentence):
    (tmp_path / "my.yaml").write_text(text)
    told = make("compare", "CONFIG=my.yaml")
    said = [line for line in told.stderr.splitlines() if not line.startswith("make")]
    assert told.returncode != 0 and told.stdout == "" and len(said) == 1 and said[0].startswith(f"Error: {sentence}")
    assert not (tmp_path / "owned").exists()
