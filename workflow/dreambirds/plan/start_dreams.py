"""The dreams of a study that other dreams start from (`start: dream`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dreambirds.config.grids import resolve_runs, stands_for
from dreambirds.config.runs import parse_epoch
from dreambirds.data.labels import choose_labels
from dreambirds.errors import UserError, counted, did_you_mean
from dreambirds.plan.paths import archive_path

if TYPE_CHECKING:
    from dreambirds.plan.plan import Plan

Origin = dict[str, Any]  # run, epoch, recipe, label (None: that of the dream itself) and step
NAMED = {"first": 0, "last": -1}  # positions in the epochs that dream a recipe


def check_start_dreams(plan: Plan) -> None:
    """Raise UserError, with the path of the key, unless each dream that another one starts from is in the study."""
    for recipe in plan.recipes:
        chain = [recipe]
        while plan.recipes[chain[-1]]["start"] == "dream":
            chain.append(source_recipe(plan, chain[-1]))
            if chain[-1] == recipe:
                problem = "a recipe starts from itself" if len(chain) == 2 else "recipes start from each other"
                named = " → ".join(chain)
                raise UserError(f"{problem} ({named}); name another recipe", f"{_where(plan, recipe)}.recipe")
            if chain[-1] in chain[:-1]:
                break  # a cycle of other recipes, which is reported for them
        for run, epochs in plan.dreamers[recipe].items():
            for epoch in epochs:
                start_origin(plan, run, epoch, recipe)


def start_origin(plan: Plan, run: str, epoch: float, recipe: str) -> Origin | None:
    """Return the dream that those of a (run, epoch, recipe) start from, None if they start from no dream.

    Raises UserError, with the path of the key, if the study does not have it.
    """
    keys, where = plan.recipes[recipe]["start_dream"], _where(plan, recipe)
    if keys is None:
        return None
    source = source_recipe(plan, recipe)
    if "run" in keys:
        run, *others = resolve_runs([keys["run"]], plan.run_points, f"{where}.run")
        if others:
            problem = f"'{keys['run']}' is a grid of {counted(len(others) + 1, 'run')}"
            raise UserError(f"{problem}; name one: {', '.join([run, *others])}", f"{where}.run")
    dreaming = plan.dreamers[source]
    if run not in dreaming:
        hint = did_you_mean(run, dreaming, "available")
        raise UserError(f"the run '{run}' does not dream the recipe '{source}'; {hint}", f"{where}.run")
    named = keys.get("epoch", epoch)
    epoch = dreaming[run][NAMED[named]] if named in NAMED else parse_epoch(named)
    if epoch not in dreaming[run]:
        hint = did_you_mean(epoch, [*dreaming[run], *NAMED], "available")
        problem = f"the run '{run}' does not dream the recipe '{source}' at epoch {epoch}"
        raise UserError(f"{problem}; {hint}", f"{where}.epoch")
    steps = plan.recipes[source]["steps"]
    step = keys.get("step", steps[-1])
    if step not in steps:
        hint = did_you_mean(step, steps, "available")
        raise UserError(f"the recipe '{source}' does not keep step {step}; {hint}", f"{where}.step")
    label = keys.get("label")
    if label is not None and label not in plan.targets:
        (chosen,) = choose_labels(plan.dreamt, [label], f"{where}.label")
        label = chosen.label
    return {"run": run, "epoch": epoch, "recipe": source, "label": label, "step": step}


def source_recipe(plan: Plan, recipe: str) -> str:
    """Return the recipe from whose dreams those of a recipe start. Raises UserError unless it names a single one."""
    name, where = plan.recipes[recipe]["start_dream"]["recipe"], f"{_where(plan, recipe)}.recipe"
    found = stands_for(name, plan.recipe_points)
    if not found:
        raise UserError(f"the study has no recipe '{name}'; {did_you_mean(name, plan.recipes, 'available')}", where)
    if len(found) > 1:
        hint = did_you_mean(name, found, "available")
        raise UserError(f"'{name}' is a grid of {counted(len(found), 'recipe')}; name one of them: {hint}", where)
    return found[0]


def start_archive(plan: Plan, run: str, epoch: str, recipe: str, part: str) -> list[str]:
    """Return the archive with the dreams that those of a dream job start from; an empty list if they start from none.

    The arguments are formatted as in paths. Raises UserError if the study has no such dreams.
    """
    plan.check_dreamer(run, epoch, recipe)
    origin = start_origin(plan, run, parse_epoch(epoch), recipe)
    if origin is None:
        return []
    label = origin["label"]
    found = part if label is None else next(name for name, names in plan.parts.items() if label in names)
    return [archive_path(plan.study, origin["run"], origin["epoch"], origin["recipe"], found)]


def _where(plan: Plan, recipe: str) -> str:
    return f"dreams.recipes.{plan.recipe_points[recipe].origin}.start_dream"
