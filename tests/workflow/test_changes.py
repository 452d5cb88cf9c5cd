"""Changes of a tiny study, each with the jobs and dreams that it reruns.

Each test continues with the study of the previous one.
"""

import os
import shutil

import pytest
from PIL import Image

from tests.helpers import layouts
from tests.helpers.studies import Study, copy_workflow, count_dreams, count_jobs, tiny

IMAGES = {"montage", "nearest", "film"}
ASSEMBLED = IMAGES | {"pixels", "measurements", "plots", "gallery", "comparison"}
QUICK = ASSEMBLED | {"check", "resolved_config", "study"}


@pytest.fixture(scope="module")
def study(finished_study, tmp_path_factory) -> Study:
    """Return a copy of the finished study, with a copy of the workflow."""
    study = finished_study.copy(tmp_path_factory.mktemp("changes") / "study")
    study.root = copy_workflow(tmp_path_factory.mktemp("code"))
    return study


def costs(study: Study, *targets: str) -> tuple[dict[str, int], int]:
    """Run the study; return its jobs and its number of new dreams.

    Jobs that assemble results, check models or write the config are excluded.
    """
    output = study.run(*targets)
    jobs = count_jobs(output)
    return {name: count for name, count in jobs.items() if name not in QUICK}, count_dreams(output)


def test_nothing_changed(study):
    assert "Nothing to be done" in study.run()


def test_a_comment_in_the_readme(study):
    with (study.root / "README.md").open("a") as file:
        file.write("\n<!-- a comment -->\n")
    assert study.jobs() == {}


def test_everything_touched(study):
    for folder in (study.folder, study.root):
        for path in folder.rglob("*"):
            os.utime(path)
    assert study.jobs() == {}


PROSE = [
    ("dreaming/updates.py", "import torch\n", "import torch  # a comment\n"),
    ("dreaming/dream.py", '"""Do one step', '"""Make one step'),
    ("training/trainer.py", '"""Train a classifier', '"""The training of a classifier'),
    ("dream_job/references.py", "cannot read '", "failed to read '"),
    ("models/classifier.py", "cannot be built with", "is not built with"),
    ("errors.py", "did you mean", "do you mean"),
    ("dreaming/starts.py", "index: int) -> torch.Tensor:", "index: int | bool) -> torch.Tensor:"),
    ("dream_job/run.py", "%s: computed %s", "%s: done with %s"),
]


def edit(study: Study, name: str, old: str, new: str) -> None:
    """Replace the first occurrence of a text in a module of the study's workflow."""
    path = study.root / "workflow" / "dreambirds" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_prose_comments_and_annotations_edited(study):
    for each in PROSE:
        edit(study, *each)
    assert study.jobs() == {}


def test_a_module_moved(study):
    package = study.root / "workflow" / "dreambirds"
    (package / "dreaming/updates.py").rename(package / "updates.py")
    for path in package.rglob("*.py"):
        text = path.read_text().replace("dreambirds.dreaming.updates", "dreambirds.updates")
        path.write_text(text.replace("import objectives, regularizers, updates", "import objectives, regularizers"))
    edit(
        study,
        "dreaming/dream.py",
        "from dreambirds.dreaming import",
        "from dreambirds import updates\nfrom dreambirds.dreaming import",
    )
    assert study.jobs() == {}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        pytest.param("dreaming/starts.py", "GRAY = 128 / 255", "GRAY = 127 / 255", marks=pytest.mark.exhaustive),
        pytest.param("dreaming/regularizers.py", "1:] - images", "1:] + images", marks=pytest.mark.exhaustive),
        (
            "dreaming/dream.py",
            "        self._advance_octave(step)\n",
            "        if step:\n            self._advance_octave(step)\n",
        ),
    ],
    ids=["a constant", "an operator", "a branch"],
)
def test_one_line_of_the_dreaming_code_edited(study, name, old, new):
    edit(study, name, old, new)
    jobs = study.jobs("dreams_only")
    edit(study, name, new, old)
    assert jobs == {"dreams_only": 1, "dream": 2}
    assert study.jobs("dreams_only") == {}


