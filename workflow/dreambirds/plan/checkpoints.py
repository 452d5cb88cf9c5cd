"""Training chains and foreign checkpoints: their inputs, settings, metadata and submissions."""

from typing import Any

from dreambirds.config.checkpoints import given_checkpoints
from dreambirds.config.history_files import find_history
from dreambirds.config.load import Section
from dreambirds.config.runs import parse_epoch
from dreambirds.data.sources.catalog import check_competition, list_test_files
from dreambirds.errors import UserError, did_you_mean
from dreambirds.io import expand
from dreambirds.models import MODEL_FILE, NOT_FILES, PACKAGE
from dreambirds.models.checkpoint_facts import weights_files
from dreambirds.models.names import model_files
from dreambirds.models.packages import package_of
from dreambirds.plan.fingerprints import digest_files
from dreambirds.plan.paths import HISTORY_FILE, STATE_FILE, SUBMISSION_FILE, checkpoint_folder
from dreambirds.plan.plan import Plan


def previous_checkpoint(plan: Plan, run: str, epoch: float | str) -> dict[str, str | list[str]]:
    """Return the files from which the training of a checkpoint continues, by name.

    These are the weights and the training state of the previous kept epoch. For the first one they are the files that
    `weights` and `labels` set, if any, and those of the model. Raises UserError if the run does not keep that epoch.
    """
    epoch = _kept(plan, run, epoch)
    keys = plan.trained[run]
    earlier = [kept for kept in plan.epochs(run) if kept < epoch]
    if earlier:
        folder = checkpoint_folder(plan.study, run, earlier[-1])
        return {"before": f"{folder}/{MODEL_FILE}", "before_state": f"{folder}/{STATE_FILE}"}
    files = [] if keys["weights"] in NOT_FILES else weights_files(expand(keys["weights"]))
    return {"pretrained": list(map(str, files)), **_described(keys)}


def foreign_files(plan: Plan, run: str, epoch: float | str) -> dict[str, str | list[str]]:
    """Return the files of a checkpoint that was trained elsewhere, by name.

    These are its weights, the history next to it, the class names, and the code or config of its model. Raises
    UserError if the run has no checkpoint of that epoch.
    """
    checkpoint = plan.foreign[run][_kept(plan, run, epoch)]
    history = find_history(checkpoint.path) if checkpoint.path else None
    return {
        "weights": list(map(str, checkpoint.files)),
        "history": [str(history)] if history else [],
        **_described(plan.networks[run]),
    }


def _kept(plan: Plan, run: str, epoch: float | str) -> int | float:
    """Return an epoch as a number. Raises UserError if the run does not keep it."""
    number = parse_epoch(epoch)
    if number not in plan.epochs(run):
        hint = did_you_mean(number, plan.epochs(run), "available")
        raise UserError(f"the run '{run}' keeps no checkpoint of epoch {number}; {hint}")
    return number


def _described(keys: Section) -> dict[str, list[str]]:
    """Return the file of the class names and the files of the model that a run's section names."""
    names = [str(expand(keys["labels"]))] if keys["labels"] else []
    return {"names": names, "model_files": list(map(str, model_files(keys["model"])))}


def foreign_settings(plan: Plan, run: str, epoch: str) -> Section:
    """Return the settings of a checkpoint that was trained elsewhere; `epoch` is formatted as in paths.

    They are those of the run's section that its results depend on, the checkpoint's weights and the key that sets them,
    what says that it is of this epoch, and the epoch before it, from which its history begins. With weights from a
    package, they include their digest, as `training_settings` does.
    """
    number = parse_epoch(epoch)
    checkpoint, earlier = plan.foreign[run][number], [kept for kept in plan.epochs(run) if kept < number]
    keys = ("model", "model_options", "labels", "names", "weights_key", "head", "normalization")
    return {
        **{key: plan.networks[run][key] for key in keys},
        "weights": checkpoint.weights,
        "given": given_checkpoints(plan.networks[run])[0],
        "source": checkpoint.source,
        "after": earlier[-1] if earlier else None,
        **_package_digest(checkpoint.weights, plan.networks[run]["model"]),
    }


def _package_digest(weights: str | None, model: str) -> Section:
    """Return the digest of weights from a package: the file is not an input, as its path differs between machines."""
    return {"weights_sha256": package_of(model).sha256} if weights == PACKAGE else {}


def expected_metadata(plan: Plan, run: str, epoch: str) -> dict[str, Any]:
    """Return the metadata of a run's checkpoint; `epoch` is formatted as in paths."""
    expected: dict[str, Any] = {"run": run, "epoch": parse_epoch(epoch)}
    if run in plan.trained:
        expected |= {"model": plan.trained[run]["model"], "labels": [label.label for label in plan.labels]}
    return expected


def histories(plan: Plan, run: str) -> list[str]:
    """Return the history files of a run, one per kept checkpoint."""
    return [f"{checkpoint_folder(plan.study, run, epoch)}/{HISTORY_FILE}" for epoch in plan.epochs(run)]


def training_settings(plan: Plan, run: str) -> Section:
    """Return the settings that determine a run's weights.

    This is the run's section without `epochs`, so epochs can be appended. With weights from a package, it includes
    their digest: the file is not an input of the job, because its path and time depend on the Python environment.
    """
    settings = {key: value for key, value in plan.trained[run].items() if key != "epochs"}
    return settings | _package_digest(settings["weights"], settings["model"])


def submissions(plan: Plan) -> list[str]:
    """Return the submission file of the last checkpoint of every run that the study trains."""
    runs = [run for run in plan.config["runs"] if run in plan.trained]
    return [f"{checkpoint_folder(plan.study, run, plan.epochs(run)[-1])}/{SUBMISSION_FILE}" for run in runs]


def submitted_weights(plan: Plan, run: str, epoch: str) -> str:
    """Return the weights of a submission; `epoch` is formatted as in paths.

    Raises UserError if the study's data source is not a competition.
    """
    check_competition(plan.config["dataset"])
    return f"{checkpoint_folder(plan.study, run, epoch)}/{MODEL_FILE}"


def fingerprint_test_images(plan: Plan) -> str:
    """Return a digest of the names, sizes and times of test images and tables."""
    return digest_files(plan.config["dataset"]["path"], list_test_files(plan.config["dataset"]), plan.config["store"])
