"""The front door: a config comes in, the pictures of a study go out."""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27.1")

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from dreambirds.errors import StudyError
from dreambirds.study import targets
from dreambirds.study.count import announce
from dreambirds.study.plan import make_plan

if not workflow.overwrite_configfiles:

    configfile: "config/default.yaml"


try:
    plan = make_plan(config)
    if workflow.is_main_process and plan.asks_more_of_models:
        # imported only here, since torch takes seconds
        from dreambirds.pictures.rehearsal import check_models

        check_models(plan)
except StudyError as error:
    raise WorkflowError(str(error)) from None

if workflow.is_main_process:
    announce(plan)

results = f"results/{plan.study}"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/dream.smk"
include: "workflow/rules/assemble.smk"


rule dataset_only:
    input:
        f"{results}/dataset/labels.csv",


rule training_only:
    input:
        targets.curves(plan),


rule dreams_only:
    input:
        targets.dreams(plan),


rule all:
    default_target: True
    input:
        rules.training_only.input,
        rules.dreams_only.input,
        targets.montages(plan),
        targets.films(plan),
        f"{results}/recipes.csv",
    message:
        "The study is complete"
