"""The front door: a config comes in, the pictures of a study go out."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27.1")

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from dreambirds.clock import catch_up
from dreambirds.data.files import sweep_halves
from dreambirds.dreaming.eviction import asked_limit, keep_within
from dreambirds.errors import StudyError
from dreambirds.mishaps import mishap, tell_killed
from dreambirds.study import targets
from dreambirds.study.caching import place_cache
from dreambirds.study.config_file import check_file
from dreambirds.study.count import announce
from dreambirds.study.fetching import announce_fetch, first_fetch
from dreambirds.study.memory import unknown
from dreambirds.study.places import check_places
from dreambirds.study.plan import make_plan
from dreambirds.study.standing import check_standing
from dreambirds.watch import hold

if not workflow.overwrite_configfiles:

    configfile: "config/default.yaml"


try:
    limit = asked_limit() if workflow.is_main_process else None
    if workflow.is_main_process:
        for file in workflow.overwrite_configfiles:
            check_file(Path(file))
    fetching = first_fetch(config)
    plan = None if fetching else make_plan(config)
    if workflow.is_main_process and plan:
        check_places(plan)
        catch_up(Path("results") / plan.study)
        check_standing(plan)
        if unknown(plan):
            # imported only here, since torch takes seconds
            from dreambirds.pictures.measuring import measure

            measure(plan)
except StudyError as error:
    sys.exit(f"Error: {error}")
except Exception as error:
    if sentence := mishap(error):
        sys.exit(f"Error: {sentence}")
    raise

if workflow.workflow_settings.cache is not None:
    place_cache()

if workflow.is_main_process:
    hold(Path(".snakemake"))
    if fetching:
        announce_fetch(fetching)
    else:
        sweep_halves(Path("results") / plan.study, age=60)
        announce(plan)


include: "workflow/rules/download.smk"


if fetching:

    # The photographs tell the classes, so there is no plan before they are here.
    rule dataset_only:
        input:
            fetching.place,

    use rule dataset_only as training_only

    use rule dataset_only as dreams_only

    use rule dataset_only as submissions

    rule all:
        default_target: True
        input:
            fetching.place,
        message:
            "The photographs are here; the same command again trains and dreams"

else:
    results = f"results/{plan.study}"

    include: "workflow/rules/common.smk"
    include: "workflow/rules/data.smk"
    include: "workflow/rules/train.smk"
    include: "workflow/rules/submission.smk"
    include: "workflow/rules/dream.smk"
    include: "workflow/rules/assemble.smk"
    include: "workflow/rules/evaluate.smk"
    include: "workflow/rules/plots.smk"
    include: "workflow/rules/gallery.smk"
    include: "workflow/rules/report.smk"
    include: "workflow/rules/findings.smk"

    rule dataset_only:
        input:
            f"{results}/dataset/labels.csv",
            targets.look(plan),

    rule training_only:
        input:
            targets.curves(plan),
            plan.checkpoints(),

    rule submissions:
        input:
            competition.submissions(plan),

    rule dreams_only:
        input:
            targets.dreams(plan),

    rule all:
        default_target: True
        input:
            targets.curves(plan),
            rules.dreams_only.input,
            targets.montages(plan),
            targets.films(plan),
            targets.look(plan),
            targets.results(plan),
            f"{results}/recipes.csv",
        message:
            "The study is complete"


# The store is kept within its limit after every run, whatever became of it.
onsuccess:
    keep_within(limit)


onerror:
    keep_within(limit)
    tell_killed(log)
