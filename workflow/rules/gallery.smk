from dataclasses import asdict

from dreambirds.plan.targets import patterns

gallery_study = dict(
    study=plan.study,
    recipes=plan.recipes,
    shapes={recipe: plan.shape(recipe) for recipe in plan.recipes},
    names=plan.names,
)


rule gallery:
    input:
        dreams=rules.measurements.output.dreams,
        runs=rules.measurements.output.runs,
        archives=plan.archives(),
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        page=f"{results}/gallery/index.html",
        sheets=directory(f"{results}/gallery/sheets"),
        pictures=report(
            directory(f"{results}/gallery/pictures"),
            patterns=patterns(plan),
            caption="../report/dream.rst",
            category="dreams",
            subcategory="{run}, epoch {epoch}",
            labels={
                "run": "{run}",
                "epoch": "{epoch}",
                "recipe": "{recipe}",
                "label": "{label}",
                "file": "{file}",
            },
        ),
    log:
        f"results/logs/{plan.study}/gallery.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("gallery"),
        study=to_parameter(gallery_study),
    message:
        "Write the gallery: {output.page}"
    script:
        "../scripts/gallery.py"


rule comparison:
    input:
        dreams=rules.measurements.output.dreams,
        runs=rules.measurements.output.runs,
    output:
        report(
            f"{results}/compare.html",
            caption="../report/comparison.rst",
            category="findings",
            subcategory="comparison",
            labels={"table": "runs and recipes"},
        ),
    log:
        f"results/logs/{plan.study}/comparison.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("comparison"),
    message:
        "Compare the runs and recipes"
    script:
        "../scripts/comparison.py"


if plan.comparisons:

    rule finding:
        input:
            dreams=rules.measurements.output.dreams,
            runs=rules.measurements.output.runs,
            judges=rules.measurements.output.judges,
            archives=plan.archives(),
            plots=rules.plots.output.pictures,
            images=ancient(rules.dataset.output.images),
            table=rules.dataset.output.table,
        output:
            page=report(
                f"{results}/finding/index.html",
                caption="../report/finding.rst",
                category="findings",
                subcategory="experiment",
                labels={"table": "the experiment's result"},
            ),
            table=f"{results}/finding/finding.csv",
            pictures=[
                f"{results}/finding/montage.png",
                f"{results}/finding/effects.png",
            ],
        log:
            f"results/logs/{plan.study}/finding.log",
        conda:
            "../../environment.yml"
        resources:
            mem_mb=lambda wildcards, attempt: 2000 * attempt,
            runtime=30,
        params:
            code=stage_code("finding"),
            study=to_parameter(
                dict(
                    config=plan.config,
                    comparisons=list(map(asdict, plan.comparisons)),
                    recipes=plan.recipes,
                    names=plan.names,
                    learnt=len(plan.labels),
                )
            ),
        message:
            "Write the finding of the experiment: {output.page}"
        script:
            "../scripts/finding.py"
