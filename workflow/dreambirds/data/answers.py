"""Answers of people to a quiz: tables with one row per answer, which the page of `dreambirds quiz` saves.

Imports no pandas, because the plan of a study also checks them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dreambirds.data.labels import Label, names_by_label
from dreambirds.data.names import folded, normalized, words
from dreambirds.data.tables import numbered_rows
from dreambirds.errors import UserError, did_you_mean

COLUMNS = ["picture_sha256", "person", "answer", "kind", "seconds", "shown", "quiz"]
REQUIRED = COLUMNS[:4]
CHOICE, FREE, NONE = KINDS = ("choice", "free", "none")
CANNOT_TELL = "(cannot tell)"
END = "save the answers again on the page of the quiz"
SHA256 = re.compile(r"[0-9a-f]{64}")
ARTICLES = {"a", "an", "the"}


class Answer(NamedTuple):
    """One person's answer to one image: the label of a chosen class, free text, or nothing, which `kind` says."""

    picture_sha256: str
    person: str
    answer: str
    kind: str


def read_answers(paths: Iterable[Path]) -> list[Answer]:
    """Return the last answer of each person to each image.

    The files are read in their order, and each may consist of several ones, each with its header. Raises UserError,
    with the line number, unless each is a CSV file in UTF-8 with the columns `REQUIRED` and at least one answer.
    """
    found: dict[tuple[str, str], Answer] = {}
    for path in paths:
        for line, row in numbered_rows(path, REQUIRED, END):
            answer = Answer(*(row[column].strip() for column in REQUIRED))
            if answer == tuple(REQUIRED):  # the header of the next file
                continue
            if answer.kind not in KINDS:
                hint = did_you_mean(answer.kind, KINDS)
                raise UserError(f"'{path}', line {line}: unknown kind '{answer.kind}'; {hint}")
            if not SHA256.fullmatch(answer.picture_sha256):
                problem = f"invalid picture_sha256 '{answer.picture_sha256}'"
                raise UserError(f"'{path}', line {line}: {problem}; {END}")
            found[answer.person, answer.picture_sha256] = answer
    return list(found.values())


def count_votes(answers: Iterable[Answer], labels: Sequence[Label], names: dict[str, str]) -> dict[str, Counter[str]]:
    """Return how many people gave each answer to each image, by the image's sha256.

    An answer is the label of a class, the text that names no class, or `CANNOT_TELL`. `names` are those of
    `match_answer`.
    """
    votes: dict[str, Counter[str]] = {}
    answers, names = list(answers), names_by_label(labels, names)
    known = {text: match_answer(text, labels, names) or text for text in {each.answer for each in answers}}
    for each in answers:
        answer = known[each.answer] if each.kind != NONE else ""
        votes.setdefault(each.picture_sha256, Counter())[answer or CANNOT_TELL] += 1
    return votes


def match_answer(text: str, labels: Sequence[Label], names: dict[str, str]) -> str | None:
    """Return the label of the class that a text names, None if it names none or several.

    It names a class by its label, its display name, or its further name in `names`, as `normalized` compares them
    unless one is the same without case. Otherwise it must consist of words that only one class has in one of its names:
    ``a goldfinch`` is the American Goldfinch, and ``jay`` is ambiguous if there are several jays.
    """
    forms = {each.label: [each.label, each.name, *filter(None, [names.get(each.label)])] for each in labels}
    given = _words(text)
    rules: list[Callable[[str], bool]] = [
        lambda form: form == text,  # a choice is a label
        lambda form: folded(form.strip()) == folded(text.strip()),
        lambda form: normalized(form) == normalized(text) != "",
        lambda form: bool(given) and given <= _words(form),
    ]
    for rule in rules:
        found = [label for label, own in forms.items() if any(map(rule, own))]
        if len(found) == 1:
            return found[0]
    return None


def _words(text: str) -> set[str]:
    return words(text) - ARTICLES
