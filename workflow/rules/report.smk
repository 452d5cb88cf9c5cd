from dreambirds.io import digest_of


report: "../report/workflow.rst"


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
        "Compare runs and recipes"
    script:
        "../scripts/comparison.py"


if plan.comparisons:

    rule finding:
        input:
            dreams=rules.measurements.output.dreams,
            runs=rules.measurements.output.runs,
            judges=rules.measurements.output.judges,
            plots=rules.plots.output.pictures,
            images=ancient(rules.dataset.output.images),
            table=rules.dataset.output.table,
        output:
            page=report(
                f"{results}/finding/index.html",
                caption="../report/finding.rst",
                category="findings",
                subcategory="experiment",
                labels={"table": "the experiment's answer"},
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
            asked=digest_of([plan.config, plan.names]),
        message:
            "Answer the question: {output.page}"
        script:
            "../scripts/finding.py"
