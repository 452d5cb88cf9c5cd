from dreambirds.study.code import libraries, stage_code


wildcard_constraints:
    run="|".join(plan.config["runs"]),
    recipe="|".join(map(re.escape, plan.recipes)),
    label="|".join(plan.names),
    epoch=r"\d\d\d\d+(\.\d*[1-9])?",
    step=r"\d\d\d\d+",
    view="raw|rescaled",
    size=r"\d+(x\d+)?",


def plainly(function, **known):
    """Return an input function that calls this one with the wildcards, and whose StudyError is one plain sentence."""

    def ask(wildcards):
        try:
            return function(**known, **dict(wildcards.items()))
        except StudyError as error:
            raise WorkflowError(str(error)) from None

    return ask
