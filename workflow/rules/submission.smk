from dreambirds.plan import checkpoints


rule submission:
    input:
        weights=plainly(checkpoints.checkpoint, plan=plan),
    output:
        f"{results}/runs/{{run}}/epoch-{{epoch}}.submission.csv",
    log:
        f"results/logs/{plan.study}/submission/{{run}}/epoch-{{epoch}}.log",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["train"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, attempt: train_mb(plan, wildcards.run) * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("submission"),
        dataset=plan.config["dataset"],
        photographs=plainly(lambda **_: checkpoints.fingerprint_tests(plan)),
    message:
        "Classify the competition's pictures with {wildcards.run} at epoch {wildcards.epoch}"
    script:
        "../scripts/submission.py"
