from snakemake.exceptions import WorkflowError

from dreambirds.errors import UserError
from dreambirds.io import digest_of, to_parameter
from dreambirds.plan import targets
from dreambirds.plan.memory import dream_mb, memory_budget, train_mb
from dreambirds.plan.targets import FILMS, LAYOUTS
from dreambirds.runtime.code_version import libraries, stage_code


wildcard_constraints:
    run="|".join(plan.trained),
    recipe="|".join(map(re.escape, plan.recipes)),
    label="|".join(plan.names),
    epoch=r"\d\d\d\d+(\.\d*[1-9])?",
    step=r"\d\d\d\d+",
    view="raw|rescaled",
    size=r"\d+(x\d+)?",


def input_function(function, **known):
    """Return an input function that calls this one with the wildcards; of a UserError it raises only the sentence."""

    def call(wildcards):
        try:
            return function(**known, **dict(wildcards.items()))
        except UserError as error:
            raise WorkflowError(str(error)) from None

    return call


def shared(wildcards):
    """Return what the dreams of a montage or a film have in common, by column."""
    named = dict(wildcards.items())
    find = targets.montage_dreams if "layout" in named else targets.film_dreams
    return find(**named)


def labels(wildcards):
    """Return what a report says of a montage or a film: what its dreams share, as paths have it."""
    return {
        column: str(value)
        for column, value in shared(wildcards).items()
        if column != "last"
    }


def examples(file):
    """Return the function that asks for a file of the data set where a montage shows real pictures too."""
    return lambda wildcards: [file] if LAYOUTS[wildcards.layout].examples else []


# A parameter that is a function of `output` is not recorded, and its change does not run a job again. The names of classes,
# which may be many, are given that way; where they matter, their digest is a parameter too.
names = to_parameter(plan.names)
names_digest = digest_of(plan.names)
