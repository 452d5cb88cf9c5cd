"""Find the checkpoint before another one, and what a checkpoint must be."""

from typing import Any

from dreambirds.config.load import Section
from dreambirds.config.runs import parse_epoch
from dreambirds.data.sources.catalog import check_competition, list_test_files
from dreambirds.errors import UserError, did_you_mean
from dreambirds.io import expand
from dreambirds.models import MODEL_FILE, NOT_FILES
from dreambirds.models.packages import package_of
from dreambirds.plan.inputs import digest_files
from dreambirds.plan.paths import HISTORY_FILE, STATE_FILE, SUBMISSION_FILE, checkpoint_folder
from dreambirds.plan.plan import Plan


def previous_checkpoint(plan: Plan, run: str, epoch: float | str) -> dict[str, str]:
    """Return the files that the training job of one checkpoint goes on from, by name; none for the first one.

    Raises UserError if the run does not keep that epoch.
    """
    epoch = parse_epoch(epoch)
    if epoch not in plan.epochs(run):
        raise UserError(
            f"the run '{run}' keeps no checkpoint of epoch {epoch}; {did_you_mean(epoch, plan.epochs(run))}"
        )
    weights = plan.trained[run]["weights"]
    earlier = [kept for kept in plan.epochs(run) if kept < epoch]
    if earlier:
        folder = checkpoint_folder(plan.study, run, earlier[-1])
        return {"before": f"{folder}/{MODEL_FILE}", "before_state": f"{folder}/{STATE_FILE}"}
    return {} if weights in NOT_FILES else {"pretrained": str(expand(weights))}


def expected_metadata(plan: Plan, run: str, epoch: str) -> dict[str, Any]:
    """Return what a checkpoint must say of itself to be that of a run and an epoch, which is as in paths."""
    labels = [label.label for label in plan.labels]
    return {"model": plan.trained[run]["model"], "run": run, "epoch": parse_epoch(epoch), "labels": labels}


def histories(plan: Plan, run: str) -> list[str]:
    """Return the tables of a run's epochs, one a kept checkpoint."""
    return [f"{checkpoint_folder(plan.study, run, epoch)}/{HISTORY_FILE}" for epoch in plan.epochs(run)]


def training_settings(plan: Plan, run: str) -> Section:
    """Return what decides a run's weights: its section without the list of kept epochs, so that it may grow.

    With a package's weights it has their digest too. Their file is not an input of the job, since its path and time
    change with the environment that it is installed in.
    """
    settings = {key: value for key, value in plan.trained[run].items() if key != "epochs"}
    if settings["weights"] == "package":
        settings["weights_sha256"] = package_of(settings["model"]).sha256
    return settings


def submissions(plan: Plan) -> list[str]:
    """Return the submission of every run's last checkpoint."""
    return [
        f"{checkpoint_folder(plan.study, run, plan.epochs(run)[-1])}/{SUBMISSION_FILE}" for run in plan.config["runs"]
    ]


def submitted_weights(plan: Plan, run: str, epoch: str) -> str:
    """Return the weights that a submission is made with; `epoch` is as in paths.

    Raises UserError if the study's source is no competition's.
    """
    check_competition(plan.config["dataset"])
    return f"{checkpoint_folder(plan.study, run, epoch)}/{MODEL_FILE}"


def fingerprint_tests(plan: Plan) -> str:
    """Return a digest of the names, sizes and times of the pictures to be classified, and of the table that asks."""
    return digest_files(plan.config["dataset"]["path"], list_test_files(plan.config["dataset"]))
