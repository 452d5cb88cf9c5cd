from dreambirds.study.sources import starts, statistics

# One rule a recipe, since a rule's outputs can't depend on a wildcard; one job dreams of all labels, as one batch.
for recipe in plan.recipes:

    rule:
        name:
            f"dream_{recipe}"
        input:
            weights=f"{results}/runs/{{run}}/epoch-{{epoch}}.safetensors",
            photographs=starts(plan, recipe),
            statistics=statistics(plan, recipe),
        output:
            targets.job_files(plan, "{run}", "{epoch}", recipe),
        log:
            f"results/logs/{plan.study}/dream/{{run}}/epoch-{{epoch}}/{recipe}.log",
        conda:
            "../../environment.yml"
        threads: plan.config["threads"]["dream"]
        resources:
            gpu=plan.config["gpu"],
            mem_mb=4000,
            runtime=240,
        params:
            code=stage_code("dreaming"),
            recipe=recipe,
            digest=plan.digest(recipe),
        message:
            f"Dream of {recipe} at epoch {{wildcards.epoch}} of {{wildcards.run}}"
        script:
            "../scripts/dream.py"


rule recipes:
    output:
        f"{results}/recipes.csv",
    log:
        f"results/logs/{plan.study}/recipes.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        recipes=[plan.digest(recipe) for recipe in plan.recipes],
    message:
        "List the recipes"
    script:
        "../scripts/recipes.py"
