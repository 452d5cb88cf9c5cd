"""What each judge needs, and which dreams it is shown."""

from dreambirds.data.files import digest_of, expand
from dreambirds.study.judges import kind
from dreambirds.study.paths import epoch_name
from dreambirds.study.plan import Plan
from dreambirds.study.schema import Section


def weights(plan: Plan, judge: str) -> str:
    """Return the file of a judge's weights."""
    asked = plan.judges[judge]
    match kind(asked):
        case "train":
            return f"results/{plan.study}/runs/{judge}/{epoch_name(plan.epochs(judge)[-1])}.safetensors"
        case "run":
            return f"results/{plan.study}/runs/{asked['run']}/{epoch_name(asked['epoch'])}.safetensors"
        case word:
            return str(expand(asked[word]))


def names(plan: Plan, judge: str) -> list[str]:
    """Return the file that tells what a judge's classes are called, if it needs one."""
    labels = plan.judges[judge]["labels"]
    return [str(expand(labels))] if labels else []


def shown(plan: Plan, judge: str) -> list[str]:
    """Return the runs whose dreams a judge is shown: all but its own."""
    return [run for run in plan.config["runs"] if run != plan.judges[judge]["run"]]


def indexes(plan: Plan, judge: str) -> list[str]:
    """Return the tables of the dream jobs that a judge is shown."""
    return [index for run in shown(plan, judge) for index in plan.indexes(run=run)]


def section(plan: Plan, judge: str) -> Section:
    """Return what the config says of a judge beside how it is trained, which its weights tell."""
    return {key: value for key, value in plan.judges[judge].items() if key != "train"}


def dreams(plan: Plan) -> str:
    """Return a word that is another one as soon as the study has other dreams."""
    asked = [plan.dreams.astype(str).to_numpy().tolist(), plan.names, [plan.digest(recipe) for recipe in plan.recipes]]
    return f"{len(plan.dreams)} dreams {digest_of(asked)[:16]}"


def judged(plan: Plan) -> dict[str, list[str]]:
    """Return what the judges write, in their order: their words on dreams, and what they are."""
    folder = f"results/{plan.study}/judged"
    return {
        "judged": [f"{folder}/{judge}.csv" for judge in plan.judges],
        "checks": [f"{folder}/{judge}.check.csv" for judge in plan.judges],
    }
