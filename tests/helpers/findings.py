"""A synthetic study with a question: classes with hostile names, and known measurements."""

from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pandas as pd

from dreambirds.config import VIEWS
from dreambirds.config.contrasts import Comparison
from dreambirds.config.questions import Question, run_factors
from dreambirds.dream_job.archive import Picture
from dreambirds.evaluation.columns import JUDGES
from dreambirds.evaluation.tables import Measured
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.paths import dream_folder, picture_name
from tests.helpers.galleries import BAD, build_gallery, gallery_plan
from tests.helpers.values import write_finding_of

TEXT = f"Is it so? {BAD}"
MEASURES = ["judge_probability", "judge_top1"]
COMPARED = [
    Comparison("epoch", "first", "last", {"step": ["last"], "view": ["raw"], "recipe": ["plain"]}, MEASURES),
    Comparison("view", "raw", "rescaled", {"epoch": ["last"], "step": ["last"]}, ["judge_probability"]),
    Comparison("run", None, "second", {"epoch": ["last"], "step": ["last"], "view": ["raw"]}, ["judge_top1"]),
]


def question_plan(names: int = 6):
    """Return a plan with two runs, three epochs, two recipes, `names` classes, and a question ``q`` with `TEXT`."""
    plan = gallery_plan(names=[f"{number} {BAD}" for number in range(names)])
    section = {"text": TEXT, "contrasts": [], "runs": None, "epochs": None, "recipes": None}
    asking = replace(plan, config={**plan.config, "questions": {"q": section}})
    origins = {recipe: recipe for recipe in plan.recipes}
    factors = run_factors(plan.config["runs"], plan.run_points)
    question = Question(TEXT, plan.dreaming_epochs, plan.recipes, origins, factors, COMPARED)
    object.__setattr__(asking, "questions", {"q": question})
    return asking


def picture_of(root: Path, dream, view: str) -> Picture:
    """Return the image of a dream in the archive of its job."""
    folder = dream_folder(root, dream.run, dream.epoch, dream.recipe)
    return Picture(folder / "dreams.zip", picture_name(dream.label, dream.step, view))


def build_finding(plan, root: Path) -> Path:
    """Write the study below `root`, answer its question, and return the folder of the answer."""
    build_gallery(plan, root)
    with chdir(root):
        results = Path("results") / plan.study
        numbers = {"classes": 6, "held_out": 12, "held_out_top1": 0.9, "noise_top1": 0.1, "shuffled_top1": 0.15}
        judge = {"judge": "judge", "kind": "train", "model": BAD, **numbers}
        for run, epochs in {"first": plan.epochs("first"), "second": plan.epochs("second")}.items():
            history = results / "runs" / run / f"epoch-{epochs[-1]:04d}" / "history.csv"
            history.parent.mkdir(parents=True)
            pd.DataFrame({"epoch": epochs, "validation_accuracy": 0.5}).to_csv(history, index=False)
        views = [
            {
                **{key: getattr(dream, key) for key in DREAM},
                "view": view,
                "picture": picture_of(results / "dreams", dream, view),
            }
            for dream in plan.dreams
            for view in VIEWS
        ]
        dreams, judges = pd.read_csv(results / "dreams.csv"), pd.DataFrame([judge]).reindex(columns=JUDGES)
        measured = Measured(dreams, pd.DataFrame(), judges, pd.DataFrame(views))
        (results / "findings" / "q").mkdir(parents=True)
        write_finding_of(plan, measured, results, "q", results / "findings" / "q")
    return root / results / "findings" / "q"
