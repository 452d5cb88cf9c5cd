from dreambirds.config.runs import parse_epoch
from dreambirds.config.targets import vector_files
from dreambirds.plan.checkpoints import expected_metadata
from dreambirds.plan.inputs import (
    committee,
    dreamer,
    label_digest,
    picture_archive,
    reference_images,
    reference_labels,
    start_images,
    statistics,
    targets_of,
)
from dreambirds.plan.start_dreams import start_archive, start_origin

dreams = f"{results}/dreams/{{run}}/epoch-{{epoch}}/{{recipe}}"


# One job dreams of all labels of a (run, epoch, recipe), or of one part of them (`labels_per_job`). Its output is an archive,
# because Snakemake needs a minute and a gigabyte of records for 100,000 outputs. The job also puts the files of the archive into
# its folder, for people. The key of a dream in the store is `DreamContext.cache_key` in dream_job/context.py.
rule dream:
    input:
        weights=input_function(dreamer, plan=plan),
        committee=input_function(committee, plan=plan),
        # functions, because Snakemake's report shows plain paths as code of the page
        photographs=lambda wildcards: start_images(plan, wildcards.recipe),
        statistics=lambda wildcards: statistics(plan, wildcards.recipe),
        references=lambda wildcards: reference_images(plan, wildcards.recipe),
        vectors=vector_files(plan.targets.values()),
        start_dreams=input_function(start_archive, plan=plan),
        checked=ancient(rules.check.output.measured),
    output:
        archive=f"{dreams}/dreams{{part}}.zip",
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
        labels=lambda wildcards: label_digest(plan.parts[wildcards.part]),
        reference_labels=lambda wildcards: to_parameter(
            reference_labels(plan, wildcards.recipe, wildcards.part)
        ),
        names=lambda wildcards, output: to_parameter(plan.parts[wildcards.part]),
        targets=lambda wildcards: to_parameter(targets_of(plan, wildcards.part)),
        start_dream=lambda wildcards: start_origin(
            plan, wildcards.run, parse_epoch(wildcards.epoch), wildcards.recipe
        ),
        folder=plan.config["pictures"]["folder"],
        checkpoint=lambda wildcards, output: expected_metadata(
            plan, wildcards.run, wildcards.epoch
        ),
        committee=lambda wildcards, output: [
            expected_metadata(plan, member, wildcards.epoch)
            for member in plan.committees.get((wildcards.run, wildcards.recipe), ())
        ],
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
rule picture:
    input:
        input_function(picture_archive, plan=plan),
    output:
        f"{dreams}/{{label}}/{{file}}",
    log:
        f"results/logs/{plan.study}/dream/{{run}}/epoch-{{epoch}}/{{recipe}}/{{label}}/{{file}}.log",
    wildcard_constraints:
        file=r"step-\d\d\d\d+(-rescaled)?\.png|trace\.csv|film\.gif",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        code=stage_code("picture"),
    message:
        "Extract {output} from the archive of its job"
    script:
        "../scripts/picture.py"


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
