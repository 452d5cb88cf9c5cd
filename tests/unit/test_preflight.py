"""The checks of existing results at the start of a run, which read no tensors and use no library for tables."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dreambirds.data.tables import check_images
from dreambirds.errors import UserError
from dreambirds.plan.paths import archive_path, checkpoint_folder
from dreambirds.plan.plan import make_plan
from dreambirds.startup.preflight import check_existing_results, missing_jobs
from tests.helpers.plans import config


def opens(path: Path) -> bool:
    """Return whether the library opens a file."""
    try:
        with safe_open(path, framework="np"):
            return True
    except SafetensorError:
        return False


def accepted(plan) -> bool:
    """Return whether the start of a run accepts the existing results."""
    try:
        check_existing_results(plan)
    except UserError as error:
        assert " is corrupt (" in str(error) and str(error).endswith("to retrain its epoch")
        return False
    return True


@pytest.mark.parametrize("metadata", [None, {"dreambirds": "{}"}])
def test_an_incomplete_checkpoint_is_refused_exactly_if_the_library_refuses_it(tmp_path, monkeypatch, metadata):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(config())
    path = Path(checkpoint_folder(plan.study, "scratch", 1), "model.safetensors")
    path.parent.mkdir(parents=True)
    save_file({"a": np.zeros((3, 5), np.float32), "b": np.ones(7, np.int8)}, path, metadata)
    whole = path.read_bytes()
    contents = [whole, whole + b"0", *(whole[:length] for length in (0, 4, 8, 20, len(whole) // 2, len(whole) - 1))]
    contents += [b"\xff" * 8 + whole[8:], whole[:8] + b"[" + whole[9:]]
    results = []
    for content in contents:
        path.write_bytes(content)
        results.append(accepted(plan))
        assert results[-1] == opens(path), content[:40]
    assert results == [True] + [False] * (len(contents) - 1)


def test_dreams_exist_if_the_archive_of_their_job_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(config(dreams__labels_per_job=1))
    jobs = plan.dream_jobs
    assert len(jobs) == 3 * 2 and missing_jobs(plan) == jobs and plan.count_dreams(jobs) == len(plan.dreams) == 12
    archive = Path(archive_path(plan.study, *jobs[3]))
    archive.parent.mkdir(parents=True)
    archive.touch()
    assert missing_jobs(plan) == [*jobs[:3], *jobs[4:]]
    assert plan.archives(epoch="0001")[1] == str(archive) and len(plan.archives(epoch="0001")) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "cannot read the table 'images.csv' (it is empty); "),
        ("path,label\n", "'images.csv' has no column 'split'; "),
        ("path,label,split,sha256,size,source,error,duplicate_of\n", "'images.csv' contains no rows; "),
        (
            "path,label,split,sha256,size,source,error,duplicate_of\na,b\n",
            "'images.csv', line 2: columns are missing; ",
        ),
        ('path,"label', "cannot read the table 'images.csv' (unexpected end of data); "),
    ],
)
def test_a_damaged_table_of_images_is_refused_in_one_sentence(tmp_path, monkeypatch, text, sentence):
    monkeypatch.chdir(tmp_path)
    Path("images.csv").write_text(text)
    with pytest.raises(UserError) as error:
        check_images(Path())
    assert str(error.value).startswith(sentence)
