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
def trained(tmp_path_factory) -> Study:
    """Return a study with all its checkpoints and no dreams."""
    study = Study(tmp_path_factory.mktemp("trained"), tiny())
    study.run("training_only")
    return study


@pytest.fixture
def study(trained, tmp_path) -> Study:
    """Return a copy of the study whose files a test may corrupt."""
    return trained.copy(tmp_path / "study")


def truncate(path: Path) -> None:
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


def change_model(path: Path) -> None:
    """Change the architecture in its metadata."""
    with safe_open(path, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    save_file(tensors, path, {"dreambirds": metadata["dreambirds"].replace("test_resnet", "resnet18")})


def empty(path: Path) -> None:
    """Remove its contents."""
    path.write_bytes(b"")


DAMAGES = {
    "is corrupt (Error while deserializing header: incomplete metadata, file not fully covered)": truncate,
    "is corrupt (its tensors do not match their digest)": flip,
    "has the epoch 0, not 1": exchange,
    "has the model 'resnet18', not 'test_resnet'": change_model,
    "is corrupt (Error while deserializing header: header too small)": empty,
}


@pytest.mark.parametrize("expected", DAMAGES)
def test_a_corrupt_checkpoint_is_refused(study, expected, counted):
    path = study.results / CHECKPOINT
    DAMAGES[expected](path)
    with pytest.raises(UserError) as error:
        check_metadata(path, read_metadata(path), run="scratch", epoch=1, model="test_resnet")
        load_checkpoint(path)
    assert expected in str(error.value)
    assert str(error.value).endswith("delete it and run the same command again to retrain its epoch")
    counted("corrupt files between stages refused or rebuilt")


def test_a_corrupt_checkpoint_stops_only_its_own_dreams_and_is_retrained_once_it_is_deleted(study, counted):
    path = study.results / CHECKPOINT
    good = path.read_bytes()
    flip(path)
    message = refused(study, "dreams_only")
    assert f"'results/tiny/{CHECKPOINT}' is corrupt" in message
    assert (study.results / "dreams/scratch/epoch-0000/study/dreams.zip").exists(), "the other checkpoints have dreams"
    path.unlink()
    study.run("dreams_only")
    assert path.read_bytes() == good
    counted("corrupt files between stages refused or rebuilt")


EDITED = {
    "line 2: invalid path '../../x.png'": (r"images/\S+?\.png", "../../x.png"),
    "line 2: invalid split 'test'": (",(train|validation),", ",test,"),
    "has no column 'path'": ("^path", "file"),
    "images.csv' lists 14 images, but 'labels.csv' counts 15": (r"\n.*\n$", "\n"),
    "contains label 'dodo', which is not in 'labels.csv'": (",blue_jay,", ",dodo,"),
    "cannot read the table '": ("^", '"'),
}


@pytest.mark.parametrize("expected", EDITED)
def test_an_edited_table_that_is_no_longer_valid_is_refused(study, expected, counted):
    table = study.results / "dataset/images.csv"
    pattern, text = EDITED[expected]
    table.write_text(re.sub(pattern, text, table.read_text()))
    with pytest.raises(UserError) as error:
        PreparedImages(table.parent, "train")
    assert expected in str(error.value)
    assert str(error.value).endswith("dataset' and run the same command again to rebuild it")
    counted("corrupt files between stages refused or rebuilt")


def test_an_edited_data_set_is_prepared_again_once_it_is_deleted(study, counted):
    table = study.results / "dataset/labels.csv"
    good = table.read_bytes()
    table.write_text(table.read_text().replace("1,", "7,", 1))
    study.config["runs"]["scratch"]["epochs"] = [0, 1, 2]
    message = refused(study, "training_only")
    assert message.endswith(
        "must contain unique labels, numbered from 0; delete the folder 'results/tiny/dataset' and run the same "
        "command again to rebuild it"
    )
    shutil.rmtree(table.parent)
    study.run("training_only")
    assert table.read_bytes() == good
    counted("corrupt files between stages refused or rebuilt")


def test_deleted_images_and_archives_are_restored(finished_study, tmp_path, counted):
    study = finished_study.copy(tmp_path / "study")
    expected = files(study)
    for image in list((study.folder / "results/.store/dreams").rglob("*.png"))[::2]:
        image.unlink()
        counted("corrupt files between stages refused or rebuilt")
    (study.results / "dreams/scratch/epoch-0000/study/dreams.zip").unlink()
    deleted = list(study.results.glob("dreams/scratch/epoch-0001/study/*/*.png"))[::2]
    for image in deleted:
        image.unlink()
        counted("corrupt files between stages refused or rebuilt")
    (study.results / "montages/scratch/recipe-by-class_epoch-0001_rescaled.png").unlink()
    study.run("all", *(str(image.relative_to(study.folder)) for image in deleted))
    assert files(study) == expected
    assert "Nothing to be done" in study.run()


def test_a_copied_or_moved_study_is_still_finished(finished_study, tmp_path, counted):
    study = finished_study.copy(tmp_path / "study")
    expected = files(study)
    for number, relocate in enumerate((shutil.copytree, shutil.move)):
        folder = tmp_path / f"elsewhere-{number}"
        relocate(study.folder, folder)
        other = Study(folder, tiny())
        assert count_dreams(other.run()) == 0 and files(other) == expected
        counted("studies copied, moved or read-only")


def test_a_read_only_folder_is_reported_and_nothing_in_it_is_lost(study, counted):
    folder, expected = study.results.parent, files(study)
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode != 0:
        pytest.skip("mounting a folder requires root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        output = study.snakemake("dreams_only").stdout
        assert "Failed to create output directory" in output and "Read-only file system" in output
        assert "Traceback" not in output
        assert "dream" in study.run("-n", "dreams_only"), "a dry run writes nothing"
    finally:
        subprocess.run(["umount", folder], check=True)
    assert files(study) == expected
    counted("studies copied, moved or read-only")


@pytest.mark.parametrize(
    "name",
    ["results", "results/tiny", "results/.store", "results/tiny/runs/scratch", "results/tiny/runs/scratch/epoch-0001"],
)
def test_a_file_in_place_of_a_folder_is_refused_before_any_job(tmp_path, name, counted):
    study = Study(tmp_path, tiny())
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    message = refused(study, "dreams_only")
    assert message == f"Error: '{name}' is a file, and a folder is expected there; move the file away"
    assert (tmp_path / name).read_text() == "mine"
    counted("files in place of folders, refused")


def refused(study: Study, *targets: str) -> str:
    """Return the error line of a study that fails."""
    result = study.snakemake(*targets)
    assert result.returncode != 0 and "Traceback" not in result.stdout, result.stdout[-3000:]
    errors = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
    assert errors, result.stdout[-3000:]
    return errors[0]
