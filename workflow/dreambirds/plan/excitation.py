"""Inputs and outputs of the jobs that find the photographs that excite targets most."""

from dreambirds.config.load import Section
from dreambirds.config.runs import parse_epoch
from dreambirds.errors import UserError
from dreambirds.models import MODEL_FILE
from dreambirds.plan.paths import checkpoint_folder, epoch_name
from dreambirds.plan.plan import Plan


def units(plan: Plan) -> dict[str, Section]:
    """Return the targets that consist of units of a layer, by label, as JSON data; none without photographs."""
    found = {label: target.facts for label, target in plan.targets.items() if target.is_unit}
    return found if plan.photographs else {}


def table_path(plan: Plan, run: str, epoch: float | str) -> str:
    """Return the table of the photographs that excite targets most, for a checkpoint."""
    return f"results/{plan.study}/excitation/{run}/{epoch_name(epoch)}.csv"


def tables(plan: Plan) -> list[str]:
    """Return the tables of all checkpoints that dream; none if there are no such targets, or no photographs."""
    return [table_path(plan, *checkpoint) for checkpoint in plan.dreaming_checkpoints()] if units(plan) else []


def weights(plan: Plan, run: str, epoch: str) -> str:
    """Return the weights of a checkpoint whose table is requested; the arguments are formatted as in paths.

    Raises UserError if the checkpoint does not dream, or as `table` does.
    """
    _check_units(plan)
    if (run, parse_epoch(epoch)) not in plan.dreaming_checkpoints():
        plan.select(run=run, epoch=epoch)
    return f"{checkpoint_folder(plan.study, run, epoch)}/{MODEL_FILE}"


def table(plan: Plan, run: str, epoch: str, recipe: str, **_: str) -> str:
    """Return the table for a montage of a (run, epoch, recipe), whose names are formatted as in paths.

    Raises UserError if the study has no such dreams, no photographs, or no target with a layer.
    """
    _check_units(plan)
    plan.check_dreamer(run, epoch, recipe)
    return table_path(plan, run, epoch)


def last_table(plan: Plan, run: str, recipe: str) -> list[str]:
    """Return the table of the last epoch at which a run dreams a recipe; none without targets that have one."""
    epochs = plan.dreamers.get(recipe, {}).get(run, ())
    return [table_path(plan, run, epochs[-1])] if epochs and units(plan) else []


def _check_units(plan: Plan) -> None:
    if not plan.photographs:
        problem = f"the study '{plan.study}' has no photographs ('dataset.source: none')"
        raise UserError(f"{problem}; request another montage")
    if not units(plan):
        problem = f"the study '{plan.study}' has no target with a layer (dreams.targets)"
        raise UserError(f"{problem}; request another montage")
