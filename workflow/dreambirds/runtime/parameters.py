"""Parameters of rules with a special meaning for Snakemake."""

from typing import Any


class UncachedParameter(str):
    """A parameter that Snakemake's cache between workflows ignores.

    The cache hashes a parameter's JSON value, here an empty string, also for all jobs before a cached one. Snakemake's
    record, which decides whether a job runs again, contains the `repr` of a parameter, here of `recorded`. The script
    gets its pickle, here the plain string `text`, so that it need not import this class.
    """

    text: str
    recorded: str

    def __new__(cls, text: str, recorded: str) -> "UncachedParameter":
        parameter = super().__new__(cls)
        parameter.text, parameter.recorded = text, recorded
        return parameter

    def __repr__(self) -> str:
        return repr(self.recorded)

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self.text,)
