"""Corrupt files between the stages are refused or recreated, and never used."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from dreambirds.data.dataset import PreparedImages
from dreambirds.errors import UserError
from dreambirds.models.checkpoint import check_metadata, load_checkpoint, read_metadata
from tests.helpers.killing import files
from tests.helpers.studies import Study, count_dreams, tiny

CHECKPOINT = "runs/scratch/epoch-0001/model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Study:
    """Return a study with all its checkpoints and no dreams."""
    study = Study(tmp_path_factory.mktemp("whole"), tiny())
    study.run("training_only")
    return study


@pytest.fixture
def study(whole, tmp_path) -> Study:
    """Return a copy of the study whose files a test may corrupt."""
    return whole.copy(tmp_path / "study")


def cut(path: Path) -> None:
    """Remove the second half, like an interrupted copy."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Flip one bit of a weight."""
    content = bytearray(path.read_bytes())
    content[-1000] ^= 0b100
    path.write_bytes(content)


def exchange(path: Path) -> None:
    """Replace it with the checkpoint of another epoch."""
    shutil.copyfile(path.parents[1] / "epoch-0000" / path.name, path)


def rename(path: Path) -> None:
    """Change the architecture in its metadata."""
    with safe_open(path, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    save_file(tensors, path, {"dreambirds": metadata["dreambirds"].replace("test_resnet", "resnet18")})


def empty(path: Path) -> None:
    """Remove its contents."""
    path.write_bytes(b"")


ENDING = "delete it and run the same command again to retrain that epoch"
SPOILT = {
    "is corrupt (Error while deserializing header: incomplete metadata, file not fully covered)": cut,
    "is corrupt (its tensors do not match their digest)": flip,
    "has the epoch 0, not 1": exchange,
    "has the model 'resnet18', not 'test_resnet'": rename,
    "is corrupt (Error while deserializing header: header too small)": empty,
}


@pytest.mark.parametrize("sentence", SPOILT)
def test_a_spoilt_checkpoint_is_refused(study, sentence, counted):
    path = study.results / CHECKPOINT
    SPOILT[sentence](path)
    with pytest.raises(UserError) as error:
        check_metadata(path, read_metadata(path), run="scratch", epoch=1, model="test_resnet")
        load_checkpoint(path)
    assert sentence in str(error.value) and str(error.value).endswith(ENDING)
    counted("spoilt files between stages refused or made anew")


def test_a_spoilt_checkpoint_stops_its_dreams_only_and_is_trained_anew_once_it_is_deleted(study, counted):
    path = study.results / CHECKPOINT
    good = path.read_bytes()
    flip(path)
    said = refused(study, "dreams_only")
    assert f"'results/tiny/{CHECKPOINT}' is corrupt" in said
    assert (study.results / "dreams/scratch/epoch-0000/study/dreams.csv").exists(), "the other checkpoints have dreams"
    path.unlink()
    study.run("dreams_only")
    assert path.read_bytes() == good
    counted("spoilt files between stages refused or made anew")


EDITED = {
    "line 2: invalid path '../../x.png'": (r"images/\S+?\.png", "../../x.png"),
    "line 2: invalid split 'test'": (",(train|validation),", ",test,"),
    "has no column 'path'": ("^path", "file"),
    "images.csv' lists 14 images, but labels.csv counts 15": (r"\n.*\n$", "\n"),
    "contains label 'dodo', which is not in labels.csv": (",blue_jay,", ",dodo,"),
    "is not a readable table": ("^", '"'),
}


@pytest.mark.parametrize("sentence", EDITED)
def test_a_table_edited_by_hand_is_refused_where_it_is_no_data_set_any_more(study, sentence, counted):
    table = study.results / "dataset/images.csv"
    pattern, text = EDITED[sentence]
    table.write_text(re.sub(pattern, text, table.read_text()))
    with pytest.raises(UserError) as error:
        PreparedImages(table.parent, "train")
    assert sentence in str(error.value)
    assert str(error.value).endswith("dataset' and run the same command again to rebuild it")
    counted("spoilt files between stages refused or made anew")


def test_a_data_set_that_was_edited_is_prepared_again_once_it_is_deleted(study, counted):
    table = study.results / "dataset/labels.csv"
    good = table.read_bytes()
    table.write_text(table.read_text().replace("1,", "7,", 1))
    study.config["runs"]["scratch"]["epochs"] = [0, 1, 2]
    said = refused(study, "training_only")
    assert said.endswith(
        "must contain unique labels, numbered from 0; delete the folder 'results/tiny/dataset' and run the same "
        "command again to rebuild it"
    )
    shutil.rmtree(table.parent)
    study.run("training_only")
    assert table.read_bytes() == good
    counted("spoilt files between stages refused or made anew")


def test_pictures_deleted_anywhere_come_back(finished_study, tmp_path, counted):
    study = finished_study.copy(tmp_path / "study")
    expected = files(study)
    for folder in ("results/.store/dreams", "results/tiny/dreams"):
        for image in list((study.folder / folder).rglob("*.png"))[::2]:
            image.unlink()
            counted("spoilt files between stages refused or made anew")
    (study.results / "montages/scratch/recipe-by-class_epoch-0001_rescaled.png").unlink()
    study.run()
    assert files(study) == expected
    assert "Nothing to be done" in study.run()


def test_a_copied_and_a_moved_study_are_finished(finished_study, tmp_path, counted):
    study = finished_study.copy(tmp_path / "study")
    expected = files(study)
    for number, bring in enumerate((shutil.copytree, shutil.move)):
        folder = tmp_path / f"elsewhere-{number}"
        bring(study.folder, folder)
        other = Study(folder, tiny())
        assert count_dreams(other.run()) == 0 and files(other) == expected
        counted("studies copied, moved or read-only")


def test_a_folder_that_can_not_be_written_to_is_told_and_nothing_in_it_is_lost(study, counted):
    folder, expected = study.results.parent, files(study)
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode != 0:
        pytest.skip("mounting a folder requires root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        said = study.snakemake("dreams_only").stdout
        assert "Failed to create output directory" in said and "Read-only file system" in said
        assert "Traceback" not in said
        assert "dream" in study.run("-n", "dreams_only"), "a dry run writes nothing"
    finally:
        subprocess.run(["umount", folder], check=True)
    assert files(study) == expected
    counted("studies copied, moved or read-only")


@pytest.mark.parametrize(
    "place",
    ["results", "results/tiny", "results/.store", "results/tiny/runs/scratch", "results/tiny/runs/scratch/epoch-0001"],
)
def test_a_file_where_a_folder_should_be_is_named_before_any_job(tmp_path, place, counted):
    study = Study(tmp_path, tiny())
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("mine")
    said = refused(study, "dreams_only")
    assert said == f"Error: '{place}' is a file, and a folder is expected there; move the file away"
    assert (tmp_path / place).read_text() == "mine"
    counted("files where folders should be refused")


def refused(study: Study, *targets: str) -> str:
    """Return the error line of a study that fails."""
    result = study.snakemake(*targets)
    assert result.returncode != 0 and "Traceback" not in result.stdout, result.stdout[-3000:]
    errors = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
    assert errors, result.stdout[-3000:]
    return errors[0]
