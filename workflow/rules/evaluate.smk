from dreambirds.plan import inputs


wildcard_constraints:
    judge="|".join(plan.judges) or "no judge",


rule judge:
    input:
        weights=plainly(inputs.weights, plan=plan),
        names=plainly(inputs.names, plan=plan),
        dreams=plainly(inputs.indexes, plan=plan),
        pictures=ancient(rules.dataset.output.pictures),
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
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
        judge=lambda wildcards: inputs.section(plan, wildcards.judge),
        dreams=inputs.dreams(plan),
    message:
        "Judge the dreams with {wildcards.judge}"
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
        dreams=inputs.dreams(plan),
        judges=list(plan.judges),
    message:
        "Measure the dreams"
    script:
        "../scripts/measurements.py"
