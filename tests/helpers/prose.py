"""Find words and phrases that plain English avoids, in the prose, messages and comments of the project."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Each pattern with what to write instead. Short on purpose: only what came up again and again.
AVOIDED = {
    r"anew": "again",
    r"beside": "next to, in addition to",
    r"likewise": "also",
    r"alike": "the same, similar",
    r"mend(s|ed|ing)?": "fix, repair",
    r"told": "given, reported, identified",
    r"wanted|asked for": "requested",
    r"of (its|their|his|your|our) own": "its own, separate",
    r"(leaves?|left) the numbers|numbers that are none": "becomes NaN or infinite",
    r"(?<!there )(is|are) no(?! longer| more than| less than| larger than)": "is not a, does not have",
    r"ha(s|ve|d) not (an?|the|any)": "does not have",
    r"(a|one) (row|line|file|folder|column|page|job|image|step|dream|class|epoch) an? (?!time)\w+": "one … per …",
    r"climb(s|ed|ing)?": "maximize",
    r"harden(s|ed|ing)?|made harder": "adversarial training",
    r"mirror(ed|ing)": "flipped, reflected",
    r"pictures?(?![:/.=\"])": "image, dream",
    r"otherwise called|call (it|them|the \w+) otherwise": "choose another name",
    r"(is|are|was|were) not (there|here)": "does not exist, is missing",
    r"(no|not|is|are) whole|whole numbers?": "complete, integer",
    r"spoilt": "corrupt",
    r"dealt out": "shuffled",
    r"processors?": "CPU",
    r"(?<!ASCII )letters(?! and digits)": "characters",
    r"is silent|falls silent": "sends no data",
    r"as (it was|they were)": "unchanged",
    r"nothing is to be done|is to be": "must be, has to be",
}
PATTERN = re.compile("|".join(rf"\b(?P<p{i}>{pattern})(?!\w)" for i, pattern in enumerate(AVOIDED)), re.IGNORECASE)
INSTEAD = list(AVOIDED.values())


class Hit(NamedTuple):
    """One avoided phrase: its file and line, the phrase, and what to write instead."""

    path: Path
    line: int
    phrase: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.phrase}'; write {self.instead}"


def find_hits(path: Path) -> list[Hit]:
    """Return the avoided phrases of a file."""
    return [hit for line, text in passages(path) for hit in _hits(path, line, text)]


def passages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the passages of a file that people read, each with the number of its first line.

    These are, in Python and in rules, comments and strings of several words, in Markdown the text outside of code
    blocks, and in other files the whole text. Code in backticks is left blank.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        found = [*_strings(text), *_tokens(text, tokenize.COMMENT)]
    elif path.suffix == ".smk" or path.name == "Snakefile":  # not valid Python
        found = [each for each in _tokens(text, tokenize.COMMENT, tokenize.STRING) if " " in each[1]]
    elif path.suffix == ".md":
        found = [(1, re.sub(r"^```.*?^```", _blank, text, flags=re.MULTILINE | re.DOTALL))]
    else:
        found = [(1, text)]
    for line, passage in found:
        yield line, re.sub(r"(`+).*?\1", _blank, passage, flags=re.DOTALL)


def _strings(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def _tokens(text: str, *types: int) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in types:
            yield token.start[0], token.string


def _blank(match: re.Match) -> str:
    """Return a text of as many lines as a match."""
    return "`" + "\n" * match[0].count("\n") + "`"


def _hits(path: Path, first: int, text: str) -> Iterator[Hit]:
    for match in PATTERN.finditer(re.sub(r"\s", " ", text)):
        line = first + text.count("\n", 0, match.start())
        yield Hit(path, line, match[0], INSTEAD[int(match.lastgroup[1:])])
