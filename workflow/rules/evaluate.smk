from dreambirds.config.judges import judge_kind
from dreambirds.plan import inputs
from dreambirds.plan.paths import index_name


wildcard_constraints:
    judge="|".join(plan.judges) or "no judge",


study_facts = dict(
    recipes=plan.recipes,
    names=plan.names,
    models={run: keys["model"] for run, keys in plan.config["runs"].items()},
    judged_runs={judge: inputs.judged_runs(plan, judge) for judge in plan.judges},
)
job_tables = {index_name(part): list(labels) for part, labels in plan.parts.items()}


rule judge:
    input:
        weights=input_function(inputs.weights, plan=plan),
        names=input_function(inputs.names, plan=plan),
        dreams=input_function(inputs.indexes, plan=plan),
        pictures=ancient(rules.dataset.output.pictures),
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
        checked=ancient(rules.check.output.measured),
    output:
        judged=f"{results}/judged/{{judge}}.csv",
        check=f"{results}/judged/{{judge}}.sanity.csv",
    log:
        f"results/logs/{plan.study}/judge/{{judge}}.log",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["dream"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=stage_code("judging"),
        libraries=lambda wildcards, output: libraries("judging"),
        kind=lambda wildcards: judge_kind(plan.judges[wildcards.judge]),
        judge=lambda wildcards: inputs.section(plan, wildcards.judge),
        labels=to_parameter([[label.label, label.name] for label in plan.labels]),
        epochs=lambda wildcards: {
            name: plan.dreaming_epochs[name]
            for name in inputs.judged_runs(plan, wildcards.judge)
        },
        steps=plan.steps,
        dreamt=list(plan.names),
        parts=job_tables,
        families={
            name: inputs.family_of(recipe) for name, recipe in plan.recipes.items()
        },
    message:
        "Judge the dreams with judge {wildcards.judge}"
    script:
        "../scripts/judge.py"


rule measurements:
    input:
        **inputs.judged(plan),
        dreams=plan.indexes(),
        checkpoints=plan.checkpoints(),
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        dreams=f"{results}/dreams.csv",
        judgements=f"{results}/judgements.csv",
        runs=f"{results}/runs.csv",
        judges=f"{results}/judges.csv",
    log:
        f"results/logs/{plan.study}/measurements.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("measurements"),
        study=to_parameter(study_facts),
        epochs=plan.dreaming_epochs,
        steps=plan.steps,
        parts=job_tables,
    message:
        "Write the tables of results"
    script:
        "../scripts/measurements.py"
