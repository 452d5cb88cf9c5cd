"""Exports of checkpoints: the folder, its model card, whose code is run, and the errors."""

import contextlib
import io
import json
import re
import shutil
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from dreambirds.cli import main
from dreambirds.dream_job.image_files import read_facts
from dreambirds.errors import UserError
from dreambirds.gallery import model_card
from dreambirds.gallery.export import export_checkpoint
from dreambirds.gallery.model_card import Exported, one_seed_each, recipe_section, write_card
from dreambirds.models import CONFIG_FILE, MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint, save_tensors
from dreambirds.models.classifier import build
from tests.helpers.dream_bench import parameters
from tests.helpers.galleries import BAD
from tests.helpers.hub import serving

pytestmark = pytest.mark.slow

CONFIG = {
    "study": "other",
    "dataset": {"source": "folder"},
    "runs": {},
    "judges": {},
    "dreams": {"recipes": {}},
    "pictures": {"view": "raw"},
    "montage": {"cell_size": 32},
}


@pytest.fixture(scope="module")
def exported(finished_study, tmp_path_factory):
    """Return the folder of an exported checkpoint."""
    folder = tmp_path_factory.mktemp("hub") / "out"
    return export_checkpoint(finished_study.results, "scratch", "last", folder, None)


def run_code(folder, monkeypatch, first: int = 0) -> list[str]:
    """Run the blocks of Python in a model card, in its folder, with a photograph; return their outputs."""
    monkeypatch.chdir(folder)
    Image.effect_noise((70, 50), 80).convert("RGB").save("photograph.jpg")
    printed = []
    text = (folder / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)[first:]:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(block, "README.md", "exec"), {})
        printed.append(output.getvalue().strip())
    (folder / "photograph.jpg").unlink()
    return printed


