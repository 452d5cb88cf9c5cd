from dreambirds.plan.checkpoints import (
    submitted_weights,
    fingerprint_test_images,
    foreign_files,
    foreign_settings,
    histories,
    previous_checkpoint,
    training_settings,
)

checkpoints = f"{results}/runs/{{run}}/epoch-{{epoch}}"


rule train:
    input:
        unpack(input_function(previous_checkpoint, plan=plan)),
        pictures=ancient(rules.dataset.output.pictures),
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
        checked=ancient(rules.check.output.measured),
    output:
        model=f"{checkpoints}/model.safetensors",
        config=f"{checkpoints}/config.json",
        state=f"{checkpoints}/training_state.safetensors",
        history=f"{checkpoints}/history.csv",
    log:
        f"results/logs/{plan.study}/train/{{run}}/epoch-{{epoch}}.log",
    wildcard_constraints:
        run="|".join(map(re.escape, plan.trained)) or "no run",
    cache: True
    priority: 10
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["train"] + plan.config["threads"]["loader_workers"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, input, attempt: attempt
        * train_mb(plan, measured(input.checked), wildcards.run),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=stage_code("training"),
        libraries=libraries("training"),
        checkpoint=lambda wildcards: [wildcards.run, wildcards.epoch],
        settings=lambda wildcards: training_settings(plan, wildcards.run),
        where=lambda wildcards, output: plan.path(wildcards.run),
        threads=lambda wildcards, output: plan.config["threads"],
    message:
        "Train run {wildcards.run} to epoch {wildcards.epoch}"
    script:
        "../scripts/train.py"


# The checkpoints of a run that was trained elsewhere, in the format of those that the study trains.
rule import_checkpoint:
    input:
        unpack(input_function(foreign_files, plan=plan)),
        pictures=ancient(rules.dataset.output.pictures),
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
        checked=ancient(rules.check.output.measured),
    output:
        model=f"{checkpoints}/model.safetensors",
        config=f"{checkpoints}/config.json",
        history=f"{checkpoints}/history.csv",
    log:
        f"results/logs/{plan.study}/import/{{run}}/epoch-{{epoch}}.log",
    wildcard_constraints:
        run="|".join(map(re.escape, plan.foreign)) or "no run",
    priority: 10
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["train"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, input, attempt: attempt
        * import_mb(plan, measured(input.checked), wildcards.run),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("import"),
        libraries=libraries("import"),
        settings=lambda wildcards: foreign_settings(
            plan, wildcards.run, wildcards.epoch
        ),
        classes=lambda wildcards: to_parameter(plan.class_names(wildcards.run)),
    message:
        "Import epoch {wildcards.epoch} of run {wildcards.run}"
    script:
        "../scripts/import_checkpoint.py"


rule curves:
    input:
        lambda wildcards: histories(plan, wildcards.run),
    output:
        history=f"{results}/runs/{{run}}/history.csv",
        plot=report(
            f"{results}/runs/{{run}}/curves.png",
            caption="../report/curves.rst",
            category="training",
            subcategory="curves",
            labels={"run": "{run}"},
        ),
    log:
        f"results/logs/{plan.study}/curves/{{run}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=500,
        runtime=10,
    params:
        code=stage_code("curves"),
        epochs=lambda wildcards: plan.epochs(wildcards.run),
    message:
        "Plot the training curves of run {wildcards.run}"
    script:
        "../scripts/curves.py"


rule submission:
    input:
        weights=input_function(submitted_weights, plan=plan),
        checked=ancient(rules.check.output.measured),
    output:
        f"{checkpoints}/submission.csv",
    log:
        f"results/logs/{plan.study}/submission/{{run}}/epoch-{{epoch}}.log",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["train"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, input, attempt: attempt
        * train_mb(plan, measured(input.checked), wildcards.run),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("submission"),
        dataset=plan.config["dataset"],
        libraries=lambda wildcards, output: libraries("submission"),
        photographs=input_function(lambda **_: fingerprint_test_images(plan)),
    message:
        "Classify the competition's test images at epoch {wildcards.epoch} of run {wildcards.run}"
    script:
        "../scripts/submission.py"
