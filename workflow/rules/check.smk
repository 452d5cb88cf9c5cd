from dreambirds.plan.measurements import planned_check
from dreambirds.plan.paths import CHECKED
from dreambirds.runtime.parameters import UncachedParameter


# What only a model can tell of a config. Jobs that use a model need `measured` as an ancient input, so they wait for a check, but its
# new result runs none of them again. For that, the file must also exist while the check runs and if it fails (`update`). The target
# rules need `done`, whose name changes with what is checked, so a check that was not successful is repeated. A changed parameter would
# not do: Snakemake records the parameters of a failed job too, and it does not look for missing files behind a job that runs if all
# files between them are ancient.
rule check:
    output:
        measured=update(f"{results}/{CHECKED}"),
        done=f"{results}/.checked/{planned_check(plan)}",
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
        # not in the key of Snakemake's cache, so studies with other recipes share the networks that they train
        config=lambda wildcards: UncachedParameter(to_parameter(plan.resolved)),
        libraries=lambda wildcards, output: libraries("check"),
    message:
        "Check the models, weights and recipes of the study"
    script:
        "../scripts/check.py"
