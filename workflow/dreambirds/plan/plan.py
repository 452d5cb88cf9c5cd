"""Plan of a study: its checked config, classes, recipes and table of dreams.

Targets, montage axes and file names all come from the table. Only rules, this package and `startup` use a plan; jobs
receive plain values.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from dreambirds.config.checkpoints import ForeignCheckpoint
from dreambirds.config.class_names import STUDY, check_outputs, dreamt_labels, head_rows, network_names, study_labels
from dreambirds.config.committees import Committees, list_committees
from dreambirds.config.dreamers import Epochs
from dreambirds.config.grids import Grids, Point, as_written, written_paths
from dreambirds.config.judges import check_judge_dreams, check_judge_names, trained_judges
from dreambirds.config.load import Section
from dreambirds.config.questions import Question, list_questions
from dreambirds.config.recipes import dream_shape
from dreambirds.config.runs import parse_epoch
from dreambirds.config.study import check_all_but_labels, expand_config
from dreambirds.config.targets import Target, check_recipes_of_targets, list_targets
from dreambirds.data.labels import Label, names_by_label
from dreambirds.data.sources.catalog import has_photographs, locate, refuse_left_out
from dreambirds.errors import UserError, error_context
from dreambirds.models import MODEL_FILE
from dreambirds.plan.dream_table import NUMBERS, Dream, list_dreams, select_dreams
from dreambirds.plan.paths import HISTORY_FILE, archive_path, checkpoint_folder
from dreambirds.plan.start_dreams import check_start_dreams
from dreambirds.shapes import sheet_shape

LOGS = "logs"


class DreamPart(NamedTuple):
    """One dream job: those labels of a (run, epoch, recipe) that are in a part (see `Plan.parts`)."""

    run: str
    epoch: int | float
    recipe: str
    part: str


@dataclass(frozen=True)
class Plan:
    """A checked config with all defaults, and what follows from it.

    The runs and judges of `config` are single ones, not grids. `labels` are all classes (without photographs, those of
    the first run's network), `dreamt` the classes to dream of, `targets` what else to dream of by label, `recipes` the
    recipes with grids expanded, and `dreamers` the epochs that dream, by recipe and run. `foreign` are the checkpoints
    of runs that were trained elsewhere, by run and epoch. `grids` contains the points of runs and judges, and
    `recipe_points` those of recipes.
    """

    config: Section
    labels: list[Label]
    dreamt: list[Label]
    targets: dict[str, Target]
    recipes: dict[str, Section]
    dreamers: dict[str, dict[str, Epochs]]
    foreign: dict[str, dict[int | float, ForeignCheckpoint]]
    grids: Grids
    recipe_points: dict[str, Point]

    @property
    def study(self) -> str:
        """The study's name."""
        name: str = self.config["study"]
        return name

    @property
    def photographs(self) -> bool:
        """Whether the study has photographs, or drawn birds; without, its networks are not trained."""
        return has_photographs(self.config["dataset"])

    @property
    def judges(self) -> dict[str, Section]:
        """The config sections of the judges, by name, in order."""
        judges: dict[str, Section] = self.config["judges"]
        return judges

    @property
    def run_points(self) -> dict[str, Point]:
        """The point of a grid that each run is, in the order of the runs."""
        return self.grids.runs

    @property
    def resolved(self) -> Section:
        """The config with all defaults, and with its grids as lists: it plans the same study."""
        return as_written(self.config, self.grids)

    @cached_property
    def committees(self) -> Committees:
        """The runs whose networks take turns with that of a run in its dreams of a recipe, if there are any."""
        origins = {recipe: point.origin for recipe, point in self.recipe_points.items()}
        return list_committees(self.recipes, self.dreamers, self.config["runs"], self.run_points, origins)

    def dreaming_networks(self, run: str, recipe: str) -> list[str]:
        """Return the runs whose networks dream a recipe together, `run` first."""
        return [run, *self.committees.get((run, recipe), ())]

    @cached_property
    def networks(self) -> dict[str, Section]:
        """Sections of all networks with checkpoints in the study's folder, by name: runs, and judges with `train`."""
        return {**self.config["runs"], **trained_judges(self.judges)}

    @cached_property
    def trained(self) -> dict[str, Section]:
        """Those of `networks` that the study trains."""
        return {name: keys for name, keys in self.networks.items() if name not in self.foreign}

    def path(self, run: str) -> str:
        """Return the key path of a run, or of the training section of a judge."""
        if run in self.run_points:
            return f"runs.{self.run_points[run].origin}"
        return f"judges.{self.grids.judges[run].origin if run in self.grids.judges else run}.train"

    def epochs(self, run: str) -> list[int | float]:
        """Return the epochs whose checkpoints a run keeps, in ascending order."""
        kept: list[int | float] = self.networks[run]["epochs"]
        return kept

    def class_names(self, run: str) -> tuple[list[str], str]:
        """Return the names of a network's outputs, in their order, and where they come from.

        They are the study's labels if the network has no others, or those that the labels were made of. Raises
        UserError if its files record different ones.
        """
        return self._class_names.get(run) or ([label.label for label in self.labels], STUDY)

    @cached_property
    def _class_names(self) -> dict[str, tuple[list[str], str]]:
        found, labels = {}, [label.label for label in self.labels]
        for run, checkpoints in self.foreign.items():
            keys = self.networks[run]
            with error_context(self.path(run)):
                names, origin = network_names(keys, checkpoints.values(), self.photographs)
            same = names == [label.folder for label in self.labels] and not keys["names"]
            found[run] = (labels if names is None or same else names), origin
        return found

    @property
    def steps(self) -> dict[str, list[int]]:
        """The steps that each recipe keeps, in ascending order."""
        return {recipe: parameters["steps"] for recipe, parameters in self.recipes.items()}

    @cached_property
    def dreaming_epochs(self) -> dict[str, dict[str, Epochs]]:
        """The epochs that dream, by run and recipe, in ascending order.

        Runs without dreams are omitted.
        """
        recipes = {
            run: {recipe: dreamers[run] for recipe, dreamers in self.dreamers.items() if run in dreamers}
            for run in self.config["runs"]
        }
        return {run: epochs for run, epochs in recipes.items() if epochs}

    @property
    def names(self) -> dict[str, str]:
        """The display names of the classes and of the other targets to dream of, by label."""
        targets = {label: target.name for label, target in self.targets.items()}
        return {label.label: label.name for label in self.dreamt} | targets

    @cached_property
    def dreams(self) -> list[Dream]:
        """The table of the study's dreams; do not modify it."""
        return list_dreams(self.dreaming_epochs, self.steps, self.names)

    @cached_property
    def dream_jobs(self) -> list[DreamPart]:
        """The dream jobs, in the order of the table of dreams.

        There are far fewer than dreams, so what depends only on them is quick also for a large study.
        """
        return [
            DreamPart(run, epoch, recipe, part)
            for run, recipes in self.dreaming_epochs.items()
            for epoch in sorted(set().union(*recipes.values()))
            for recipe, epochs in recipes.items()
            if epoch in epochs
            for part in self.parts
        ]

    def count_dreams(self, jobs: list[DreamPart]) -> int:
        """Return the number of dreams of some dream jobs: one per label and kept step."""
        return sum(len(self.parts[job.part]) * len(self.recipes[job.recipe]["steps"]) for job in jobs)

    @cached_property
    def questions(self) -> dict[str, Question]:
        """The study's questions by name."""
        return list_questions(
            self.config, self.recipes, self.dreaming_epochs, list(self.names), self.run_points, self.recipe_points
        )

    @cached_property
    def parts(self) -> dict[str, dict[str, str]]:
        """The names of the targets of each dream job of a (run, epoch, recipe), by part and label.

        A part is ``-003``, or empty if one job dreams of all labels. It depends on the label's position among all
        trained labels, so removing a class moves no other. Other targets follow the classes.
        """
        size, names = self.config["dreams"]["labels_per_job"], self.names
        if size is None:
            return {"": names}
        parts: dict[str, dict[str, str]] = {}
        for index, label in enumerate([*(label.label for label in self.labels), *self.targets]):
            if label in names:
                parts.setdefault(f"-{index // size:03d}", {})[label] = names[label]
        return parts

    def shape(self, recipe: str) -> tuple[int, int]:
        """Return (height, width) of a recipe's images, in pixels.

        It has the aspect ratio of the data set.
        """
        return dream_shape(self.recipes[recipe], self.config["dataset"])

    def sheet_shape(self, recipe: str) -> tuple[int, int]:
        """Return (height, width) of a recipe's image files, in pixels: sheets, if it has variants."""
        return sheet_shape(self.shape(recipe), self.recipes[recipe]["variants"])

    def select(self, **values: Any) -> list[Dream]:
        """Return the dreams whose columns have the requested values.

        Raises UserError if there are none.
        """
        return select_dreams(self.dreams, self.study, values)

    def check_dreamer(self, run: str, epoch: str, recipe: str) -> None:
        """Raise UserError unless the epoch, formatted as in paths, dreams the recipe."""
        if parse_epoch(epoch) not in self.dreamers[recipe].get(run, ()):
            self.select(run=run, epoch=epoch, recipe=recipe)

    def archives(self, **values: Any) -> list[str]:
        """Return the archives of the dream jobs with the selected dreams, in the order of the study.

        Raises UserError if there are none.
        """
        wanted = {name: NUMBERS.get(name, str)(value) for name, value in values.items()}

        def fits(job: DreamPart) -> bool:
            found: dict[str, Collection[Any]] = {"run": [job.run], "epoch": [job.epoch], "recipe": [job.recipe]}
            found |= {"label": self.parts[job.part], "step": self.recipes[job.recipe]["steps"]}
            return all(wanted[name] in found[name] for name in found if name in wanted)

        jobs = [job for job in self.dream_jobs if fits(job)]
        if not jobs:
            self.select(**values)
        return [archive_path(self.study, *job) for job in jobs]

    def dreaming_checkpoints(self) -> list[tuple[str, int | float]]:
        """Return the run and epoch of each checkpoint that dreams."""
        return list(dict.fromkeys((job.run, job.epoch) for job in self.dream_jobs))

    def checkpoints(self) -> list[str]:
        """Return the weights and histories of the checkpoints that dream."""
        folders = [checkpoint_folder(self.study, run, epoch) for run, epoch in self.dreaming_checkpoints()]
        return [f"{folder}/{file}" for folder in folders for file in (MODEL_FILE, HISTORY_FILE)]


def make_plan(config: Section) -> Plan:
    """Return the plan of a study.

    `config` is the content of its YAML file, which is not changed. Raises UserError for anything in it that cannot
    be run.
    """
    config, grids = expand_config(config)
    if config["study"].casefold() == LOGS:
        raise UserError(f"study: '{config['study']}' is reserved for the folder of logs; choose another name")
    with written_paths(grids):
        checked = check_all_but_labels(locate(config) | {"provenance": None}, grids)
        dataset = checked.config["dataset"]
        labels = study_labels(dataset, checked.config["runs"], checked.foreign)
        check_judge_names(checked.config["judges"], labels)
        dreams = checked.config["dreams"]
        targets = list_targets(dreams["targets"], labels)
        check_recipes_of_targets(checked.recipes, targets)
        refuse_left_out(dataset, labels, dreams["labels"])
        dreamt = dreamt_labels(labels, dreams["labels"], has_photographs(dataset), others=bool(targets))
        plan = Plan(labels=labels, dreamt=dreamt, targets=targets, **vars(checked))
        for run in plan.foreign:
            names, _ = plan.class_names(run)
            mixed = {label for target in targets.values() for label in target.facts.get("classes", ())}
            needed = [label for label in labels if label in dreamt or label.label in mixed]
            with error_context(plan.path(run)):
                check_outputs(labels, needed, names, plan.config["runs"][run])
        for run, keys in plan.trained.items():
            with error_context(plan.path(run)):
                names_by_label(labels, keys["names"])
                if keys["labels"]:
                    head_rows(labels, keys)
        dreaming = [plan.dreaming_networks(run, recipe) for recipe, epochs in plan.dreamers.items() for run in epochs]
        check_judge_dreams(plan.judges, plan.study, dreaming)
        check_start_dreams(plan)
        _ = plan.questions  # raises UserError for an impossible one
    return plan
