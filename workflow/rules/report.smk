from dreambirds.runtime.code_version import ENTRIES
from dreambirds.plan.experiments import experiment_config, experiment_file, experiments


report: "../report/workflow.rst"


wildcard_constraints:
    experiment="|".join(experiments()),


# Each experiment is a separate study, run by a child Snakemake, which knows what exists already.
rule experiment:
    input:
        lambda wildcards: str(experiment_file(wildcards.experiment)),
    output:
        page=f"{results}/findings/{{experiment}}.html",
        table=f"{results}/findings/{{experiment}}.csv",
        config=f"{results}/findings/{{experiment}}.yaml",
    log:
        job=f"results/logs/{plan.study}/findings/{{experiment}}.log",
        snakemake=f"results/logs/{plan.study}/findings/{{experiment}}.snakemake.log",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["prepare"]
    resources:
        mem_mb=lambda wildcards, attempt, threads: 1500 * threads * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        stages=[stage_code(stage) for stage in ENTRIES],
        config=input_function(experiment_config, base=plan.config),
    message:
        "Run experiment {wildcards.experiment}; its progress is in {log.snakemake}"
    script:
        "../scripts/experiment.py"


rule findings:
    input:
        tables=expand(
            f"{results}/findings/{{experiment}}.csv", experiment=experiments()
        ),
    output:
        page=f"{results}/findings/index.html",
        table=f"{results}/findings/findings.csv",
    log:
        f"results/logs/{plan.study}/findings.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        code=stage_code("findings"),
    message:
        "Write the findings: {output.page}"
    script:
        "../scripts/findings.py"
