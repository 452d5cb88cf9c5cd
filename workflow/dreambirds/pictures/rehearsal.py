"""Whether every run's model can dream under every recipe. The models are built for it, which costs seconds."""

from dreambirds.dreaming.octaves import sides_seen
from dreambirds.dreaming.rehearsal import rehearse
from dreambirds.errors import StudyError
from dreambirds.models.build import build
from dreambirds.pictures.dreams import as_recipe
from dreambirds.study.plan import Plan

LARGEST_REHEARSAL = 1024


def check_models(plan: Plan) -> None:
    """Raise StudyError unless the runs' models have the layers, channels and batch norms that recipes look at, and take
    pictures of the sizes that they show; sizes above 1024 pixels are left to the dream."""
    for run, training in plan.config["runs"].items():
        model = build(training["model"], len(plan.labels), training["model_options"]).eval()
        tried = []
        for name, parameters in plan.recipes.items():
            recipe, side = as_recipe(parameters, plan.side(name)), plan.side(name)
            sides = sides_seen(recipe, side)
            what = (recipe.objective, recipe.batch_norm_prior > 0, sides)
            if what in tried or max(sides) > LARGEST_REHEARSAL:
                continue
            tried.append(what)
            try:
                rehearse(model, recipe, side)
            except StudyError as error:
                raise StudyError(f"dreams.recipes.{name} on the run '{run}': {error}") from None
