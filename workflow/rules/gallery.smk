from dreambirds.plan import targets


rule gallery:
    input:
        dreams=rules.measurements.output.dreams,
        runs=rules.measurements.output.runs,
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        page=f"{results}/gallery/index.html",
        sheets=directory(f"{results}/gallery/sheets"),
        pictures=report(
            directory(f"{results}/gallery/pictures"),
            patterns=targets.patterns(plan),
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
        dreams=judgement.dreams(plan),
    message:
        "Build the gallery: {output.page}"
    script:
        "../scripts/gallery.py"
