"""The plan of a study: its dreams, targets, and image shapes."""

import io
import os

import pytest

from dreambirds.errors import UserError
from dreambirds.plan import inputs, targets
from dreambirds.plan.checkpoints import previous_checkpoint, training_settings
from dreambirds.plan.dream_table import Dream
from dreambirds.plan.inputs import dreamer, picture_archive, statistics
from dreambirds.plan.plan import make_plan
from dreambirds.startup.memory_profile import check_models
from dreambirds.startup.preflight import announce_study
from tests.helpers.plans import config


def test_the_table_has_one_row_per_dream_and_defaults_are_filled_in():
    plan = make_plan(config(runs__other={"model": "test_vit", "epochs": [3]}))
    assert len(plan.dreams) == (3 + 1) * 1 * 2 * 2
    assert list(Dream._fields) == ["run", "epoch", "recipe", "label", "step", "last"]
    assert sum(dream.last for dream in plan.dreams) == len(plan.dreams) / 2
    assert plan.config["runs"]["other"]["label_smoothing"] == 0.1
    assert plan.config["runs"]["other"]["augmentation"]["flip"] == 0.5
    assert plan.recipes["study"]["objective"] == "logit"
    assert list(plan.names.values()) == ["Northern Cardinal", "Blue Jay"], "in the order of the data set"


def test_a_checkpoint_continues_the_previous_one_and_its_settings_exclude_the_epochs():
    plan = make_plan(config())
    assert not any(previous_checkpoint(plan, "scratch", 0).values())
    assert (
        previous_checkpoint(plan, "scratch", 4)["before"] == "results/default/runs/scratch/epoch-0001/model.safetensors"
    )
    assert "epochs" not in training_settings(plan, "scratch")
    with pytest.raises(UserError, match="keeps no checkpoint of epoch 2"):
        previous_checkpoint(plan, "scratch", 2)


def test_selecting_missing_dreams_lists_the_existing_ones():
    with pytest.raises(UserError, match="the study 'default' has no dreams with the step 3; available: 2, 5"):
        make_plan(config()).select(step="0003")


def test_a_label_can_be_selected_by_class_name_and_a_recipe_contains_what_affects_its_dreams():
    plan = make_plan(config(dreams__labels=["Blue Jay"]))
    assert list(plan.names) == ["blue_jay"]
    other = make_plan(config(dreams__labels=["Blue Jay"], dreams__recipes__study__seed=1))
    restyled = make_plan(config(dreams__labels=["Blue Jay"], montage__cell_size=50))
    assert plan.recipes["study"] == restyled.recipes["study"] != other.recipes["study"]


def test_targets_list_each_montage_and_film_once_and_skip_films_with_a_single_frame():
    plan = make_plan(config())
    files = targets.montages(plan) + targets.films(plan)
    assert len(files) == len(set(files)) == 5 + 2
    assert "results/default/montages/scratch/study/class-by-epoch_step-0005_rescaled.png" in files
    assert targets.films(make_plan(config(dreams__recipes__study__steps=[2], runs__scratch__epochs=[1]))) == []


RARE = {"steps": [3], "runs": ["other", "scratch"], "epochs": ["last", 0]}


@pytest.fixture(scope="module")
def gaps():
    """Return a plan of two runs and two recipes, the second for some checkpoints only."""
    return make_plan(config(runs__other={"model": "test_resnet", "epochs": [0.5, 3]}, dreams__recipes__rare=RARE))


def test_a_recipe_is_dreamt_by_its_runs_and_epochs_in_the_order_of_the_study(gaps):
    assert gaps.dreamers["rare"] == {"scratch": [0, 4], "other": [3]}, "only one of its runs keeps epoch 0"
    assert gaps.dreaming_epochs["other"] == {"study": [0.5, 3], "rare": [3]}
    jobs = [job[:3] for job in gaps.dream_jobs]
    assert list(jobs) == [
        *[("scratch", 0, "study"), ("scratch", 0, "rare"), ("scratch", 1, "study")],
        *[("scratch", 4, "study"), ("scratch", 4, "rare")],
        *[("other", 0.5, "study"), ("other", 3, "study"), ("other", 3, "rare")],
    ]
    assert len(gaps.archives(recipe="rare")) == 3 and len(gaps.archives()) == 8


