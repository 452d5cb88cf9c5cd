"""Repeat the errors of failed jobs at the end of a run, where Snakemake prints only that a job has failed."""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

JOB = re.compile(r"^Error in rule (?P<rule>\S+):\n(?:    .*\n)*?    log: (?P<file>.+?) \(check log file", re.MULTILINE)
ERROR = re.compile(r"^\S+ \S+ Error: (?P<message>.+)$", re.MULTILINE)


def report_failed(logs: Iterable[str]) -> None:
    """Print the last error of each failed job to standard error, each message once.

    `logs` are the paths of Snakemake's logs of the run.
    """
    messages = {f"Error in {rule}: {message}" for rule, message in _failures(logs)}
    if messages:
        print("", *sorted(messages), sep="\n", file=sys.stderr)


def _failures(logs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the rule and the message of each failed job that logged one."""
    for job in [job for log in logs for job in JOB.finditer(_text(log))]:
        if found := ERROR.findall(_text(job["file"])):
            yield job["rule"], found[-1]


def _text(file: str) -> str:
    with suppress(OSError):
        return Path(file).read_text(encoding="utf-8", errors="replace")
    return ""
