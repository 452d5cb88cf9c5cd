"""Inputs of jobs, and their fingerprints, which rerun a job if an input changes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dreambirds.config.judges import judge_kind, may_judge
from dreambirds.config.load import Section
from dreambirds.config.recipes import start_file
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.errors import UserError
from dreambirds.io import digest_of, expand
from dreambirds.models import MODEL_FILE, PACKAGE
from dreambirds.models.checkpoint_facts import weights_files
from dreambirds.models.names import model_files
from dreambirds.models.packages import package_of
from dreambirds.plan.paths import (
    HISTORY_FILE,
    archive_path,
    checkpoint_folder,
    epoch_name,
    prepared_folder,
)
from dreambirds.plan.plan import DreamPart, Plan
from dreambirds.shapes import shape_name, shape_of


def start_images(plan: Plan, recipe: str) -> list[str]:
    """Return the photograph, or table of photographs, that a recipe starts from."""
    parameters = plan.recipes[recipe]
    if parameters["start"] != "photograph":
        return []
    path = start_file(parameters, recipe)
    dataset = f"results/{plan.study}/dataset"
    return [f"{dataset}/images.csv"] if path is None else [str(path)]


def dreamer(plan: Plan, run: str, epoch: str, recipe: str, part: str) -> str:
    """Return the weights of a dream job.

    The arguments are formatted as in paths. Raises UserError if the study has no such dreams.
    """
    plan.check_dreamer(run, epoch, recipe)
    return f"{checkpoint_folder(plan.study, run, epoch)}/{MODEL_FILE}"


def committee(plan: Plan, run: str, epoch: str, recipe: str, part: str) -> list[str]:
    """Return the weights of the networks that take turns with the dreamer's in a dream job.

    The arguments are formatted as in paths.
    """
    members = plan.committees.get((run, recipe), ())
    return [f"{checkpoint_folder(plan.study, member, epoch)}/{MODEL_FILE}" for member in members]


def statistics(plan: Plan, recipe: str) -> list[str]:
    """Return the file with the spectrum and mean images, if a recipe needs it."""
    parameters = plan.recipes[recipe]
    needed = parameters["parameterization"] == "maco" or parameters["start"] == "class_mean"
    return [f"results/{plan.study}/dataset/statistics-{shape_name(plan.shape(recipe))}.safetensors"] if needed else []


def reference_images(plan: Plan, recipe: str) -> list[str]:
    """Return the table and images of the data set at the size of a recipe's dreams.

    The list is empty if the recipe does not compare dreams with photographs of their class.
    """
    if not needs_photographs(plan.recipes[recipe]["objective"]):
        return []
    folder = prepared_folder(plan.study, plan.shape(recipe), shape_of(plan.config["dataset"]["image_size"]))
    return [f"{folder}/images.csv", f"{folder}/pictures.npy"]


def reference_labels(plan: Plan, recipe: str, part: str) -> dict[str, str]:
    """Return the class whose photographs the dreams of each label of a part are compared with, by label.

    It is the next one in the order of all classes if the recipe has ``match_class: next``. The result is empty if each
    dream is compared with photographs of the same class, or with none.
    """
    if plan.recipes[recipe]["match_class"] == "own":
        return {}
    labels = [label.label for label in plan.labels]
    following = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
    return {label: following[label] for label in plan.parts[part]}


def targets_of(plan: Plan, part: str) -> dict[str, Section]:
    """Return what the targets of a part are that are not classes, by label, as JSON data."""
    return {label: plan.targets[label].facts for label in plan.parts[part] if label in plan.targets}


def picture_archive(plan: Plan, run: str, epoch: str, recipe: str, label: str, file: str) -> list[str]:
    """Return the archive that contains an image, trace or film, which its file name identifies.

    Raises UserError if the study does not create such a file.
    """
    step = {"step": file.split("-")[1].removesuffix(".png")} if file.startswith("step-") else {}
    archives = plan.archives(run=run, epoch=epoch, recipe=recipe, label=label, **step)
    if file == "film.gif" and plan.recipes[recipe]["film_every"] is None:
        raise UserError("is null, so this recipe has no films; set it", f"dreams.recipes.{recipe}.film_every")
    return archives


def label_digest(names: dict[str, str]) -> str:
    """Return the number of a dream job's labels with a digest of them and their display names.

    It is a parameter of the job, so that a new label, a removed one or another name packs the archive again.
    """
    return f"{len(names)} labels ({digest_of(list(names.items()))[:8]})"


def weights(plan: Plan, judge: str, **_: str) -> str | list[str]:
    """Return the file of a judge's weights, the first one of a folder; other wildcards of its jobs do not matter.

    The list is empty for those of a package, which is another file on each machine.
    """
    keys = plan.judges[judge]
    if keys["weights"] == PACKAGE:
        return []
    match judge_kind(keys):
        case "train":
            return f"{checkpoint_folder(plan.study, judge, plan.epochs(judge)[-1])}/{MODEL_FILE}"
        case "run":
            return f"{checkpoint_folder(plan.study, keys['run'], keys['epoch'])}/{MODEL_FILE}"
        case key:
            return str(weights_files(expand(keys[key]))[0])


def described(plan: Plan, judge: str, **_: str) -> list[str]:
    """Return the other files that a judge with `weights` needs, without wildcards that do not matter.

    These are its class names, the rest of a folder of weights, and the code or config of its model.
    """
    keys = plan.judges[judge]
    if judge_kind(keys) != "weights":
        return []
    labels = [expand(keys["labels"])] if keys["labels"] else []
    others = weights_files(expand(keys["weights"]))[1:] if keys["weights"] != PACKAGE else []
    return [str(file) for file in (*labels, *others, *model_files(keys["model"]))]


def answers(plan: Plan, judge: str, **_: str) -> list[str]:
    """Return the files of people's answers of a judge; the list is empty for a network."""
    return [str(expand(file)) for file in plan.judges[judge]["answers"] or ()]


