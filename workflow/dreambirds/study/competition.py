"""What a study can hand in to a competition: a table of classes a checkpoint."""

from dreambirds.data.catalogue import check_competition, list_test_files
from dreambirds.study.paths import epoch_name
from dreambirds.study.plan import Plan
from dreambirds.study.sources import digest_files


def submissions(plan: Plan) -> list[str]:
    """Return the submission of every run's last checkpoint."""
    return [
        f"results/{plan.study}/runs/{run}/{epoch_name(plan.epochs(run)[-1])}.submission.csv"
        for run in plan.config["runs"]
    ]


def checkpoint(plan: Plan, run: str, epoch: str) -> str:
    """Return the weights that a submission is made with; `epoch` is as in paths.

    Raises StudyError if the study's source is no competition's.
    """
    check_competition(plan.config["dataset"])
    return f"results/{plan.study}/runs/{run}/epoch-{epoch}.safetensors"


def fingerprint_tests(plan: Plan) -> str:
    """Return a digest of the names, sizes and times of the pictures to be classified, and of the table that asks."""
    return digest_files(plan, list_test_files(plan.config["dataset"]))
