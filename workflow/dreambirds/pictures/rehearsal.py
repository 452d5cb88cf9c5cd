"""Whether the layers that recipes look at are there. The models are built for it, which costs seconds."""

from dreambirds.dreaming.rehearsal import rehearse
from dreambirds.errors import StudyError
from dreambirds.models.build import build
from dreambirds.study.plan import Plan
from dreambirds.terms import layers

LARGEST_REHEARSAL = 512


def check_layers(plan: Plan) -> None:
    """Raise StudyError, with the nearest name, unless every run's model has the layers and channels of all recipes."""
    wanted = [name for name, parameters in plan.recipes.items() if layers(parameters["objective"])]
    for run, training in plan.config["runs"].items():
        model = build(training["model"], len(plan.labels), training["model_options"]).eval()
        for name in wanted:
            try:
                rehearse(model, plan.recipes[name]["objective"], min(plan.side(name), LARGEST_REHEARSAL))
            except StudyError as error:
                raise StudyError(f"dreams.recipes.{name} on the run '{run}': {error}") from None
