montages = f"{results}/montages/{{run}}"
films = f"{results}/films/{{run}}/{{recipe}}"


rule class_by_epoch:
    input:
        dreams=plainly(plan.indexes),
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        report(
            f"{montages}/{{recipe}}/class-by-epoch_step-{{step}}_{{view}}.png",
            caption="../report/class-by-epoch.rst",
            category="montages",
            subcategory="class by epoch",
            labels={
                "run": "{run}",
                "recipe": "{recipe}",
                "step": "{step}",
                "view": "{view}",
            },
        ),
    log:
        f"results/logs/{plan.study}/montages/{{run}}/{{recipe}}/class-by-epoch_step-{{step}}_{{view}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("assembly"),
        rows="label",
        columns="epoch",
        look=plan.look,
    message:
        "Montage {output[0]}"
    script:
        "../scripts/montage.py"


use rule class_by_epoch as class_by_step with:
    input:
        dreams=plainly(plan.indexes),
    output:
        report(
            f"{montages}/{{recipe}}/class-by-step_epoch-{{epoch}}_{{view}}.png",
            caption="../report/class-by-step.rst",
            category="montages",
            subcategory="class by step",
            labels={
                "run": "{run}",
                "recipe": "{recipe}",
                "epoch": "{epoch}",
                "view": "{view}",
            },
        ),
    log:
        f"results/logs/{plan.study}/montages/{{run}}/{{recipe}}/class-by-step_epoch-{{epoch}}_{{view}}.log",
    params:
        code=stage_code("assembly"),
        rows="label",
        columns="step",
        look=plan.look,


use rule class_by_step as epoch_by_step with:
    output:
        report(
            f"{montages}/{{recipe}}/epoch-by-step_{{label}}_{{view}}.png",
            caption="../report/epoch-by-step.rst",
            category="dreams",
            subcategory="epoch by step",
            labels={
                "run": "{run}",
                "recipe": "{recipe}",
                "label": "{label}",
                "view": "{view}",
            },
        ),
    log:
        f"results/logs/{plan.study}/montages/{{run}}/{{recipe}}/epoch-by-step_{{label}}_{{view}}.log",
    params:
        code=stage_code("assembly"),
        rows="epoch",
        columns="step",
        look=plan.look,


use rule class_by_step as recipe_by_class with:
    input:
        dreams=plainly(plan.indexes, last=True),
    output:
        report(
            f"{montages}/recipe-by-class_epoch-{{epoch}}_{{view}}.png",
            caption="../report/recipe-by-class.rst",
            category="montages",
            subcategory="recipe by class",
            labels={"run": "{run}", "epoch": "{epoch}", "view": "{view}"},
        ),
    log:
        f"results/logs/{plan.study}/montages/{{run}}/recipe-by-class_epoch-{{epoch}}_{{view}}.log",
    params:
        code=stage_code("assembly"),
        rows="recipe",
        columns="label",
        only={"last": True},
        look=plan.look,


rule film_over_epochs:
    input:
        dreams=plainly(plan.indexes),
    output:
        report(
            f"{films}/epochs_step-{{step}}_{{view}}.gif",
            caption="../report/film-over-epochs.rst",
            category="films",
            subcategory="over epochs",
            labels={
                "run": "{run}",
                "recipe": "{recipe}",
                "step": "{step}",
                "view": "{view}",
            },
        ),
    log:
        f"results/logs/{plan.study}/films/{{run}}/{{recipe}}/epochs_step-{{step}}_{{view}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("assembly"),
        moments="epoch",
        look=plan.look,
        seconds=plan.config["pictures"]["frame_duration"],
    message:
        "Film {output[0]}"
    script:
        "../scripts/film.py"


use rule film_over_epochs as film_over_steps with:
    output:
        report(
            f"{films}/steps_epoch-{{epoch}}_{{view}}.gif",
            caption="../report/film-over-steps.rst",
            category="films",
            subcategory="over steps",
            labels={
                "run": "{run}",
                "recipe": "{recipe}",
                "epoch": "{epoch}",
                "view": "{view}",
            },
        ),
    log:
        f"results/logs/{plan.study}/films/{{run}}/{{recipe}}/steps_epoch-{{epoch}}_{{view}}.log",
    params:
        code=stage_code("assembly"),
        moments="step",
        look=plan.look,
        seconds=plan.config["pictures"]["frame_duration"],
