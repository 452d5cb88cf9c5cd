from dataclasses import asdict

from dreambirds.plan import excitation
from dreambirds.plan.targets import patterns

gallery_study = dict(
    study=plan.study,
    recipes=plan.recipes,
    shapes={recipe: plan.sheet_shape(recipe) for recipe in plan.recipes},
    names=plan.names,
    targets=list(plan.targets),
    run_points={run: asdict(point) for run, point in plan.run_points.items()},
    recipe_points={
        recipe: asdict(point) for recipe, point in plan.recipe_points.items()
    },
)


rule gallery:
    input:
        dreams=rules.measurements.output.dreams,
        runs=rules.measurements.output.runs,
        archives=plan.archives(),
        excitation=excitation.tables(plan),
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
