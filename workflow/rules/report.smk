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