def test_restricting_a_recipe_changes_no_parameter_and_the_first_epoch_may_be_the_last(gaps):
    free = make_plan(config(runs__other={"model": "test_resnet", "epochs": [0.5, 3]}, dreams__recipes__rare__steps=[3]))
    assert gaps.recipes == free.recipes and not {"runs", "epochs"} & set(gaps.recipes["rare"])
    one = make_plan(config(runs__scratch__epochs=[0], dreams__recipes__study__epochs=[0, "last"]))
    assert one.dreamers == {"study": {"scratch": [0]}}
    assert free.dreamers["rare"] == {"scratch": [0, 1, 4], "other": [0.5, 3]}


def test_two_recipes_may_be_equal_for_different_checkpoints_and_a_whole_grid_can_be_restricted():
    twice = {"early": {"steps": [2], "epochs": [0, 1]}, "late": {"steps": [2], "epochs": ["last"]}}
    plan = make_plan(config(dreams__recipes=twice))
    assert plan.recipes["early"] == plan.recipes["late"] and len(plan.archives()) == 3
    grid = make_plan(config(dreams__recipes__study={"steps": [2], "seed": [0, 1], "runs": ["scratch"], "epochs": [1]}))
    assert set(grid.dreamers) == {"study-seed-0", "study-seed-1"} and len(grid.archives()) == 2


def test_montages_and_films_show_the_existing_epochs(gaps):
    files = [name.removeprefix("results/default/") for name in targets.montages(gaps) + targets.films(gaps)]
    rare = [name for name in files if "/rare/" in name]
    assert [name for name in rare if name.startswith("films")] == ["films/scratch/rare/epochs_step-0003_rescaled.gif"]
    assert "montages/other/rare/class-by-step_epoch-0003_rescaled.png" in rare and len(rare) == 2 * 4 + 1
    assert "montages/other/recipe-by-class_epoch-0003_rescaled.png" in files
    folder = "results/default/dreams/scratch"
    by_epoch = targets.montage_dreams("class-by-epoch", "scratch", "rare/", "step-0003", "raw")
    assert gaps.archives(**by_epoch) == [f"{folder}/epoch-000{epoch}/rare/dreams.zip" for epoch in (0, 4)]
    by_class = targets.montage_dreams("recipe-by-class", "scratch", "", "epoch-0001", "raw")
    assert gaps.archives(**by_class) == [f"{folder}/epoch-0001/study/dreams.zip"]
    for layout, at in (("recipe-by-class", "epoch-0004"), ("class-by-step", "epoch-0004")):
        folder = "" if layout == "recipe-by-class" else "study/"
        shared = targets.montage_dreams(layout, "scratch", folder, at, "raw")
        free = make_plan(config(dreams__recipes__rare={"steps": [3], "epochs": [0, 1, "last"]}))
        assert gaps.archives(**shared) == free.archives(**shared), "other epochs are not shown"


def test_a_run_without_dreams_is_only_trained():
    plan = make_plan(config(runs__other={"model": "test_resnet"}, dreams__recipes__study__runs=["scratch"]))
    assert list(plan.dreaming_epochs) == ["scratch"] and len(plan.checkpoints()) == 2 * 3
    assert [name.split("/")[3] for name in targets.curves(plan)] == ["scratch", "other"]


def test_the_error_for_a_dream_that_a_restricted_recipe_lacks_lists_the_existing_ones(gaps):
    where = "where the run is 'scratch' and the epoch is 1"
    for call in (
        lambda: dreamer(gaps, "scratch", "0001", "rare", ""),
        lambda: picture_archive(gaps, "scratch", "0001", "rare", "blue_jay", "step-0003.png"),
    ):
        with pytest.raises(
            UserError, match=f"'default' has no dreams with the recipe 'rare' {where}; available: study$"
        ):
            call()
    with pytest.raises(UserError, match="has no dreams with the run 'judge'; "):
        dreamer(gaps, "judge", "0012", "rare", "")
    assert dreamer(gaps, "other", "0003", "rare", "") == "results/default/runs/other/epoch-0003/model.safetensors"


def test_the_announcement_counts_only_checkpoints_that_dream(capsys):
    announce_study(
        make_plan(config(runs__other={"model": "test_resnet"}, dreams__recipes__study=RARE | {"epochs": [0]})), 1
    )
    assert (
        "4 dreams requested (2 checkpoints, 2 runs, 1 recipe, 2 classes), 0 of them exist." in capsys.readouterr().err
    )