@pytest.mark.parametrize("library", ["torch", pytest.param("timm", marks=pytest.mark.exhaustive)])
def test_another_version_of_a_library(study, library):
    about = study.root / "workflow" / f"{library}-99.dist-info"  # first on Snakemake's module path
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 99\n")
    jobs = study.jobs("dreams_only")
    shutil.rmtree(about)
    assert jobs == {"dreams_only": 1, "check": 1, "train": 2, "dream": 2}


def test_a_montage_option(study):
    study.config["montage"]["cell_size"] = 40
    assert set(study.jobs()) == {"study", "resolved_config"} | IMAGES


def test_a_label_removed(study):
    montage = "results/tiny/montages/scratch/study/class-by-epoch_step-0003_raw.png"
    study.run(montage)
    with Image.open(study.folder / montage) as before:
        height = before.height
    study.config["dreams"]["labels"] = ["northern_cardinal", "yellow_warbler"]
    output = study.run("-n", montage)
    assert "Params have changed since last execution" in output and "3 labels" in output and "2 labels" in output
    assert costs(study, montage) == ({"dream": 2}, 0), "the archives are packed again"
    with Image.open(study.folder / montage) as after:
        assert after.height < height, "one row fewer"
    assert "Nothing to be done" in study.run(montage)


def test_a_label_added_again(study):
    study.config["dreams"]["labels"] = None
    jobs, dreams = costs(study, "dreams_only")
    assert jobs == {"dreams_only": 1, "dream": 2} and dreams == 0, "its dreams are in the store"


def test_a_recipe_added(study):
    study.config["dreams"]["recipes"]["other"] = {"steps": [2], "objective": "probability"}
    assert costs(study, "dreams_only") == ({"dreams_only": 1, "dream": 2}, 3 * 2)


def test_a_step_added_in_between(study):
    study.config["dreams"]["recipes"]["study"]["steps"] = [1, 2, 3]
    assert costs(study, "dreams_only") == ({"dreams_only": 1, "dream": 2}, 3 * 2)


def test_a_longer_trajectory(study):
    study.config["dreams"]["recipes"]["study"]["steps"] = [1, 2, 3, 4]
    assert costs(study, "dreams_only") == ({"dreams_only": 1, "dream": 2}, 3 * 2)
    trace = (study.results / "dreams/scratch/epoch-0001/study/blue_jay/trace.csv").read_text()
    assert len(trace.splitlines()) == 1 + 5


def test_a_recipe_renamed(study):
    study.config["dreams"]["recipes"]["renamed"] = study.config["dreams"]["recipes"].pop("other")
    assert costs(study, "dreams_only") == ({"dreams_only": 1, "dream": 2}, 0)


def test_a_recipe_restricted_to_an_epoch_and_to_more(study):
    recipe = study.config["dreams"]["recipes"]["renamed"]
    recipe["epochs"] = [1]
    assert study.jobs("dreams_only") == {}
    refused = study.snakemake("-n", "results/tiny/dreams/scratch/epoch-0000/renamed/dreams.zip")
    assert "the recipe 'renamed' where the run is 'scratch' and the epoch is 0; available: study" in refused.stdout
    recipe["epochs"] = ["last", 0]
    assert study.jobs("dreams_only") == {}, "its dreams still exist"
    recipe.pop("epochs")


def test_labels_spread_over_more_jobs(study):
    study.config["dreams"]["labels_per_job"] = 2
    jobs, dreams = costs(study, "dreams_only")
    assert jobs == {"dreams_only": 1, "dream": 2 * 2 * 2}, "checkpoints, recipes and parts"
    assert dreams == 0 and study.jobs("dreams_only") == {}
    study.config["dreams"].pop("labels_per_job")


def test_an_epoch_appended(study):
    study.config["runs"]["scratch"]["epochs"] = [0, 1, 2]
    jobs, dreams = costs(study, "dreams_only")
    assert jobs == {"dreams_only": 1, "train": 1, "dream": 2} and dreams == 3 * (4 + 1)


def test_a_run_added(study):
    study.config["runs"]["second"] = study.config["runs"]["scratch"] | {"seed": 1, "epochs": [1]}
    jobs, dreams = costs(study, "dreams_only")
    assert jobs == {"dreams_only": 1, "train": 1, "dream": 2} and dreams == 3 * (4 + 1)
    study.config["runs"].pop("second")


