"""The command `dreambirds check`: it merges configs as Snakemake does, and checks the models."""

import pytest
import yaml

from dreambirds.cli import main
from tests.helpers.studies import tiny

pytestmark = pytest.mark.usefixtures("files")


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Return the function that checks configs, written to files in this order."""
    monkeypatch.chdir(tmp_path)

    def check(*configs: dict, options: tuple[str, ...] = ()) -> None:
        names = [f"{number}.yaml" for number in range(len(configs))]
        for name, config in zip(names, configs, strict=True):
            (tmp_path / name).write_text(yaml.safe_dump(config))
        main(["check", *options, *names])

    return check


def test_later_configs_replace_keys_of_earlier_ones(checked, capsys):
    more = {"study": "other", "dreams": {"recipes": {"more": {"steps": [2]}}}}
    checked(tiny(), more, options=("--study",))
    assert capsys.readouterr().out == "other\n"
    checked(tiny(), more)
    requested = capsys.readouterr().err
    assert "Study 'other': 18 dreams requested (2 checkpoints, 1 run, 2 recipes, 3 classes), 0 of them" in requested
    assert "more than" not in requested, "the sizes of checkpoints are measured"


def test_a_recipe_that_the_model_cannot_dream_is_refused(checked):
    wrong = {"dreams": {"recipes": {"wrong": {"steps": [1], "objective": "layer_mean:no_such_layer"}}}}
    with pytest.raises(
        SystemExit, match=r"^Error: dreams\.recipes\.wrong\.objective: for the run 'scratch', the model has"
    ):
        checked(tiny(), wrong)
