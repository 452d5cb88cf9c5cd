"""Training chains: previous checkpoints, settings, metadata and submissions."""

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
    """Return the files from which the training of a checkpoint continues, by name.

    These are the weights and the training state of the previous kept epoch. For the first one it is the file that
    `weights` sets, if any. Raises UserError if the run does not keep that epoch.
    """
    epoch = parse_epoch(epoch)
    if epoch not in plan.epochs(run):
        hint = did_you_mean(epoch, plan.epochs(run), "available")
        raise UserError(f"the run '{run}' keeps no checkpoint of epoch {epoch}; {hint}")
    weights = plan.trained[run]["weights"]
    earlier = [kept for kept in plan.epochs(run) if kept < epoch]
    if earlier:
        folder = checkpoint_folder(plan.study, run, earlier[-1])
        return {"before": f"{folder}/{MODEL_FILE}", "before_state": f"{folder}/{STATE_FILE}"}
    return {} if weights in NOT_FILES else {"pretrained": str(expand(weights))}


def expected_metadata(plan: Plan, run: str, epoch: str) -> dict[str, Any]:
    """Return the metadata of a run's checkpoint; `epoch` is formatted as in paths."""
    labels = [label.label for label in plan.labels]
    return {"model": plan.trained[run]["model"], "run": run, "epoch": parse_epoch(epoch), "labels": labels}


def histories(plan: Plan, run: str) -> list[str]:
    """Return the history files of a run, one per kept checkpoint."""
    return [f"{checkpoint_folder(plan.study, run, epoch)}/{HISTORY_FILE}" for epoch in plan.epochs(run)]


def training_settings(plan: Plan, run: str) -> Section:
    """Return the settings that determine a run's weights.

    This is the run's section without `epochs`, so epochs can be appended. With weights from a package, it includes
    their digest: the file is not an input of the job, because its path and time depend on the Python environment.
    """
    settings = {key: value for key, value in plan.trained[run].items() if key != "epochs"}
    if settings["weights"] == "package":
        settings["weights_sha256"] = package_of(settings["model"]).sha256
    return settings


def submissions(plan: Plan) -> list[str]:
    """Return the submission file of every run's last checkpoint."""
    return [
        f"{checkpoint_folder(plan.study, run, plan.epochs(run)[-1])}/{SUBMISSION_FILE}" for run in plan.config["runs"]
    ]


def submitted_weights(plan: Plan, run: str, epoch: str) -> str:
    """Return the weights of a submission; `epoch` is formatted as in paths.

    Raises UserError if the study's data source is not a competition.
    """
    check_competition(plan.config["dataset"])
    return f"{checkpoint_folder(plan.study, run, epoch)}/{MODEL_FILE}"


def fingerprint_test_images(plan: Plan) -> str:
    """Return a digest of the names, sizes and times of test images and tables."""
    return digest_files(plan.config["dataset"]["path"], list_test_files(plan.config["dataset"]), plan.config["store"])