def test_a_deleted_image_is_extracted_from_its_archive_when_requested_by_name(study):
    folder = "results/tiny/dreams/scratch/epoch-0001/study/blue_jay"
    names = [f"{folder}/{name}" for name in ("step-0004.png", "step-0001-rescaled.png", "trace.csv")]
    before = [(study.folder / name).read_bytes() for name in names]
    shutil.rmtree(study.folder / folder)
    assert study.jobs("dreams_only") == {}, "nothing else reads it"
    assert costs(study, *names) == ({"picture": 3}, 0)
    assert [(study.folder / name).read_bytes() for name in names] == before
    for name, message in (
        ("step-0009.png", "has no dreams with the step 9; available: 1, 2, 3, 4"),
        ("film.gif", "dreams.recipes.study.film_every: is null, so this recipe has no films; set it"),
    ):
        refused = study.snakemake(f"{folder}/{name}")
        assert refused.returncode != 0 and message in refused.stdout


def test_a_deleted_archive_is_packed_again_from_the_store(study):
    archive = study.results / "dreams/scratch/epoch-0001/study/dreams.zip"
    before = archive.read_bytes()
    archive.unlink()
    assert costs(study, "dreams_only") == ({"dreams_only": 1, "dream": 1}, 0)
    assert archive.read_bytes() == before and study.jobs("dreams_only") == {}


def test_archives_without_the_folder_of_images(study):
    study.config["pictures"] = {"folder": False}
    folder = study.results / "dreams/scratch/epoch-0001/study"
    archive = "results/tiny/dreams/scratch/epoch-0001/study/dreams.zip"
    shutil.rmtree(folder)
    assert costs(study, archive) == ({"dream": 1}, 0)
    assert [path.name for path in folder.iterdir()] == ["dreams.zip"]
    study.config.pop("pictures")
    assert costs(study, archive) == ({"dream": 1}, 0) and (folder / "blue_jay/step-0004.png").exists()


def test_the_dreaming_code_edited(study):
    with (study.root / "workflow/dreambirds/updates.py").open("a") as file:
        file.write("\nEDITED = True\n")
    output = study.run("-n", "dreams_only")
    assert "dreaming code" in output and count_jobs(output) == {"dreams_only": 1, "dream": 6}
    name = "results/tiny/dreams/scratch/epoch-0001/study/dreams.zip"
    assert costs(study, name) == ({"dream": 1}, 3 * 4)


def test_the_training_code_edited(study):
    with (study.root / "workflow/dreambirds/training/loss.py").open("a") as file:
        file.write("\nEDITED = True\n")
    jobs = study.jobs()
    assert jobs["train"] == 3 and jobs["dream"] == 6 and jobs["curves"] == 1 and "dataset" not in jobs
    name = "results/tiny/dreams/scratch/epoch-0001/study/dreams.zip"
    assert costs(study, name) == ({"train": 2, "dream": 1}, 0), "the dreams of the same weights are in the store"


def test_a_photograph_added_or_touched(tmp_path):
    config = tiny() | {"dataset": {"source": "folder", "path": str(tmp_path / "birds"), "image_size": 32}}
    config["runs"]["scratch"]["epochs"] = [0]
    config["dreams"]["recipes"]["portrait"] = {"preset": "portrait", "size": 40, "steps": [2]}
    layouts.train_and_val(tmp_path / "birds")
    study = Study(tmp_path, config)
    assert costs(study, "dreams_only")[1] == 3 * (2 + 1)
    photograph = next((tmp_path / "birds/train/blue_jay").iterdir())
    os.utime(photograph, (0, 0))
    assert study.jobs("dreams_only") == {}
    layouts.save_bird(photograph.with_name("new.png"), "blue_jay", 9)
    output = study.run("dreams_only")
    assert count_jobs(output) == {"dreams_only": 1, "dataset": 1, "canvas": 1, "train": 1, "dream": 2}
    assert count_dreams(output) == 1, "only the portrait of its class; the weights of epoch 0 are unchanged"
    assert "prepared 13 images of 3 classes, 12 of them from the store" in output
