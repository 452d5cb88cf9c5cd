"""A study without photographs, from a file of weights to its gallery."""

import re

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

from dreambirds.dream_job.archive import open_images
from dreambirds.dream_job.image_files import read_facts
from dreambirds.gallery.quiz import Selection, write_quiz
from dreambirds.models.checkpoint import read_metadata
from tests.helpers.studies import Study, count_dreams, tiny

CLASSES = ["Cyanocitta cristata (Blue Jay)", "king penguin", "crane", "Crane"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return a study of a network whose file records its classes, and of a judge that knows two of them."""
    folder = tmp_path_factory.mktemp("none")
    torch.manual_seed(0)
    state = timm.create_model("test_resnet", num_classes=len(CLASSES)).state_dict()
    torch.save({"state_dict": state, "classes": CLASSES}, folder / "net.pth")
    torch.save({"state_dict": timm.create_model("test_resnet", num_classes=2).state_dict()}, folder / "judge.pth")
    (folder / "classes.txt").write_text("Blue Jay\nKing Penguin\n")
    config = tiny() | {
        "dataset": {"source": "none", "image_size": 32},
        "runs": {"net": {"model": "test_resnet", "weights": "net.pth"}},
        "judges": {
            "other": {"weights": "judge.pth", "model": "test_resnet", "labels": "classes.txt", "image_size": 32}
        },
        "dreams": {
            "labels": ["blue jay", "king penguin"],
            "recipes": {
                "study": {"steps": [1, 3]},
                "lucid": {"preset": "lucid", "steps": [2], "variants": 2},
                "refined": {
                    "steps": [1],
                    "start": "dream",
                    "start_dream": {"recipe": "lucid", "label": "king penguin"},
                },
            },
        },
        "questions": {
            "q": {"text": "Which recipe?", "contrasts": [{"vary": "recipe", "measures": ["total_variation"]}]}
        },
    }
    config["judges"]["other"]["names"] = {"Cyanocitta_cristata": "Blue Jay"}
    return Study(folder, config)


def test_a_pretrained_network_is_dreamt_judged_and_shown(study):
    study.run()
    root = study.results
    outputs = ["Cyanocitta_cristata", "king_penguin", "crane_2", "Crane_3"]
    assert read_metadata(root / "runs/net/epoch-0000").labels == outputs
    dreams = pd.read_csv(root / "dreams.csv")
    assert set(dreams["label"]) == set(outputs[:2]) and set(dreams["class_name"]) == {
        "Cyanocitta cristata",
        "king penguin",
    }
    assert dreams["judge_probability"].notna().all() and dreams["total_variation"].notna().all()
    of_photographs = [
        "spectrum_distance",
        "nearest_pixels",
        "pixel_ratio",
        "feature_ratio",
        "nearest",
        "dreamer_distance",
    ]
    assert dreams[of_photographs].isna().all(axis=None)
    judge = pd.read_csv(root / "judges.csv").iloc[0]
    assert judge[["held_out", "held_out_top1", "held_out_probability", "shuffled_top1"]].isna().all()
    assert judge["matched"] == 2 and judge["unmatched"] == "crane_2 Crane_3" and 0 <= judge["noise_top1"] <= 1
    assert pd.read_csv(root / "runs.csv")["validation_accuracy"].isna().all()
    montages = {path.name for path in (root / "montages").rglob("*.png")}
    assert "recipe-by-class_epoch-0000_rescaled.png" in montages and not any("nearest" in name for name in montages)
    absent = [
        "dataset/classes.png",
        "runs/net/curves.png",
        "gallery/pictures/real",
        "runs/net/epoch-0000/training_state.safetensors",
    ]
    assert not [name for name in absent if (root / name).exists()]
    _check_variants_and_starts(root)
    gallery = (root / "gallery/index.html").read_text()
    assert "king penguin" in gallery and "<p>dataset image</p>" not in gallery
    page = re.sub('base64,[^"]+', "", (root / "findings/q/index.html").read_text())
    assert "Its accuracy on photographs is not known" in page
    assert "No photographs: the networks are not trained" in page and "nan" not in page.partition("<details>")[0]
    assert "validation accuracy" not in page and "feature ratio" not in (root / "compare.html").read_text()
    assert write_quiz(root, study.folder / "quiz.html", Selection(), count=4) == (4, 0)
    assert study.jobs() == {}


def _check_variants_and_starts(root):
    """Check that one recipe has sheets of two dreams, and that another one starts from the first of these."""
    dreams = root / "dreams/net/epoch-0000"
    for folder in (dreams, root / "gallery/pictures/dreams/net/epoch-0000"):
        assert Image.open(folder / "lucid/king_penguin/step-0002.png").size == (64, 32)
    assert Image.open(root / "gallery/sheets/net/epoch-0000/lucid/0.png").size == (64, 2 * 32)
    first, second = open_images(dreams / "lucid/king_penguin/step-0002.png")
    assert first.tobytes() != second.tobytes()
    for label in ("Cyanocitta_cristata", "king_penguin"):
        facts = read_facts(dreams / f"refined/{label}/step-0001.png")
        assert facts["start_dream"] == {
            **{"run": "net", "epoch": 0, "recipe": "lucid", "label": "king_penguin", "step": 2},
        }
        (refined,) = open_images(dreams / f"refined/{label}/step-0001.png")
        difference = np.asarray(refined, int) - np.asarray(first, int)
        assert 0 < np.abs(difference).mean() < np.abs(np.asarray(refined, int) - np.asarray(second, int)).mean()
    log = (root.parent / "logs/tiny/dream/net/epoch-0000/refined.log").stat().st_mtime
    assert log >= (dreams / "lucid/dreams.zip").stat().st_mtime, "the other recipe is dreamt first"


def test_another_class_computes_only_its_own_dreams(study):
    study.config["dreams"]["labels"].append("crane_2")
    jobs = study.jobs()
    assert jobs["dream"] == 3 and not {"import_checkpoint", "dataset", "judge_reference"} & jobs.keys()
    output = study.run(*(f"results/tiny/dreams/net/epoch-0000/{recipe}/dreams.zip" for recipe in ("study", "lucid")))
    assert count_dreams(output) == 3, "those of the new class: two kept steps of one recipe, one of the other"


def test_a_montage_of_photographs_is_refused(study):
    result = study.snakemake("-n", "results/tiny/montages/net/study/nearest_epoch-0000_raw.png")
    assert result.returncode and "the study 'tiny' has no photographs ('dataset.source: none')" in result.stdout
