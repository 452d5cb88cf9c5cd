"""`make` passes on the study's name from the YAML file, and arguments unchanged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("dreambirds")
PRINTING = f"""#!/bin/sh
if [ "$1" = compare ]; then shift 2; printf '<%s>' "$@"; else exec '{COMMAND}' "$@"; fi
"""


@pytest.fixture
def make(tmp_path):
    """Return a function that calls `make`; there, `compare` only prints its arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dreambirds").write_text(PRINTING)
    (tmp_path / "bin" / "dreambirds").chmod(0o755)

    def call(*arguments: str) -> subprocess.CompletedProcess:
        command = [
            "make",
            "--silent",
            "--file",
            ROOT / "Makefile",
            "--old-file",
            ".venv/installed",
            "BIN=bin",
            *arguments,
        ]
        env = {name: value for name, value in os.environ.items() if name != "CONFIG"}  # of `make test`
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, env=env)

    return call


@pytest.mark.parametrize(
    ("name", "text", "study"),
    [
        ("my.yaml", "study: tiny", "tiny"),
        ("my own.yaml", "study : 'tiny'  # not large", "tiny"),
        ("it's; touch owned.yaml", '"study": "tiny"', "tiny"),
        ('"`touch owned`.yaml', "{study: tiny, gpu: 0}", "tiny"),
        ("my.yaml", "gpu: 0\nruns: {study: {}}\n", "default"),
    ],
)
def test_the_name_of_the_study_is_parsed_as_yaml(make, tmp_path, name, text, study):
    (tmp_path / name).write_text(text)
    result = make("compare", f"CONFIG={name}")
    assert result.stdout == f"<results/{study}>" and result.stderr == ""
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "argument", ["results/other", "two words", "it's", '"; touch owned', "; touch owned", "`touch owned`"]
)
def test_the_other_study_is_one_argument_whatever_it_contains(make, tmp_path, argument):
    (tmp_path / "my.yaml").write_text("study: tiny")
    result = make("compare", "CONFIG=my.yaml", f"WITH={argument}")
    assert result.stdout == f"<results/tiny><{argument}>" and not (tmp_path / "owned").exists()


@pytest.mark.parametrize(("arguments", "config"), [((), "config/findings.yaml"), (("CONFIG=my.yaml",), "my.yaml")])
def test_findings_are_those_of_the_findings_study_by_default(make, tmp_path, arguments, config):
    (tmp_path / "config").mkdir()
    for name in ("my.yaml", "config/findings.yaml", "config/config.yaml"):
        (tmp_path / name).write_text("study: tiny")
    (tmp_path / "bin" / "snakemake").write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\n")
    (tmp_path / "bin" / "snakemake").chmod(0o755)
    assert f"<findings><--configfile><{config}>" in make("findings", *arguments).stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: 3", "study: must be a string, not 3"),
        ("study: $(touch owned)", "study: the name '$(touch owned)' is not allowed; use 1 to 64 ASCII letters"),
        ("study: ../..", "study: the name '../..' is not allowed; use 1 to 64"),
    ],
)
def test_an_invalid_name_gives_a_one_line_error_and_compares_nothing(make, tmp_path, text, message):
    (tmp_path / "my.yaml").write_text(text)
    result = make("compare", "CONFIG=my.yaml")
    errors = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert result.returncode != 0 and result.stdout == ""
    assert len(errors) == 1 and errors[0].startswith(f"Error: {message}")
    assert not (tmp_path / "owned").exists()
