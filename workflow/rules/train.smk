from dreambirds.study.chain import link, settings


rule train:
    input:
        unpack(lambda wildcards: link(plan, wildcards.run, int(wildcards.epoch))),
        images=rules.dataset.output.images,
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
        code=stage_code("training"),
    output:
        weights=f"{results}/runs/{{run}}/epoch-{{epoch}}.safetensors",
        state=f"{results}/runs/{{run}}/epoch-{{epoch}}.state.safetensors",
        history=f"{results}/runs/{{run}}/epoch-{{epoch}}.csv",
    params:
        settings=lambda wildcards: settings(plan, wildcards.run),
    message:
        "Train {wildcards.run} to epoch {wildcards.epoch}"
    log:
        f"results/logs/{plan.study}/train/{{run}}/epoch-{{epoch}}.log",
    threads: plan.config["threads"]["train"]
    priority: 10
    resources:
        gpu=plan.config["gpu"],
        mem_mb=4000,
        runtime=240,
    conda:
        "../../environment.yml"
    script:
        "../scripts/train.py"


rule curves:
    input:
        lambda wildcards: [
            f"{results}/runs/{wildcards.run}/epoch-{epoch:04d}.csv"
            for epoch in plan.epochs(wildcards.run)
        ],
        code=stage_code("curves"),
    output:
        history=f"{results}/runs/{{run}}/history.csv",
        plot=f"{results}/runs/{{run}}/curves.png",
    params:
        epochs=lambda wildcards: plan.epochs(wildcards.run),
    message:
        "Plot how {wildcards.run} trained"
    log:
        f"results/logs/{plan.study}/curves/{{run}}.log",
    resources:
        mem_mb=500,
        runtime=10,
    conda:
        "../../environment.yml"
    script:
        "../scripts/curves.py"
