"""One image from the command line and from Python: networks, targets, recipes and metadata."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import dreambirds
from dreambirds import dream_image, list_presets, load_checkpoint, load_network
from dreambirds.cli import main
from dreambirds.config.one_recipe import image_parameters, scale_steps
from dreambirds.config.recipes import presets_without_photographs
from dreambirds.dream_job import image_files
from dreambirds.dream_job.image_files import read_facts
from dreambirds.dream_job.networks import LoadedNetwork
from dreambirds.dream_job.views import to_image
from dreambirds.dreaming.dream import dream as dream_loop
from dreambirds.dreaming.recipe import as_recipe
from dreambirds.errors import UserError
from dreambirds.io import sha256_of
from dreambirds.models.checkpoint import CheckpointInfo
from dreambirds.models.classifier import build
from dreambirds.models.inference import prepare_for_inference
from dreambirds.one_image.network import default_names, find_class
from dreambirds.seeding import generator
from tests.helpers.dream_bench import checkpoint, parameters
from tests.helpers.one_image import dream, pixels, write_photographs, write_study, write_weights


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path)


def test_the_pixels_are_those_of_the_dream_loop(study):
    dream("--checkpoint", study, "--class", "b", "--seed", 3, "--start", "noise", "-o", "b.png")
    keys = image_parameters("portrait-free", {}, 3, size=32, seed=3, start="noise")
    classifier, _ = load_checkpoint(study)
    model, rng = prepare_for_inference(classifier, 32, torch.device("cpu"), fold=False), generator(3, "b")
    starts = (0.5 + 0.1 * torch.randn((1, 3, 32, 32), generator=rng)).clamp(0, 1)
    result = dream_loop(model, torch.tensor([1]), starts, as_recipe(keys, 32, 32), [rng])
    assert np.array_equal(pixels("b.png"), np.asarray(to_image(result.snapshots[3][0])))


def test_the_pixels_are_those_of_a_dream_job_of_the_study(study, dreamer):
    for recipe in ({"preset": "bird", "noise": 0.1}, {"preset": "lucid"}):
        keys = parameters(**{**recipe, "steps": [3]})
        dreamer.dreamt(checkpoint=study / "model.safetensors", parameters=keys, bytes_free=0)
        settings = {
            key: value for key, value in keys.items() if key not in ("steps", "preset", "film_every", "committee")
        }
        made = dream_image(load_network(checkpoint=study), "c", recipe["preset"], settings=settings | {"steps": [3]})
        assert np.array_equal(np.asarray(made.image), pixels(dreamer.folder / "out/c/step-0003.png"))


def test_metadata_record_all_that_determines_the_image(study, tmp_path):
    photograph = write_photographs(tmp_path / "photos") / "1.png"
    start = ("--start", photograph, "--set", "tv_weight=0.01", "--set", "step_size={from: 0.05, to: 0.0, over: 3}")
    dream("--checkpoint", study, "--class", "A", *start)
    facts = read_facts(tmp_path / "a.png")
    assert (facts["label"], facts["target"]) == ("a", {"class": "a", "index": 0})
    assert facts["network"] == {
        "checkpoint": str(study / "model.safetensors"),
        "model": "test_resnet",
        "sha256": sha256_of(study / "model.safetensors"),
    }
    assert facts["parameters"]["step_size"] == {"from": 0.05, "to": 0.0, "over": 3}
    assert facts["parameters"]["tv_weight"] == 0.01 and facts["recipe"] == "portrait-free"
    known = {"seed": 0, "step": 3, "size": [32, 40], "precision": "float32", "batch": 1, "threads": 1, "device": "cpu"}
    assert {key: facts[key] for key in known} == known
    assert (facts["start_sha256"], facts["start_file"]) == (sha256_of(photograph), str(photograph))
    assert facts["versions"] == image_files.versions() and all(0 < each < 1 for each in facts["probability"])


def test_the_command_reports_the_file_the_size_and_the_probabilities(study, capsys):
    dream("--checkpoint", study, "--class", 1)
    out, err = capsys.readouterr()
    assert out.startswith("Wrote 'b.png' (32x32 pixels, ") and "before and " in out
    assert err.splitlines() == ["computing on the CPU with 1 thread: torch sees no GPU", "Dreaming, 3 steps"]


def test_the_default_preset_is_that_of_a_class_or_of_a_layer(study, tmp_path):
    dream("--checkpoint", study, "--class", "a")
    dream("--checkpoint", study, "--layer", "layer1")
    assert read_facts(tmp_path / "a.png")["parameters"]["batch_norm_distance"] == "relative"
    assert read_facts(tmp_path / "layer_mean-layer1.png")["recipe"] == "bird"


def test_a_network_without_batch_norms_has_another_default_preset_or_no_prior():
    classifier = build("test_vit", 2, {"img_size": 32}).eval()
    info = CheckpointInfo("test_vit", {"img_size": 32}, ["auk", "jay"], "", 0, 32)
    network = LoadedNetwork(classifier, info, ["auk", "jay"], "0" * 64, {"model": "test_vit"})
    with pytest.raises(UserError, match="batch_norm_prior: the model has no batch norm with running statistics; set"):
        dream_image(network, "jay", "portrait-free", steps=2)
    assert dream_image(network, "jay", steps=2).facts["recipe"] == "bird"
    made = dream_image(network, "jay", "portrait-free", steps=2, settings={"batch_norm_prior": 0})
    assert made.image.size == (32, 32) and made.facts["parameters"]["batch_norm_distance"] == "relative"


@pytest.mark.parametrize(
    ("target", "objective", "name"),
    [
        (("--layer", "layer1"), "layer_mean:layer1", "layer_mean-layer1.png"),
        (("--layer", "50%", "--channel", "3"), "channel:50%:3", "channel-50-3.png"),
        (("--layer", "layer2", "--neuron", "3"), "neuron:layer2:3", "neuron-layer2-3.png"),
        (("--layer", "layer2", "--neuron", "3:1:2"), "neuron:layer2:3:1:2", "neuron-layer2-3-1-2.png"),
        (("--preset", "google-2015", "--start", "noise", "--size", "64"), "layer_l2:75%", "layer_l2-75.png"),
    ],
)
def test_a_layer_is_a_target(study, tmp_path, target, objective, name):
    dream("--checkpoint", study, "--steps", "12", *target)
    facts = read_facts(tmp_path / name)
    assert facts["target"] == {"objective": objective} and "probability" not in facts


def test_photographs_for_feature_matching_are_those_of_the_study_or_of_a_folder(study, tmp_path):
    matched = ("--preset", "portrait", "--class", "a", "--set", "match_photographs=2")
    dream("--checkpoint", study, *matched, "-o", "study.png")
    folder = write_photographs(tmp_path / "photos")
    dream("--checkpoint", study, *matched, "--photographs", folder, "-o", "folder.png")
    ours, given = (read_facts(tmp_path / name) for name in ("study.png", "folder.png"))
    assert (ours["photographs"], given["photographs"]) == (str(tmp_path / "results/tiny/dataset"), str(folder))
    assert ours["references_sha256"] != given["references_sha256"]
    dream("--checkpoint", study, "--preset", "maco", "--class", "a", "-o", "maco.png")
    assert read_facts(tmp_path / "maco.png")["statistics_sha256"]
    assert not (tmp_path / "results/.store").exists()


def test_weights_from_elsewhere_need_a_model_and_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_weights(tmp_path / "w.safetensors")
    (tmp_path / "names.txt").write_text("Great Auk\nSnow Bunting (Plectrophenax nivalis)\nCrane\n")
    network = load_network(
        "test_resnet", "w.safetensors", names="names.txt", keys={"normalization": {"mean": 0, "std": 1}}
    )
    assert network.info.labels == ["Great_Auk", "Snow_Bunting", "Crane"] and float(network.classifier.mean.max()) == 0
    assert [find_class(network, name) for name in ("great auk", "plectrophenax NIVALIS", "Crane", "2")] == [0, 1, 2, 2]
    made = dream_image(network, "snow bunting", size=32, steps=2)
    assert made.facts["network"]["names"] == str(tmp_path / "names.txt") and "run" not in made.facts
    assert made.title == "Snow Bunting (Plectrophenax nivalis), dreamt by test_resnet, step 2"


@pytest.mark.parametrize("count", [1000, 1001, 5])
def test_heads_of_imagenet_have_its_names(count):
    names = default_names(count)
    assert len(names) == count
    assert names.index("goldfinch (Carduelis carduelis)") == count - 989 if count > 5 else names == list("01234")


def test_classes_with_the_same_name_are_found_by_number_or_label(study):
    network = load_network(checkpoint=study)
    twins = replace(network, names=["crane (bird)", "crane (machine)", "auk"])
    with pytest.raises(UserError, match=r"^class: 'Crane' is the name of several classes: 0 \(crane \(bird\)\), 1 "):
        find_class(twins, "Crane")
    assert find_class(twins, "machine") == 1
    with pytest.raises(UserError, match=r"^class: the network has no class 'auks'; did you mean 'auk'\?"):
        find_class(twins, "auks")


def test_a_notebook_needs_three_lines(study):
    calls = []
    recipe = replace(list_presets(32)["bird"], steps=(1, 2))
    made = dream_image(load_network(checkpoint=study), "a", recipe, progress=lambda *done: calls.append(done))
    assert calls == [(0, 2), (1, 2), (2, 2), (2, 2)] and made.image.size == (32, 32)
    assert {"dream_image", "load_network"} <= set(dir(dreambirds))
    with pytest.raises(UserError, match=r"^steps: is in the recipe; set it there$"):
        dream_image(load_network(checkpoint=study), "a", recipe, steps=3)


def test_an_interrupted_write_leaves_the_old_file(study, tmp_path, monkeypatch):
    made = dream_image(load_network(checkpoint=study), "a", size=32, steps=1)
    made.save(tmp_path / "a.png")
    before, names = (tmp_path / "a.png").read_bytes(), sorted(tmp_path.iterdir())

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_files, "encode_png", fail)
    with pytest.raises(KeyboardInterrupt):
        replace(made, image=Image.new("RGB", (4, 4))).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before and sorted(tmp_path.iterdir()) == names


def test_steps_scale_schedules_and_changes_replace_them():
    keys = image_parameters("bird", {"blur_sigma": {"from": 1, "to": 0, "over": 7}}, 50)
    assert keys["steps"] == [50] and keys["step_size"]["over"] == 50 and keys["gradient_blur_sigma"]["over"] == 12
    assert keys["blur_sigma"]["over"] == 7
    assert image_parameters("bird", {})["steps"] == [100] == image_parameters("bird", {"steps": 100})["steps"]
    assert scale_steps(image_parameters("portrait", {}), 0.1)["pyramid_steps"] == 10
    assert image_parameters("vital", {}, objective="channel:50%:3")["match_photographs"] == 48


def test_presets_without_photographs_are_all_others():
    assert {"vital", "portrait", "maco"}.isdisjoint(presets_without_photographs())
    assert {"bird", "original", "lucid"} <= set(presets_without_photographs())


def test_networks_of_a_committee_take_turns_and_the_image_can_be_made_again(study, tmp_path, capsys):
    other = checkpoint(tmp_path / "other", seed=3, labels=("c", "a", "b"))
    dream("--checkpoint", study, "--class", "a", "--committee", other.parent, "--steps", 4, "-o", "two.png")
    dream("--checkpoint", study, "--class", "a", "--steps", 4, "-o", "one.png")
    assert not np.array_equal(pixels("one.png"), pixels("two.png"))
    (member,) = read_facts(tmp_path / "two.png")["committee"]
    assert member["network"]["checkpoint"] == str(other) and member["network"]["sha256"] == sha256_of(other)
    main(["redream", "two.png"])
    assert "all pixels are identical" in capsys.readouterr().out
    unknown = checkpoint(tmp_path / "unknown", labels=("x", "y", "z"))
    for arguments, sentence in (
        (
            ("--committee", unknown.parent, "--class", "a"),
            f"--committee: the network '{unknown}' has no class 'a'; avail",
        ),
        (("--committee", tmp_path / "none", "--class", "a"), "--committee: "),
        (("--committee", other.parent, "--layer", "layer2"), "--committee: cannot be combined with a layer, which is"),
        (("--set", "committee=[b]", "--class", "a"), "recipe.committee: names runs of a study; pass the other network"),
    ):
        with pytest.raises(SystemExit, match=rf"^Error: {re.escape(sentence)}"):
            dream("--checkpoint", study, *arguments, "-o", "no.png")
        assert not (tmp_path / "no.png").exists()
