from dreambirds.plan.measurements import planned_check
from dreambirds.runtime.parameters import UncachedParameter

# The jobs that use a model need this file as an ancient input: it says that the study's models fit, but its time says nothing.
checked = f"{results}/checked.json"


# Whatever of a config only a model can tell. The file stays where it is while the job runs or fails (`update`): if it were missing,
# all jobs that need it would run again. The parameter is not part of the key in Snakemake's cache between workflows, so that
# studies with other recipes share the networks that they train.
rule check:
    output:
        update(checked),
    log:
        f"results/logs/{plan.study}/check.log",
    priority: 20
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    params:
        planned=lambda wildcards: UncachedParameter(
            planned_check(plan), recorded=planned_check(plan)
        ),
        config=lambda wildcards: UncachedParameter(
            to_parameter(plan.config), recorded=""
        ),
        libraries=lambda wildcards, output: libraries("check"),
    message:
        "Check the models, weights and recipes of the study"
    script:
        "../scripts/check.py"
