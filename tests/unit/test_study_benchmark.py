"""What the benchmark of a whole study counts, against counting by hand."""

import pandas as pd
import study

from dreambirds.study.plan import make_plan


def test_passes_are_counted_as_they_are_made():
    config = {
        "dataset": {"image_size": 64},
        "runs": {
            "plain": {"model": "test_resnet", "epochs": [0, 1, 3], "batch_size": 8},
            "hard": {
                "model": "test_resnet",
                "epochs": [2],
                "batch_size": 4,
                "adversarial": {"length": 1.0, "steps": 3, "ramp_epochs": 1},
            },
        },
        "dreams": {
            "labels": ["blue_jay", "northern_cardinal"],
            "recipes": {"a": {"steps": [5, 20]}, "b": {"steps": [7]}},
        },
    }
    plan = make_plan(config)
    images = pd.DataFrame({"split": ["train"] * 17 + ["validation"] * 5})
    plain, hard = (study.count_training(plan, run, images) for run in ("plain", "hard"))
    assert plain == {"update": 3 * 3, "harder": 0, "validate": 4 * 5}, "17 pictures are three batches of 8"
    assert hard == {"update": 2 * 5, "harder": 2 * 5 * 3, "validate": 3 * 5}
    assert study.count_dreaming(plan, "plain") == 3 * 2 * (20 + 7) and study.count_dreaming(plan, "hard") == 2 * 27
