from dreambirds.study import judgement


wildcard_constraints:
    judge="|".join(plan.judges) or "no judge",


rule judge:
    input:
        weights=plainly(judgement.weights, plan=plan),
        names=plainly(judgement.names, plan=plan),
        dreams=plainly(judgement.indexes, plan=plan),
        pictures=ancient(rules.dataset.output.pictures),
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
    output:
        judged=f"{results}/judged/{{judge}}.csv",
        check=f"{results}/judged/{{judge}}.check.csv",
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
        judge=lambda wildcards: judgement.section(plan, wildcards.judge),
        dreams=judgement.dreams(plan),
    message:
        "Judge the dreams with {wildcards.judge}"
    script:
        "../scripts/judge.py"


rule measurements:
    input:
        **judgement.judged(plan),
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
        dreams=judgement.dreams(plan),
        judges=list(plan.judges),
    message:
        "Measure the dreams"
    script:
        "../scripts/measurements.py"
