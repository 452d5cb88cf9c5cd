from dreambirds.plan.checkpoints import expected_metadata
from dreambirds.plan.inputs import (
    dreamer,
    reference_images,
    requested,
    start_images,
    statistics,
)
from dreambirds.plan.targets import existing_job, requested_steps

dreams = f"{results}/dreams/{{run}}/epoch-{{epoch}}/{{recipe}}"


# One job dreams of all labels of a (run, epoch, recipe), or of one part of them (`labels_per_job`). The key of a dream in the
# store is `DreamContext.cache_key` in dream_job/context.py.
rule dream:
    input:
        weights=input_function(dreamer, plan=plan),
        # functions, because Snakemake's report shows plain paths as code of the page
        photographs=lambda wildcards: start_images(plan, wildcards.recipe),
        statistics=lambda wildcards: statistics(plan, wildcards.recipe),
        references=lambda wildcards: reference_images(plan, wildcards.recipe),
        checked=ancient(rules.check.output.measured),
    output:
        index=f"{dreams}/dreams{{part}}.csv",
    log:
        f"results/logs/{plan.study}/dream/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.log",
    wildcard_constraints:
        part=f"({'|'.join(plan.parts)})",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["dream"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, input, attempt: attempt
        * dream_mb(plan, measured(input.checked), wildcards.run, wildcards.recipe),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=stage_code("dreaming"),
        parameters=lambda wildcards: plan.recipes[wildcards.recipe],
        requested=input_function(requested, plan=plan),
        names=lambda wildcards, output: to_parameter(plan.parts[wildcards.part]),
        folder=lambda wildcards, output: str(Path(output.index).parent),
        checkpoint=lambda wildcards, output: expected_metadata(
            plan, wildcards.run, wildcards.epoch
        ),
        libraries=lambda wildcards, output: libraries("dreaming"),
        bytes_free=lambda wildcards, input, resources: memory_budget(
            plan,
            measured(input.checked),
            wildcards.run,
            wildcards.recipe,
            resources.mem_mb,
        ),
    message:
        "Dream with recipe {wildcards.recipe} at epoch {wildcards.epoch} of run {wildcards.run}"
    script:
        "../scripts/dream.py"


# A single image, trace or film, requested by name.
use rule dream as one_dream with:
    input:
        weights=f"{checkpoints}/model.safetensors",
        photographs=lambda wildcards: start_images(plan, wildcards.recipe),
        statistics=lambda wildcards: statistics(plan, wildcards.recipe),
        references=lambda wildcards: reference_images(plan, wildcards.recipe),
        checked=ancient(rules.check.output.measured),
        job=ancient(input_function(existing_job, plan=plan)),
    output:
        f"{dreams}/{{label}}/{{file}}",
    log:
        f"results/logs/{plan.study}/dream/{{run}}/epoch-{{epoch}}/{{recipe}}/{{label}}/{{file}}.log",
    wildcard_constraints:
        file=r"step-\d\d\d\d+(-rescaled)?\.png|trace\.csv|film\.gif",
    params:
        requested=None,
        only=input_function(requested_steps, plan=plan),
        names=lambda wildcards, output: to_parameter(
            {wildcards.label: plan.names[wildcards.label]}
        ),
        folder=lambda wildcards, output: str(Path(output[0]).parents[1]),
    message:
        "Write the dream of {wildcards.label}: {output}"


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
        recipes=lambda wildcards: plan.recipes,
    message:
        "Write the table of recipes"
    script:
        "../scripts/recipes.py"
