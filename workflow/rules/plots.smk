from dreambirds.study.targets import PLOTS


rule plots:
    input:
        dreams=rules.measurements.output.dreams,
        runs=rules.measurements.output.runs,
    output:
        [
            f"{results}/plots/{name}.{ending}"
            for name in PLOTS
            for ending in ("png", "csv")
        ],
    log:
        f"results/logs/{plan.study}/plots.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=stage_code("plots"),
    message:
        "Plot the measurements"
    script:
        "../scripts/plots.py"
