from dreambirds.config.judges import judge_kind
from dreambirds.plan import inputs


wildcard_constraints:
    judge="|".join(plan.judges) or "no judge",


study_facts = dict(
    recipes=plan.recipes,
    names=plan.names,
    models={run: keys["model"] for run, keys in plan.config["runs"].items()},
    judged_runs={judge: inputs.judged_runs(plan, judge) for judge in plan.judges},
)
several_seeds = inputs.recipes_with_siblings(plan)
judged = f"{results}/judged/{{judge}}"


# The photographs are evaluated once for each judge.
rule judge_reference:
    input:
        weights=input_function(inputs.weights, plan=plan),
        described=input_function(inputs.described, plan=plan),
        pictures=ancient(rules.dataset.output.pictures),
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
        checked=ancient(rules.check.output.measured),
    output:
        real=f"{judged}/reference.safetensors",
        sanity=f"{judged}/sanity.csv",
    log:
        f"results/logs/{plan.study}/judge/{{judge}}.log",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["dream"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("judging"),
        kind=lambda wildcards: judge_kind(plan.judges[wildcards.judge]),
        judge=lambda wildcards: inputs.section(plan, wildcards.judge),
        labels=to_parameter([[label.label, label.name] for label in plan.labels]),
    message:
        "Evaluate photographs with judge {wildcards.judge}"
    script:
        "../scripts/judge_reference.py"


# One job evaluates the dreams of one archive.
rule judge:
    input:
        weights=input_function(inputs.weights, plan=plan),
        described=input_function(inputs.described, plan=plan),
        dreams=input_function(inputs.judged_archive, plan=plan),
        real=rules.judge_reference.output.real,
    output:
        judged=f"{judged}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.csv",
        features=f"{judged}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.safetensors",
    log:
        f"results/logs/{plan.study}/judge/{{judge}}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.log",
    wildcard_constraints:
        part=f"({'|'.join(plan.parts)})",
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
        judge=lambda wildcards: inputs.section(plan, wildcards.judge),
        labels=to_parameter([[label.label, label.name] for label in plan.labels]),
        compared=lambda wildcards: wildcards.recipe in several_seeds,
    message:
        "Judge recipe {wildcards.recipe} at epoch {wildcards.epoch} of run {wildcards.run} with judge {wildcards.judge}"
    script:
        "../scripts/judge.py"


# The spectra of the photographs are computed once; one job compares the images of one archive with them.
rule spectra:
    input:
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        spectra=f"{results}/dataset/spectra.safetensors",
    log:
        f"results/logs/{plan.study}/spectra.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=stage_code("pixels"),
    message:
        "Compute the spectrum of each class's training images"
    script:
        "../scripts/spectra.py"


rule pixels:
    input:
        dreams=input_function(inputs.dreamt_archive, plan=plan),
        spectra=rules.spectra.output.spectra,
    output:
        f"{results}/pixels/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.csv",
    log:
        f"results/logs/{plan.study}/pixels/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.log",
    wildcard_constraints:
        part=f"({'|'.join(plan.parts)})",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("pixels"),
    message:
        "Measure the images of recipe {wildcards.recipe} at epoch {wildcards.epoch} of run {wildcards.run}"
    script:
        "../scripts/pixels.py"


rule measurements:
    input:
        **inputs.measured(plan, plan.judges, plan.dream_jobs),
        **inputs.checkpoints(plan),
        archives=plan.archives(),
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
    message:
        "Write the tables of results"
    script:
        "../scripts/measurements.py"
