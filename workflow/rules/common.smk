from snakemake.exceptions import WorkflowError

from dreambirds.runtime.code_version import libraries, stage_code
from dreambirds.errors import UserError
from dreambirds.plan.memory import dream_mb, train_mb


wildcard_constraints:
    run="|".join(plan.trained),
    recipe="|".join(map(re.escape, plan.recipes)),
    label="|".join(plan.names),
    epoch=r"\d\d\d\d+(\.\d*[1-9])?",
    step=r"\d\d\d\d+",
    view="raw|rescaled",
    size=r"\d+(x\d+)?",


def plainly(function, **known):
    """Return an input function that calls this one with the wildcards, and whose UserError is one plain sentence."""

    def ask(wildcards):
        try:
            return function(**known, **dict(wildcards.items()))
        except UserError as error:
            raise WorkflowError(str(error)) from None

    return ask


def dream_memory(recipe=None):
    """Return the function that estimates the memory of the dream jobs of a recipe; without one, the wildcards tell."""
    return (
        lambda wildcards, attempt: dream_mb(
            plan, wildcards.run, recipe or wildcards.recipe
        )
        * attempt
    )
