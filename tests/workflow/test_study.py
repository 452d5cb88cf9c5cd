"""The complete workflow on a tiny study; each test continues with the same study."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dreambirds.config import VIEWS
from dreambirds.dream_job.image_files import read_facts
from dreambirds.gallery.quiz import Selection, write_quiz
from dreambirds.io import digest_of
from dreambirds.plan import targets
from dreambirds.plan.paths import picture_path
from dreambirds.plan.plan import make_plan
from tests.helpers.studies import Study, count_jobs


def test_a_dry_run_prints_the_number_of_dreams(study):
    output = study.run("-n")
    assert "Study 'tiny': 12 dreams requested (2 checkpoints, 1 run, 1 recipe, 3 classes), 0 of them exist." in output
    assert "Expected: time unknown until the first epoch; more than " in output
    assert count_jobs(output)["dream"] == 2 and count_jobs(output)["train"] == 2


def test_a_single_result_is_created_by_name_and_nothing_else(study):
    name = "results/tiny/dreams/scratch/epoch-0000/study/blue_jay/step-0003.png"
    study.run(name)
    assert (study.folder / name).exists()
    assert not (study.results / "montages").exists() and not (study.results / "runs/scratch/epoch-0001").exists()


def test_the_study_creates_all_of_its_targets(study):
    output = study.run()
    plan = make_plan(study.config)
    files = targets.dreams(plan) + targets.montages(plan) + targets.films(plan) + targets.curves(plan)
    assert len(files) == 2 + 5 + 2 + 1
    root = Path("results/tiny/dreams")
    files += [str(picture_path(root, dream, view)) for dream in plan.dreams for view in VIEWS]
    assert [name for name in files if not (study.folder / name).stat().st_size] == []
    assert re.search(r"scratch epoch 1: loss [\d.]+, validation accuracy [\d.]+", output), "progress is printed"
    log = (study.folder / "results/logs/tiny/train/scratch/epoch-0001.log").read_text()
    assert "scratch epoch 1: loss" in log, "and written to the log"
    history = pd.read_csv(study.results / "runs/scratch/history.csv")
    assert list(history["epoch"]) == [0, 1] and history["validation_accuracy"].between(0, 1).all()
    recipes = pd.read_csv(study.results / "recipes.csv")
    assert json.loads(recipes.loc[0, "steps"]) == [1, 3] and recipes.loc[0, "objective"] == "logit"


def test_a_finished_study_has_nothing_to_do(study):
    output = study.run()
    assert "Nothing to be done" in output and "12 of them exist." in output and "Expected" not in output


def test_a_later_epoch_is_estimated_from_the_times_of_earlier_jobs(study):
    config = copy.deepcopy(study.config)
    config["runs"]["scratch"]["epochs"].append(5)
    output = Study(study.folder, config).run("-n")
    assert re.search(r"^Expected: about \d+ s on 2 cores; about \d+ MB of disk\.$", output, re.MULTILINE), output


def test_images_contain_their_provenance(study):
    folder = study.results / "dreams/scratch/epoch-0001/study/yellow_warbler"
    facts = read_facts(folder / "step-0003-rescaled.png")
    expected = {"run": "scratch", "epoch": 1, "label": "yellow_warbler", "recipe": "study", "step": 3, "seed": 0}
    assert {key: facts[key] for key in expected} == expected and facts["view"] == "rescaled"
    assert facts["parameters"]["blur_sigma"] == 0.5 and set(facts["versions"]) >= {"torch", "timm", "dreambirds"}
    montage = read_facts(study.results / "montages/scratch/study/class-by-epoch_step-0003_rescaled.png")
    assert montage["checkpoints"]["scratch/1"] == facts["checkpoint_sha256"]
    assert montage["recipes"]["study"] == facts["parameters"]
    film = read_facts(study.results / "films/scratch/study/epochs_step-0003_rescaled.gif")
    assert film["checkpoints"] == montage["checkpoints"]


def test_the_trace_contains_every_step_and_the_images_differ(study):
    folder = study.results / "dreams/scratch/epoch-0001/study"
    trace = pd.read_csv(folder / "blue_jay/trace.csv")
    assert list(trace.columns) == ["step", "loss", "logit", "probability", "prediction", "mean_abs_change", "distance"]
    assert list(trace["step"]) == [0, 1, 2, 3] and trace["mean_abs_change"].is_monotonic_increasing
    assert set(trace["prediction"]) <= set(study.config["dataset"]["labels"])
    pixels = [np.asarray(Image.open(folder / label / "step-0003.png")) for label in ("blue_jay", "yellow_warbler")]
    assert not np.array_equal(*pixels) and pixels[0].shape == (32, 32, 3)


def test_two_more_epochs_train_two_epochs_and_give_the_same_bits_as_uninterrupted_training(study, tmp_path):
    before = {path: path.read_bytes() for path in (study.results / "runs/scratch/epoch-0001").iterdir()}
    study.config["runs"]["scratch"]["epochs"] = [0, 1, 3]
    study.config["dreams"]["recipes"]["rare"] = {"preset": "portrait", "size": 40, "steps": [2], "epochs": ["last"]}
    output = study.run()
    assert count_jobs(output)["canvas"] == 1 and "dataset" not in count_jobs(output)
    assert count_jobs(output)["train"] == 1 and count_jobs(output)["dream"] == 1 + 1, (
        "the rare recipe dreams at the last epoch only"
    )
    assert "scratch epoch 2" in output and "scratch epoch 3" in output and "scratch epoch 1:" not in output
    assert {path: path.read_bytes() for path in before} == before
    name = "results/tiny/runs/scratch/epoch-0003/model.safetensors"
    other = type(study)(tmp_path, copy.deepcopy(study.config))
    other.config["runs"]["scratch"]["epochs"] = [3]
    other.run(name)
    assert (other.folder / name).read_bytes() == (study.folder / name).read_bytes()


def test_a_recipe_for_the_last_epoch_is_shown_only_there(study):
    assert [path.parts[-2] for path in sorted((study.results / "dreams").glob("*/*/rare"))] == ["epoch-0003"]
    names = {path.name for path in (study.results / "montages/scratch/rare").iterdir()}
    assert names == {
        "class-by-epoch_step-0002_raw.png",
        "class-by-epoch_step-0002_rescaled.png",
        "class-by-step_epoch-0003_rescaled.png",
        "nearest_epoch-0003_rescaled.png",
    }
    assert not (study.results / "films/scratch/rare").exists()
    montage = read_facts(study.results / "montages/scratch/recipe-by-class_epoch-0003_rescaled.png")
    assert set(montage["recipes"]) == {"study", "rare"} and "epochs" not in montage["recipes"]["rare"]
    dreams = pd.read_csv(study.results / "dreams.csv")
    assert set(dreams.loc[dreams["recipe"] == "rare", "epoch"]) == {3} and len(dreams) == 3 * (3 * 2 + 1)
    assert "Nothing to be done" in study.run()


def test_dreams_are_compared_with_photographs_of_their_class_at_their_size(study):
    canvas = study.results / "dataset/canvas-40"
    original, larger = (pd.read_csv(folder / "images.csv", dtype=str) for folder in (canvas.parent, canvas))
    assert original[["path", "split", "label"]].equals(larger[["path", "split", "label"]])
    assert np.load(canvas / "pictures.npy", mmap_mode="r").shape[1:] == (3, 40, 40)
    for label in study.config["dataset"]["labels"]:
        path = study.results / "dreams/scratch/epoch-0003/rare" / label / "step-0002.png"
        training = larger[(larger["label"] == label) & (larger["split"] == "train")]
        facts = read_facts(path)
        assert Image.open(path).size == (40, 40) and facts["parameters"]["objective"]["feature_match"] == 1.0
        assert facts["references_sha256"] == digest_of(list(training["sha256"]))
    plain = read_facts(study.results / "dreams/scratch/epoch-0003/study/blue_jay/step-0003.png")
    assert "references_sha256" not in plain


def test_the_answers_of_people_to_a_quiz_are_a_judge(study):
    page, table = study.folder / "quiz.html", study.folder / "answers.csv"
    count = write_quiz(study.results, page, Selection(), count=6, controls=3)
    shown = json.loads(page.read_text().partition('id="facts">')[2].partition("</script>")[0])["images"]
    answers = [f"{image['sha256']},ann,blue jay,free" for image in shown]
    table.write_text("\n".join(["picture_sha256,person,answer,kind", *answers]) + "\n")
    judged = Study(study.folder, {**study.config, "judges": {"person": {"answers": str(table)}}})
    output = judged.run("results/tiny/dreams.csv", "results/tiny/plots/recipes.png")
    assert count_jobs(output)["judge_answers"] == 4 and "dream" not in count_jobs(output)
    dreams, judges = (pd.read_csv(study.results / f"{name}.csv") for name in ("dreams", "judges"))
    seen = dreams[dreams["judge_probability"].notna()]
    assert count == (6, 3) and len(seen) == 6 and set(dreams["judge"]) == {"person"}
    assert (seen["judge_top1"] == (seen["label"] == "blue_jay")).all() and set(seen["judge_prediction"]) == {"blue_jay"}
    assert judges[["held_out", "kind", "model"]].iloc[0].tolist() == [3, "answers", "1 participant"]
    assert judges["held_out_top1"].item() == pytest.approx(1 / 3, abs=1e-5)


def test_bad_input_gives_a_one_line_error_before_any_job(fresh):
    fresh.config["runs"]["scratch"]["model"] = "test_resnat"
    result = fresh.snakemake()
    assert result.returncode != 0
    assert "runs.scratch.model: timm has no model 'test_resnat'; did you mean 'test_resnet'?" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (fresh.folder / "results").exists()


def test_a_grid_is_expanded_and_a_moved_study_is_still_finished(fresh, tmp_path_factory):
    fresh.config["dreams"]["recipes"] = {"grid": {"steps": [1], "blur_sigma": [0.25, {"random": [0.1, 1.0]}]}}
    fresh.config["runs"]["scratch"]["epochs"] = [0]
    fresh.run("dreams_only")
    names = {path.name for path in (fresh.results / "dreams/scratch/epoch-0000").iterdir()}
    assert names == {"grid-blur_sigma-0.25", "grid-blur_sigma-random-0.1-1"}
    moved = tmp_path_factory.mktemp("moved") / "study"
    fresh.folder.rename(moved)
    fresh.folder = moved
    assert "Nothing to be done" in fresh.run("dreams_only")


def test_the_error_for_an_unknown_target_lists_the_existing_ones(fresh):
    result = fresh.snakemake("results/tiny/montages/scratch/study/class-by-epoch_step-0004_raw.png")
    assert result.returncode != 0 and "has no dreams with the step 4; available: 1, 3" in result.stdout