def card_of(folder) -> tuple[dict, str]:
    """Return the metadata and the text of a model card."""
    _, metadata, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_the_folder_has_the_checkpoints_files_and_no_path_of_this_machine(finished_study, exported):
    checkpoint = finished_study.results / "runs" / "scratch" / "epoch-0001"
    for name in (MODEL_FILE, CONFIG_FILE):
        assert (exported / name).read_bytes() == (checkpoint / name).read_bytes()
    files = {str(path.relative_to(exported)): path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    montages = {"dreams/recipe-by-class.png", "dreams/study_class-by-epoch.png"}
    assert files.keys() == {"README.md", MODEL_FILE, CONFIG_FILE, *montages}
    assert [name for name, content in files.items() if str(finished_study.folder).encode() in content] == []
    assert len(list(exported.parent.iterdir())) == 1, "no temporary folder is left"


def test_the_card_shows_the_dreams_the_recipes_and_the_accuracy_of_the_history(finished_study, exported):
    metadata, text = card_of(exported)
    history = pd.read_csv(finished_study.results / "runs" / "scratch" / "epoch-0001" / "history.csv").iloc[-1]
    assert metadata["library_name"] == "timm" and "image-classification" in metadata["tags"]
    assert "license" not in metadata and "add `license`" in text
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": round(history["validation_accuracy"], 4)}]
    assert f"| validation accuracy | {history['validation_accuracy']:.3f} on 3 images |" in text
    shown = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert shown == ["dreams/recipe-by-class.png", "dreams/study_class-by-epoch.png"]
    facts = read_facts(exported / shown[1])
    assert facts["checkpoints"].keys() == {"scratch/0", "scratch/1"} and facts["recipe"] == "study"
    recipes = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert recipes == {"study": {"preset": "original", "steps": [1, 3]}}


def test_the_cards_code_runs_in_the_folder(finished_study, exported, monkeypatch):
    in_timm, in_transformers = run_code(exported, monkeypatch)
    labels = json.loads((exported / CONFIG_FILE).read_text())["label_names"]
    probabilities = eval(in_timm)
    assert list(probabilities) == labels and sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert in_transformers == max(probabilities, key=probabilities.get)


def test_an_earlier_export_is_replaced_and_nothing_else(finished_study, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(finished_study.folder)
    folder = tmp_path / "out"
    shutil.copytree(exported, folder)
    main(["export", "scratch", "0", "--to", str(folder)])
    assert "# scratch, epoch 0" in card_of(folder)[1] and not (folder / "dreams" / "study_class-by-epoch.png").exists()
    (folder / "notes.txt").touch()
    for path, problem in [(folder, "contains more than an earlier export"), (folder / "notes.txt", "is not a folder")]:
        with pytest.raises(UserError, match=rf"^--to: '{path}' exists and {problem}; choose another"):
            export_checkpoint(None, "scratch", "1", path, None)
    assert "# scratch, epoch 0" in card_of(folder)[1] and [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scratchy", "1"], r"has no checkpoints of a run 'scratchy'; did you mean 'scratch'\?"),
        (["scratch", "4"], r"the run 'scratch' has no checkpoint 'epoch-0004' in 'results/tiny'; available: 0, 1"),
        (["scratch", "first"], r"'first' is not an epoch; pass a number or 'last'"),
        (["scratch", "nan"], r"'nan' is not an epoch"),
        (["scratch"], r"pass a run and an epoch, or --tensorboard FOLDER"),
        (
            ["scratch", "1", "--study", "results/tinny"],
            r"is not a study's results folder; did you mean 'results/tiny'\?",
        ),
        (["scratch", "1", "--private"], r"--private: applies to --push only; omit it"),
        (["scratch", "--tensorboard", "x"], r"RUN: does not apply to --tensorboard"),
    ],
)
def test_a_wrong_argument_is_one_sentence(finished_study, monkeypatch, arguments, sentence):
    monkeypatch.chdir(finished_study.folder)
    with pytest.raises(SystemExit, match=rf"^Error: .*{sentence}"):
        main(["export", *arguments])


def test_the_study_is_the_only_one_or_the_default(finished_study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^--study: 'results' contains no study; set the folder of one$"):
        export_checkpoint(None, "scratch", "1", None, None)
    for name in ("one", "two"):
        shutil.copytree(finished_study.results / "runs", tmp_path / "results" / name / "runs")
        shutil.copy(finished_study.results / "config.yaml", tmp_path / "results" / name)
    with pytest.raises(UserError, match=r"contains 2 studies; choose one \(results/one, results/two\)$"):
        export_checkpoint(None, "scratch", "1", None, None)
    (tmp_path / "results" / "two").rename(tmp_path / "results" / "default")
    folder = export_checkpoint(None, "scratch", "1", None, "me/birds")
    text = card_of(folder)[1]
    assert str(folder) == "results/default/exports/scratch-epoch-0001" and "![" not in text
    assert '"hf-hub:me/birds"' in text and 'from_pretrained("me/birds")' in text


def test_a_corrupt_checkpoint_leaves_nothing(finished_study, tmp_path):
    shutil.copytree(finished_study.results / "runs", tmp_path / "results" / "one" / "runs")
    shutil.copy(finished_study.results / "config.yaml", tmp_path / "results" / "one")
    weights = tmp_path / "results" / "one" / "runs" / "scratch" / "epoch-0001" / MODEL_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    (tmp_path / "to").mkdir()
    with pytest.raises(UserError, match="is corrupt"):
        export_checkpoint(tmp_path / "results" / "one", "scratch", "1", tmp_path / "to" / "out", None)
    assert list((tmp_path / "to").iterdir()) == []


def test_a_push_uploads_the_folder(finished_study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(finished_study.folder)
    with serving(monkeypatch, "hf_of_a_test") as hub:
        main(["export", "scratch", "1", "--to", str(tmp_path / "out"), "--push", "me/birds", "--private"])
        page = f"{hub.address}/me/birds"
    files = {str(path.relative_to(tmp_path / "out")): path for path in tmp_path.rglob("*") if path.is_file()}
    assert hub.repositories["me/birds"] == {name: path.read_bytes() for name, path in files.items()} and len(files) == 5
    assert capsys.readouterr().out == f"Wrote '{tmp_path / 'out'}'\nPushed it to {page}\n"
    assert 'create_model("hf-hub:me/birds"' in card_of(tmp_path / "out")[1]


def test_a_model_from_a_folder_is_exported_without_the_folders_path(finished_study, tmp_path):
    origin = finished_study.results / "runs" / "scratch" / "epoch-0001"
    classifier, info = load_checkpoint(origin)
    copied = tmp_path / "results" / "one" / "runs" / "scratch" / "epoch-0001"
    shutil.copytree(origin, copied)
    shutil.copy(finished_study.results / "config.yaml", tmp_path / "results" / "one")
    save_tensors(
        copied / MODEL_FILE, classifier.network.state_dict(), asdict(replace(info, model=f"local-dir:{origin}"))
    )
    folder = export_checkpoint(tmp_path / "results" / "one", "scratch", "1", tmp_path / "out", None)
    assert [path.name for path in folder.iterdir() if str(origin).encode() in path.read_bytes()] == []
    again, metadata = load_checkpoint(folder)
    assert metadata == info and card_of(folder)[0]["library_name"] == "timm"
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(images), classifier(images))


def own_network(num_classes: int, in_chans: int, width: int = 4) -> torch.nn.Module:
    """Return a network as a user's function builds it."""
    layers = [torch.nn.Conv2d(in_chans, width, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, num_classes))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("torchvision:squeezenet1_1", {"dropout": 0.1}),
        ("tests.unit.test_export:own_network", {"width": 5, "in_chans": 1}),
    ],
)
def test_the_card_of_a_model_that_timm_does_not_know_has_code_that_loads_it(tmp_path, monkeypatch, model, options):
    torch.manual_seed(0)
    normalization = {"mean": 0.5, "std": 0.5}
    classifier = build(model, 2, options, normalization=normalization)
    info = CheckpointInfo(model, options, [BAD, "b"], "mine", 5, [40, 32], normalization=normalization)
    save_checkpoint(tmp_path, classifier, info)
    config = {**CONFIG, "runs": {"mine": {"checkpoints": "out/*.pth", "head": "softmax"}}}
    write_card(Exported(tmp_path / "none", config, tmp_path / "none", classifier, info, None), tmp_path)
    metadata, text = card_of(tmp_path)
    assert "library_name" not in metadata and "elsewhere; the study imported this checkpoint" in text
    assert "<script>" not in text.partition("```python")[0].replace(r"\<script", "")
    outputs = run_code(tmp_path, monkeypatch)
    assert len(outputs) == 2 and len(set(outputs)) == 1 and outputs[0] in (BAD, "b"), "with this project and without"


def test_a_recipe_is_its_preset_and_what_differs_and_contains_no_folder():
    values = parameters(preset="bird", steps=[5], blur_sigma=0.25, start="photograph", start_path="/home/me/bird.jpg")
    kept = {"preset": "bird", "steps": [5], "blur_sigma": 0.25, "start": "photograph", "start_path": "bird.jpg"}
    assert recipe_section(values) == kept


def test_of_recipes_that_differ_only_in_their_seed_the_first_one_is_shown():
    recipes = {f"r-{blur}-{seed}": {"blur_sigma": blur, "seed": seed} for blur in (1, 2) for seed in (4, 3)}
    assert one_seed_each(recipes) == {name: recipes[name] for name in ("r-1-4", "r-2-4")}


def test_montages_of_many_classes_show_the_first_ones_and_say_so(finished_study, tmp_path, monkeypatch):
    monkeypatch.setattr(model_card, "MOST_CLASSES", 2)
    folder = export_checkpoint(finished_study.results, "scratch", "1", tmp_path / "out", None)
    assert "Dreams of epoch 1, by recipe and class (the first 2 of 3 classes)" in card_of(folder)[1]
    assert len(read_facts(folder / "dreams" / "recipe-by-class.png")["labels"]) == 2
