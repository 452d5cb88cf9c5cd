"""Whether every run's model can dream under every recipe. The models are built for it, which costs seconds."""

import math

from dreambirds.data.shapes import shape_of
from dreambirds.dreaming.octaves import shapes_seen
from dreambirds.dreaming.rehearsal import rehearse
from dreambirds.errors import said_of
from dreambirds.models.build import build, options_for
from dreambirds.pictures.ready import as_recipe
from dreambirds.study.plan import Plan

LARGEST_REHEARSAL = 1024**2  # pixels


def check_models(plan: Plan) -> None:
    """Raise StudyError unless the runs' models have the layers, channels and batch norms that recipes look at, and take
    pictures of the sizes that they show; those of more than 1024 x 1024 pixels are left to the dream."""
    trained = shape_of(plan.config["dataset"]["image_size"])
    for run, training in plan.config["runs"].items():
        options = options_for(training["model"], training["model_options"], trained)
        model = build(training["model"], len(plan.labels), options).eval()
        tried = []
        for name, parameters in plan.recipes.items():
            shape = plan.shape(name)
            recipe = as_recipe(parameters, min(shape))
            shapes = shapes_seen(recipe, shape)
            what = (recipe.objective, recipe.batch_norm_prior > 0, shapes)
            if what in tried or max(map(math.prod, shapes)) > LARGEST_REHEARSAL:
                continue
            tried.append(what)
            with said_of(f"dreams.recipes.{name} on the run '{run}'"):
                rehearse(model, recipe, shape)