def judge_files(plan: Plan, judge: str) -> list[str]:
    """Return all files that are inputs of a judge's jobs besides images: of its network, or of people's answers."""
    if found := answers(plan, judge):
        return found
    own = weights(plan, judge)
    return [*([own] if isinstance(own, str) else own), *described(plan, judge)]


def is_judged(plan: Plan, judge: str, run: str, recipe: str) -> bool:
    """Return whether a judge evaluates a run's dreams of a recipe: all, except those that its network takes part in."""
    return may_judge(plan.judges[judge], plan.study, plan.dreaming_networks(run, recipe))


def judged_recipes(plan: Plan, judge: str) -> dict[str, list[str]]:
    """Return the recipes whose dreams a judge evaluates, by run; runs without any are omitted."""
    recipes = {
        run: [recipe for recipe in recipes if is_judged(plan, judge, run, recipe)]
        for run, recipes in plan.dreaming_epochs.items()
    }
    return {run: judged for run, judged in recipes.items() if judged}


def judged_archive(plan: Plan, judge: str, run: str, epoch: str, recipe: str, part: str) -> str:
    """Return the archive of the dreams that a judge job evaluates.

    The arguments are formatted as in paths. Raises UserError if the study has no such dreams, or if the judge does not
    evaluate those of the run.
    """
    archive = dreamt_archive(plan, run, epoch, recipe, part)
    if not is_judged(plan, judge, run, recipe):
        problem = f"does not judge the run '{run}' with the recipe '{recipe}', because its network takes part"
        raise UserError(f"the judge '{judge}' {problem}; choose another")
    return archive


def section(plan: Plan, judge: str) -> Section:
    """Return the config of a judge without `train`, which its weights reflect.

    With weights from a package, it includes their sha256, as ``weights_sha256``, because the file is not an input.
    """
    found = {key: value for key, value in plan.judges[judge].items() if key != "train"}
    return {**found, **({"weights_sha256": package_of(found["model"]).sha256} if found["weights"] == PACKAGE else {})}


def family_of(recipe: Section) -> str:
    """Return a digest that recipes share if they differ only in their seed.

    A judge compares their dreams.
    """
    return digest_of({**recipe, "seed": None})[:16]


def recipes_with_siblings(plan: Plan) -> set[str]:
    """Return the recipes from which another one differs only in its seed."""
    families = {name: family_of(recipe) for name, recipe in plan.recipes.items()}
    members = Counter(families.values())
    return {name for name, family in families.items() if members[family] > 1}


def study_facts(
    plan: Plan,
    runs: Iterable[str],
    recipes: Mapping[str, Section],
    judged_recipes: Mapping[str, Mapping[str, Sequence[str]]],
) -> dict[str, Any]:
    """Return the fields of `evaluation.tables.StudyFacts` for some runs and recipes, as JSON data."""
    return {
        "runs": {
            run: {
                "model": plan.config["runs"][run]["model"],
                "group": plan.run_points[run].group,
                "seed": plan.config["runs"][run].get("seed"),
            }
            for run in runs
        },
        "recipes": recipes,
        "recipe_groups": {recipe: plan.recipe_points[recipe].group for recipe in recipes},
        "names": plan.names,
        "judged_recipes": judged_recipes,
    }


def judged_jobs(plan: Plan, judge: str, jobs: Iterable[DreamPart]) -> list[DreamPart]:
    """Return those dream jobs whose dreams a judge evaluates."""
    return [job for job in jobs if is_judged(plan, judge, job.run, job.recipe)]


def judged_tables(plan: Plan, judge: str, jobs: Iterable[DreamPart]) -> list[str]:
    """Return the tables of a judge for the archives of dream jobs, without those that it does not evaluate."""
    folder, found = f"results/{plan.study}/judged/{judge}", judged_jobs(plan, judge, jobs)
    return [f"{folder}/{run}/{epoch_name(epoch)}/{recipe}{part}.csv" for run, epoch, recipe, part in found]


def pixel_tables(plan: Plan, jobs: Iterable[DreamPart]) -> list[str]:
    """Return the tables of image metrics for the archives of dream jobs."""
    folder = f"results/{plan.study}/pixels"
    return [f"{folder}/{run}/{epoch_name(epoch)}/{recipe}{part}.csv" for run, epoch, recipe, part in jobs]


def dreamt_archive(plan: Plan, run: str, epoch: str, recipe: str, part: str) -> str:
    """Return the archive of a dream job.

    The arguments are formatted as in paths. Raises UserError if the study has no such dreams.
    """
    plan.check_dreamer(run, epoch, recipe)
    return archive_path(plan.study, run, epoch, recipe, part)


def measured(plan: Plan, judges: Iterable[str], jobs: Sequence[DreamPart]) -> dict[str, list[str]]:
    """Return what is measured of the archives of dream jobs.

    These are metrics of images, what `judges` found, with their features, and each judge's sanity check.
    """
    tables = [table for judge in judges for table in judged_tables(plan, judge, jobs)]
    return {
        "pixels": pixel_tables(plan, jobs),
        "judged": tables,
        "features": [table.removesuffix(".csv") + ".safetensors" for table in tables],
        "checks": [f"results/{plan.study}/judged/{judge}/sanity.csv" for judge in judges],
    }


def checkpoints(plan: Plan) -> dict[str, list[str]]:
    """Return the weights and the histories of the checkpoints that dream, in the order of the study."""
    files = plan.checkpoints()
    return {
        "weights": [file for file in files if file.endswith(MODEL_FILE)],
        "histories": [file for file in files if file.endswith(HISTORY_FILE)],
    }
