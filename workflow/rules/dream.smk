from dreambirds.plan import inputs, targets
from dreambirds.plan.paths import index_name
from dreambirds.plan.inputs import start_images, statistics

dreams = f"{results}/dreams/{{run}}/epoch-{{epoch}}"


# One rule a recipe, since its inputs can't depend on a wildcard; one job dreams of all labels, or of a part of them.
for recipe in plan.recipes:
    for part in plan.parts:
        word = "" if part is None else f"-{part:03d}"

        rule:
            name:
                f"dream_{recipe}{word}"
            input:
                weights=f"{results}/runs/{{run}}/epoch-{{epoch}}.safetensors",
                # functions, since Snakemake's report shows plain paths as code of the page
                photographs=lambda wildcards, recipe=recipe: start_images(plan, recipe),
                statistics=lambda wildcards, recipe=recipe: statistics(plan, recipe),
            output:
                index=f"{dreams}/{recipe}/{index_name(part)}",
            log:
                f"results/logs/{plan.study}/dream/{{run}}/epoch-{{epoch}}/{recipe}{word}.log",
            conda:
                "../../environment.yml"
            threads: plan.config["threads"]["dream"]
            resources:
                gpu=plan.config["gpu"],
                mem_mb=dream_memory(recipe),
                runtime=lambda wildcards, attempt: 240 * attempt,
            params:
                code=stage_code("dreaming"),
                recipe=recipe,
                part=part,
                digest=plan.digest(recipe),
                asked=plainly(inputs.requested, plan=plan, recipe=recipe, part=part),
            message:
                f"Dream of {recipe} at epoch {{wildcards.epoch}} of {{wildcards.run}}"
            script:
                "../scripts/dream.py"


rule one_dream:
    input:
        weights=f"{results}/runs/{{run}}/epoch-{{epoch}}.safetensors",
        photographs=lambda wildcards: start_images(plan, wildcards.recipe),
        statistics=lambda wildcards: statistics(plan, wildcards.recipe),
        job=ancient(plainly(targets.job_if_there, plan=plan)),
    output:
        f"{dreams}/{{recipe}}/{{label}}/{{file}}",
    log:
        f"results/logs/{plan.study}/dream/{{run}}/epoch-{{epoch}}/{{recipe}}/{{label}}/{{file}}.log",
    wildcard_constraints:
        file=r"step-\d\d\d\d+(-rescaled)?\.png|trace\.csv|film\.gif",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["dream"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=dream_memory(),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=stage_code("dreaming"),
        digest=lambda wildcards: plan.digest(wildcards.recipe),
    message:
        "Dream of {wildcards.label} for {output}"
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
        code=stage_code("recipes"),
        recipes=[plan.digest(recipe) for recipe in plan.recipes],
    message:
        "List the recipes"
    script:
        "../scripts/recipes.py"