def study(image_size: int | list[int], **recipe) -> dict:
    """Return a config of one run and one recipe, with images of a size."""
    runs = {"one": {"model": "test_resnet"}}
    return {"dataset": {"image_size": image_size}, "runs": runs, "dreams": {"recipes": {"r": {"steps": [9], **recipe}}}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "recipe", "shape"),
    [
        (64, {}, (64, 64)),
        ([48, 96], {}, (48, 96)),
        ([48, 96], {"size": 48}, (48, 96)),
        ([48, 96], {"size": 96}, (96, 192)),
        ([96, 48], {"size": 31}, (62, 31)),
        ([70, 30], {"size": 20}, (47, 20)),
    ],
)
def test_a_dream_has_the_aspect_ratio_of_the_data_set_and_its_size_is_the_shorter_side(size, recipe, shape):
    plan = make_plan(study(size, **recipe))
    assert plan.shape("r") == shape
    check_models(plan)


def test_statistics_files_are_named_by_their_shape():
    recipe = {"start": "class_mean"}
    names = [statistics(make_plan(study(size, **recipe)), "r") for size in (64, [64, 64], [48, 32])]
    assert [name.rpartition("/")[2] for (name,) in names] == [
        "statistics-64.safetensors",
        "statistics-64.safetensors",
        "statistics-48x32.safetensors",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("size", [[40, 90], [90, 40]], ids=str)
def test_the_shorter_side_is_checked_and_the_error_contains_both(size):
    for recipe, sentence in (
        ({"octaves": 2, "octave_scale": 3.0, "octave_steps": 2}, "the first of 2 would have a side of 13 pixels"),
        ({"jitter": 40}, "is 40 pixels at this size, but must be less than 40, the side of the first octave"),
    ):
        with pytest.raises(UserError, match=f"^dreams.recipes.r.*: {sentence}"):
            make_plan(study(size, **recipe))
    make_plan(study(size, octaves=2, octave_scale=2.5, octave_steps=2, jitter=15))
    config = study(size, pad=6, reference_size=80)
    config["runs"]["one"] = {"model": "test_vit", "model_options": {"img_size": size, "patch_size": 10}}
    with pytest.raises(UserError, match=f"does not accept images of {size[0] + 6}x{size[1] + 6} pixels"):
        check_models(make_plan(config))


@pytest.mark.slow
def test_a_transformer_is_profiled_at_its_training_size():
    check_models(make_plan({**study([48, 32]), "runs": {"one": {"model": "vit_tiny_patch16_224"}}}))


def test_no_input_or_parameter_depends_on_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = config(judges={"j": {"run": "other"}}, runs__other={"model": "test_resnet", "epochs": [3]})
    plan, opened, stat = make_plan(study), [], os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: opened.append(str(path)) or stat(path, **more))
    monkeypatch.setattr(io, "open", lambda path, *more, **others: opened.append(str(path)))
    job = {"run": "scratch", "epoch": "0001", "recipe": "study"}
    inputs.picture_archive(plan, **job, label="blue_jay", file="step-0002.png")
    inputs.judged_archive(plan, "j", **job, part="")
    dreamer(plan, **job, part="")
    for function in (statistics, inputs.reference_images, inputs.start_images):
        function(plan, "study")
    (
        inputs.recipes_with_siblings(plan),
        inputs.label_digest(plan.names),
        inputs.measured(plan, plan.judges, plan.dream_jobs),
    )
    inputs.checkpoints(plan), inputs.weights(plan, "j")
    targets.montages(plan), targets.films(plan), targets.results(plan, ["recipes"]), targets.patterns(plan)
    assert [path for path in opened if "results" in path] == []


def test_there_is_one_judge_job_for_each_dream_job_of_the_judged_runs(gaps):
    plan = make_plan(config(judges={"j": {"run": "other"}}, runs__other={"model": "test_resnet", "epochs": [3]}))
    archives = [f"results/default/dreams/scratch/epoch-000{epoch}/study/dreams.zip" for epoch in (0, 1, 4)]
    assert plan.archives(run="scratch") == archives
    assert plan.archives()[3:] == ["results/default/dreams/other/epoch-0003/study/dreams.zip"]
    tables = inputs.judged_tables(plan, "j", plan.dream_jobs)
    assert tables == [f"results/default/judged/j/scratch/epoch-000{epoch}/study.csv" for epoch in (0, 1, 4)]
    assert inputs.judged_archive(plan, "j", "scratch", "0004", "study", "") == archives[-1]
    with pytest.raises(UserError, match="the judge 'j' does not judge the run 'other'"):
        inputs.judged_archive(plan, "j", "other", "0003", "study", "")
    assert len(gaps.dream_jobs) == len(gaps.archives())
