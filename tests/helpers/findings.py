"""A synthetic study with an experiment: classes with hostile names, and known measurements."""

from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pandas as pd
from PIL import Image

from dreambirds.config.contrasts import Comparison
from dreambirds.evaluation.columns import JUDGES
from dreambirds.figures.plots import PLOTS
from tests.helpers.galleries import BAD, build_gallery, gallery_plan
from tests.helpers.values import write_finding_of

QUESTION = f"Is it so? {BAD}"
MEASURES = ["judge_probability", "judge_top1"]
COMPARED = [
    Comparison("epoch", "first", "last", {"step": ["last"], "view": ["raw"], "recipe": ["plain"]}, MEASURES),
    Comparison("view", "raw", "rescaled", {"epoch": ["last"], "step": ["last"]}, ["judge_probability"]),
    Comparison("run", None, "second", {"epoch": ["last"], "step": ["last"], "view": ["raw"]}, ["judge_top1"]),
]


def experiment_plan(names: int = 6):
    """Return a plan with two runs, three epochs, two recipes, `names` classes, and an experiment with `QUESTION`."""
    plan = gallery_plan(names=[f"{number} {BAD}" for number in range(names)])
    with_experiment = replace(plan, config={**plan.config, "experiment": {"question": QUESTION, "contrasts": []}})
    object.__setattr__(with_experiment, "comparisons", COMPARED)
    return with_experiment


def build_finding(plan, root: Path) -> Path:
    """Write the study below `root`, compute its finding, and return the finding's folder."""
    build_gallery(plan, root)
    with chdir(root):
        results = Path("results") / plan.study
        numbers = {"classes": 6, "held_out": 12, "held_out_top1": 0.9, "noise_top1": 0.1, "shuffled_top1": 0.15}
        judge = {"judge": "judge", "kind": "train", "model": BAD, **numbers}
        pd.DataFrame([judge]).reindex(columns=JUDGES).to_csv(results / "judges.csv", index=False)
        (results / "plots").mkdir()
        for name in PLOTS:
            Image.new("RGB", (8, 8), "teal").save(results / "plots" / f"{name}.png")
        write_finding_of(plan, results, results / "finding")
    return root / results / "finding"
