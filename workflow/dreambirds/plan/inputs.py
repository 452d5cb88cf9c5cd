"""Inputs of jobs, and their fingerprints, which rerun a job if an input changes."""

from collections import Counter
from collections.abc import Iterable, Sequence

from dreambirds.config.judges import judge_kind
from dreambirds.config.load import Section
from dreambirds.config.recipes import start_file
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.errors import UserError
from dreambirds.io import digest_of, expand
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint_facts import weights_files
from dreambirds.models.names import model_files
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


def weights(plan: Plan, judge: str, **_: str) -> str:
    """Return the file of a judge's weights, the first one of a folder; other wildcards of its jobs do not matter."""
    keys = plan.judges[judge]
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
    return [str(file) for file in (*labels, *weights_files(expand(keys["weights"]))[1:], *model_files(keys["model"]))]


def judged_runs(plan: Plan, judge: str) -> list[str]:
    """Return the runs whose dreams a judge evaluates: all that dream, except its own."""
    return [run for run in plan.dreaming_epochs if run != plan.judges[judge]["run"]]


def judged_archive(plan: Plan, judge: str, run: str, epoch: str, recipe: str, part: str) -> str:
    """Return the archive of the dreams that a judge job evaluates.

    The arguments are formatted as in paths. Raises UserError if the study has no such dreams, or if the judge does not
    evaluate those of the run.
    """
    archive = dreamt_archive(plan, run, epoch, recipe, part)
    if run not in judged_runs(plan, judge):
        raise UserError(f"the judge '{judge}' does not judge the run '{run}', because it is that run; choose another")
    return archive


def section(plan: Plan, judge: str) -> Section:
    """Return the config of a judge without `train`, which its weights reflect."""
    return {key: value for key, value in plan.judges[judge].items() if key != "train"}


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


def judged_tables(plan: Plan, judge: str, jobs: Iterable[DreamPart]) -> list[str]:
    """Return the tables of a judge for the archives of dream jobs, without those of runs that it does not evaluate."""
    folder, runs = f"results/{plan.study}/judged/{judge}", judged_runs(plan, judge)
    found = [job for job in jobs if job.run in runs]
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
