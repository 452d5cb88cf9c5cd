"""The workflow on a folder of photographs, some of which are corrupt."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dreambirds.data.synthetic.bird import draw_bird

REAL = Path(os.environ.get("DREAMBIRDS_REAL", Path(__file__).parents[3] / "shared" / "birds")) / "photos" / "cub10"


def test_the_complete_workflow_runs_on_a_folder_of_photographs(fresh):
    photographs = fresh.folder / "my photographs"
    for index, (folder, label) in enumerate([("007.Blue Jay's", "blue_jay"), ("Großer Reiher", "great_blue_heron")]):
        (photographs / folder).mkdir(parents=True)
        for number in range(5):
            bird = draw_bird(label, np.random.default_rng([index, number]), 60)
            bird.convert(["RGB", "L", "CMYK", "RGB", "RGB"][number]).save(photographs / folder / f"{number}.jpg")
    (photographs / "Großer Reiher" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    fresh.config["dataset"] = {"source": "folder", "path": str(photographs), "image_size": 32}
    fresh.config["dreams"] = {"recipes": {"photo": {"start": "photograph", "steps": [2]}}}
    fresh.config["runs"]["scratch"]["epochs"] = [1]
    output = fresh.run()
    assert "broken.jpg' (not a readable image)" in output
    table = (fresh.results / "dataset/images.csv").read_bytes()
    images = pd.read_csv(io.BytesIO(table), keep_default_na=False)
    assert (images["error"] != "").sum() == 1 and len(images) == 11
    assert list(pd.read_csv(fresh.results / "dataset/labels.csv")["class_name"]) == ["007.Blue Jay's", "Großer Reiher"]
    dream = fresh.results / "dreams/scratch/epoch-0001/photo/007_Blue_Jay_s/step-0002.png"
    assert Image.open(dream).size == (32, 32)
    classes = pd.read_csv(fresh.results / "dataset/classes.csv")
    assert classes[["train", "validation", "left_out"]].to_numpy().tolist() == [[4, 1, 0], [4, 1, 1]]
    assert all(Image.open(fresh.results / f"dataset/{name}.png").width > 700 for name in ("classes", "sizes"))
    assert "Nothing to be done" in fresh.run()
    shutil.rmtree(fresh.results / "dataset")
    assert "prepared 10 images of 2 classes, 10 of them from the store; 1 skipped" in fresh.run("dataset_only")
    assert (fresh.results / "dataset/images.csv").read_bytes() == table, "the table is unchanged"
    Image.new("RGB", (50, 50), "teal").save(photographs / "Großer Reiher" / "new.png")
    assert "dataset" in fresh.run("-n").partition("Job stats")[2], "a new photograph is detected"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real photographs at {REAL.parent.parent.name}/photos/cub10")
def test_real_photographs_train_and_dream(fresh):
    labels = ["American_Goldfinch", "Blue_Jay", "White_Pelican"]
    fresh.config["dataset"] = {"source": "folder", "path": str(REAL), "labels": labels, "image_size": 32}
    fresh.run()
    counts = pd.read_csv(fresh.results / "dataset/labels.csv")
    assert list(counts["class_name"]) == ["American Goldfinch", "Blue Jay", "White Pelican"]
    assert list(counts["train"] + counts["validation"]) == [60, 60, 50]
    history = pd.read_csv(fresh.results / "runs/scratch/history.csv")
    assert history["train_loss"].notna().sum() == 1
