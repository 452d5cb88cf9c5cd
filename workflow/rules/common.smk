import sys

from dreambirds.errors import UserError
from dreambirds.io import digest_of, to_parameter
from dreambirds.plan import targets
from dreambirds.plan.excitation import last_table
from dreambirds.plan.measurements import measured
from dreambirds.plan.memory import dream_mb, import_mb, memory_budget, train_mb
from dreambirds.plan.targets import FILMS, LAYOUTS
from dreambirds.runtime.code_version import libraries, stage_code


wildcard_constraints:
    run="|".join(map(re.escape, plan.networks)),
    recipe="|".join(map(re.escape, plan.recipes)),
    label="|".join(plan.names),
    epoch=r"\d\d\d\d+(\.\d*[1-9])?",
    step=r"\d\d\d\d+",
    view="raw|rescaled",
    size=r"\d+(x\d+)?",


def input_function(function, **known):
    """Return an input function that passes wildcards, and exits with one line for a UserError.

    Snakemake would print lines of a traceback around an exception.
    """

    def call(wildcards):
        try:
            return function(**known, **dict(wildcards.items()))
        except UserError as error:
            sys.exit(f"Error: {error}")

    return call


def shared(wildcards):
    """Return the values that the dreams of a montage or a film share, by column."""
    values = dict(wildcards.items())
    find = targets.montage_dreams if "layout" in values else targets.film_dreams
    return find(**values)


def seeds(wildcards):
    """Return the seeds that a montage or film names."""
    return targets.shown_seeds(plan, shared(wildcards))


def labels(wildcards):
    """Return a montage's or film's labels in the report: the values that its dreams share."""
    return {
        column: str(value)
        for column, value in shared(wildcards).items()
        if column != "last"
    }


def examples(file):
    """Return an input function for a file of the data set, if a montage shows photographs."""
    return lambda wildcards: (
        [file] if plan.photographs and LAYOUTS[wildcards.layout].examples else []
    )


def exciting_example(wildcards):
    """Return the table of the photographs that excite targets most, if a montage shows them."""
    if not LAYOUTS[wildcards.layout].examples:
        return []
    return last_table(plan, wildcards.run, wildcards.place.rstrip("/"))


def find_interpolated(over="", layout="", **_):
    """Return what a montage or film over the weights of interpolations needs."""
    column = FILMS[over][0] if over else LAYOUTS[layout].columns
    return targets.shown_interpolations(plan, column)


interpolated = input_function(find_interpolated)


def find_shown(**values):
    """Return the archives of a montage or a film."""
    find_interpolated(
        **values
    )  # raises UserError if the study does not have what it shows
    return targets.shown_archives(plan, shared(values))


# Snakemake does not record a parameter that is a function of `output`, and does not rerun a job if it changes. The class names,
# of which there may be many, are passed that way; where they affect results, their digest is a parameter too.
names = to_parameter(plan.names)
names_digest = digest_of(plan.names)
