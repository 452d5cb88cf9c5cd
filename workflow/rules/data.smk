from dreambirds.study.sources import fingerprint


rule dataset:
    output:
        images=directory(f"{results}/dataset/images"),
        table=f"{results}/dataset/images.csv",
        labels=f"{results}/dataset/labels.csv",
    log:
        f"results/logs/{plan.study}/dataset.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        code=stage_code("dataset"),
        dataset=plan.config["dataset"],
        photographs=lambda wildcards: fingerprint(plan),
    message:
        "Prepare the pictures"
    script:
        "../scripts/dataset.py"


rule statistics:
    input:
        images=rules.dataset.output.images,
        table=rules.dataset.output.table,
    output:
        f"{results}/dataset/statistics-{{size}}.safetensors",
    log:
        f"results/logs/{plan.study}/statistics-{{size}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        code=stage_code("statistics"),
    message:
        "Average the pictures"
    script:
        "../scripts/data_statistics.py"
