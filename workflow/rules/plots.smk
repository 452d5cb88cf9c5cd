from dreambirds.figures.plots import PLOTS


rule plots:
    input:
        dreams=rules.measurements.output.dreams,
        runs=rules.measurements.output.runs,
    output:
        pictures=[
            report(
                f"{results}/plots/{name}.png",
                caption="../report/plot.rst",
                category="findings",
                subcategory="plots",
                labels={"plot": name},
            )
            for name in PLOTS
        ],
        tables=[f"{results}/plots/{name}.csv" for name in PLOTS],
    log:
        f"results/logs/{plan.study}/plots.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=stage_code("plots"),
        epochs=plan.dreaming_epochs,
        steps=plan.steps,
        labels=list(plan.names),
    message:
        "Plot the measurements"
    script:
        "../scripts/plots.py"
