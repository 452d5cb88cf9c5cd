"""Parameters of rules with a special meaning for Snakemake."""

from typing import Any


class UncachedParameter(str):
    """A text for a script that is neither a part of Snakemake's records nor of its cache between workflows.

    The cache hashes a parameter's JSON value, also that of the jobs before a cached one, and the record contains its
    `repr`. Both are those of an empty string. The script gets its pickle, which is the plain string `text`, so that it
    need not import this class.
    """

    text: str

    def __new__(cls, text: str) -> "UncachedParameter":
        parameter = super().__new__(cls)
        parameter.text = text
        return parameter

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self.text,)
