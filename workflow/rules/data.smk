from dreambirds.plan.fingerprints import fingerprint
from dreambirds.shapes import as_size, parse_shape


rule dataset:
    output:
        images=directory(f"{results}/dataset/images"),
        pictures=f"{results}/dataset/pictures.npy",
        table=f"{results}/dataset/images.csv",
        labels=f"{results}/dataset/labels.csv",
    log:
        f"results/logs/{plan.study}/dataset.log",
    cache: True
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["prepare"]
    resources:
        mem_mb=lambda wildcards, threads, attempt: (1000 + 250 * threads) * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=stage_code("dataset"),
        libraries=libraries("dataset"),
        dataset=plan.config["dataset"],
        labels=to_parameter(
            [[label.label, label.name, label.folder] for label in plan.labels]
        ),
        photographs=input_function(
            lambda **_: fingerprint(
                plan.config["dataset"], plan.labels, plan.config["store"]
            )
        ),
    message:
        "Prepare the images" if plan.photographs else "List the classes of the network"
    script:
        "../scripts/dataset.py"


if plan.photographs:

    # The same images at another size, for dreams of that size that are compared with them.
    use rule dataset as canvas with:
        output:
            images=directory(f"{results}/dataset/canvas-{{size}}/images"),
            pictures=f"{results}/dataset/canvas-{{size}}/pictures.npy",
            table=f"{results}/dataset/canvas-{{size}}/images.csv",
            labels=f"{results}/dataset/canvas-{{size}}/labels.csv",
        log:
            f"results/logs/{plan.study}/canvas-{{size}}.log",
        params:
            dataset=lambda wildcards: {
                **plan.config["dataset"],
                "image_size": as_size(parse_shape(wildcards.size)),
            },
        message:
            "Prepare the images at {wildcards.size} pixels"

    rule overview:
        input:
            images=ancient(rules.dataset.output.images),
            table=rules.dataset.output.table,
            labels=rules.dataset.output.labels,
        output:
            sheet=report(
                f"{results}/dataset/classes.png",
                caption="../report/classes.rst",
                category="training",
                subcategory="images",
                labels={"figure": "examples of each class"},
            ),
            sizes=report(
                f"{results}/dataset/sizes.png",
                caption="../report/sizes.rst",
                category="training",
                subcategory="images",
                labels={"figure": "image sizes"},
            ),
            classes=f"{results}/dataset/classes.csv",
        log:
            f"results/logs/{plan.study}/overview.log",
        conda:
            "../../environment.yml"
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            code=stage_code("overview"),
        message:
            "Write the overview of the data set"
        script:
            "../scripts/overview.py"

    rule statistics:
        input:
            images=ancient(rules.dataset.output.images),
            table=rules.dataset.output.table,
        output:
            f"{results}/dataset/statistics-{{size}}.safetensors",
        log:
            f"results/logs/{plan.study}/statistics-{{size}}.log",
        cache: True
        conda:
            "../../environment.yml"
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            code=stage_code("statistics"),
            libraries=libraries("statistics"),
            size="{size}",
        message:
            "Compute the spectrum and mean images at {wildcards.size} pixels"
        script:
            "../scripts/data_statistics.py"
