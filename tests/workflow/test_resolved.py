"""The config that lies with a study's results."""

import csv
import shutil

import pytest
import yaml

TABLES = ("dreams.csv", "judgements.csv", "judges.csv")


@pytest.fixture(scope="module")
def study(finished_study, tmp_path_factory):
    """Return a copy of the finished study."""
    return finished_study.copy(tmp_path_factory.mktemp("resolved") / "study")


def test_the_resolved_config_of_a_finished_study_has_nothing_to_do_and_reproduces_it(study, tmp_path):
    config = yaml.safe_load((study.results / "config.yaml").read_text())
    assert config["provenance"]["tree"] in ("unchanged", "changed", None)
    again = type(study)(study.folder, config, study.root)
    assert "Nothing to be done" in again.run()

    other = type(study)(tmp_path, config, study.root)
    other.run(*(f"results/tiny/{table}" for table in TABLES))
    for table in TABLES:
        columns = list(csv.reader((study.results / table).read_text().splitlines()))
        copied = list(csv.reader((other.results / table).read_text().splitlines()))
        seconds = columns[0].index("seconds") if "seconds" in columns[0] else None
        for one, two in zip(columns, copied, strict=True):
            if seconds is not None:
                one[seconds] = two[seconds] = ""
        assert copied == columns


def test_the_store_can_be_set_in_the_config(study, tmp_path):
    config = study.config | {"store": str(tmp_path / "kept")}
    shutil.copytree(study.folder / "results" / ".store", tmp_path / "kept")
    moved = type(study)(tmp_path / "moved", config, study.root)
    moved.folder.mkdir()
    moved.run("dreams_only")
    assert not (moved.folder / "results" / ".store" / "dreams").exists()
    assert (tmp_path / "kept" / "dreams").exists()
