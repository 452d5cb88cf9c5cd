from dreambirds.figures.plots import PLOTS
from dreambirds.plan import excitation
from dreambirds.plan.nearest import held_out_table, judge_of, nearest_tables


wildcard_constraints:
    layout="|".join(LAYOUTS),
    over="|".join(FILMS),
    place=r"([^/]+/)?",


rule montage:
    input:
        archives=input_function(find_shown),
        images=ancient(examples(rules.dataset.output.images)),
        table=examples(rules.dataset.output.table),
        excitation=exciting_example,
    output:
        report(
            f"{results}/montages/{{run}}/{{place}}{{layout}}_{{at}}_{{view}}.png",
            caption="../report/montage.rst",
            category=lambda wildcards: (
                "dreams" if wildcards.layout == "epoch-by-step" else "montages"
            ),
            subcategory=lambda wildcards: wildcards.layout.replace("-", " "),
            labels=labels,
        ),
    log:
        f"results/logs/{plan.study}/montages/{{run}}/{{place}}{{layout}}_{{at}}_{{view}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("montage"),
        rows=lambda wildcards: LAYOUTS[wildcards.layout].rows,
        columns=lambda wildcards: LAYOUTS[wildcards.layout].columns,
        noun="target" if plan.targets else "class",
        cell_size=plan.config["montage"]["cell_size"],
        shared=shared,
        seeds=seeds,
        interpolated=interpolated,
        study=plan.study,
        names_digest=names_digest,
        names=lambda wildcards, output: names,
    message:
        "Write the montage: {output[0]}"
    script:
        "../scripts/montage.py"


rule nearest:
    input:
        archives=input_function(
            lambda run, epoch, recipe, view: plan.archives(
                run=run, epoch=epoch, recipe=recipe
            )
        ),
        tables=input_function(nearest_tables, plan=plan),
        held_out=input_function(held_out_table, plan=plan),
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        report(
            f"{results}/montages/{{run}}/{{recipe}}/nearest_epoch-{{epoch}}_{{view}}.png",
            caption="../report/nearest.rst",
            category="montages",
            subcategory="nearest photographs",
            labels=lambda wildcards: dict(wildcards.items()),
        ),
    log:
        f"results/logs/{plan.study}/montages/{{run}}/{{recipe}}/nearest_epoch-{{epoch}}_{{view}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("nearest"),
        judge=lambda wildcards: judge_of(plan, wildcards.run, wildcards.recipe),
        cell_size=plan.config["montage"]["cell_size"],
        shared=lambda wildcards: dict(wildcards.items()) | {"last": True},
        study=plan.study,
        names_digest=names_digest,
        names=lambda wildcards, output: names,
        classes=lambda wildcards, output: to_parameter(
            [label.label for label in plan.dreamt]
        ),
    message:
        "Write the montage: {output[0]}"
    script:
        "../scripts/nearest.py"


rule exciting:
    input:
        archives=input_function(
            lambda run, epoch, recipe, view: plan.archives(
                run=run, epoch=epoch, recipe=recipe
            )
        ),
        excitation=input_function(excitation.table, plan=plan),
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        report(
            f"{results}/montages/{{run}}/{{recipe}}/exciting_epoch-{{epoch}}_{{view}}.png",
            caption="../report/exciting.rst",
            category="montages",
            subcategory="exciting photographs",
            labels=lambda wildcards: dict(wildcards.items()),
        ),
    log:
        f"results/logs/{plan.study}/montages/{{run}}/{{recipe}}/exciting_epoch-{{epoch}}_{{view}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("exciting"),
        cell_size=plan.config["montage"]["cell_size"],
        shared=lambda wildcards: dict(wildcards.items()) | {"last": True},
        study=plan.study,
        names_digest=names_digest,
        names=lambda wildcards, output: names,
    message:
        "Write the montage: {output[0]}"
    script:
        "../scripts/exciting.py"


rule film:
    input:
        archives=input_function(find_shown),
    output:
        report(
            f"{results}/films/{{run}}/{{recipe}}/{{over}}_{{at}}_{{view}}.gif",
            caption="../report/film.rst",
            category="films",
            subcategory="over {over}",
            labels=labels,
        ),
    log:
        f"results/logs/{plan.study}/films/{{run}}/{{recipe}}/{{over}}_{{at}}_{{view}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("film"),
        over=lambda wildcards: FILMS[wildcards.over][0],
        cell_size=plan.config["montage"]["cell_size"],
        frame_duration=plan.config["pictures"]["frame_duration"],
        shared=shared,
        seeds=seeds,
        interpolated=interpolated,
        study=plan.study,
        names_digest=names_digest,
        names=lambda wildcards, output: names,
    message:
        "Write the film: {output[0]}"
    script:
        "../scripts/film.py"


rule plots:
    input:
        dreams=rules.measurements.output.dreams,
        runs=rules.measurements.output.runs,
        archives=plan.archives(),
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
    message:
        "Plot the measurements"
    script:
        "../scripts/plots.py"
