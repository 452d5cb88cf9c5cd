"""Several dreams of one target in jobs, single images, metrics and estimates: one sheet, measured image by image."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageSequence

from dreambirds.cli import main
from dreambirds.data.image_io import to_tensor
from dreambirds.dream_job.archive import Picture, open_image, open_images
from dreambirds.dream_job.batches import batch_size, estimate_activation_memory
from dreambirds.dream_job.context import DreamContext
from dreambirds.dream_job.image_files import encode_png, read_facts, tiles
from dreambirds.dreaming.recipe import as_recipe
from dreambirds.errors import UserError
from dreambirds.evaluation.aligned import AlignedPhotographs, shrink
from dreambirds.evaluation.evaluate import evaluate
from dreambirds.evaluation.judge import Judge
from dreambirds.evaluation.pixels import RealPixels, measure_saved, radial_spectrum, spectrum_distance, total_variation
from dreambirds.evaluation.reference import RealReference
from dreambirds.models import MODEL_FILE
from dreambirds.models.inference import prepare_for_inference
from dreambirds.one_image.again import redream
from dreambirds.plan import measurements, memory
from dreambirds.plan.plan import make_plan
from dreambirds.runtime.timings import dream_work, record
from dreambirds.startup.estimate import estimate
from tests.helpers.dream_bench import CPU, parameters
from tests.helpers.one_image import dream, pixels, write_study
from tests.helpers.plans import config, plan_of
from tests.helpers.small import close, settled

LUCID = {"preset": "lucid", "steps": [2, 3], "size": 32, "variants": 3}


def test_a_job_packs_one_sheet_per_label_and_step(dreamer):
    assert dreamer.dreamt(parameters=parameters(**LUCID, film_every=2)) == 6
    assert dreamer.dreamt("again", parameters=parameters(**LUCID, film_every=2)) == 0, "from the store"
    table = dreamer.table()
    assert table[["label", "step"]].values.tolist() == [[label, step] for label in "abc" for step in (2, 3)]
    assert (table["steps_done"] == table["step"]).all() and table["loss"].notna().all()
    picture = Picture(dreamer.archive(), "b/step-0003.png")
    assert open_image(picture).size == (64, 64)
    found = open_images(picture)
    assert [image.size for image in found] == [(32, 32)] * 3
    assert len({image.tobytes() for image in found}) == 3
    assert open_image(picture).getpixel((48, 48)) == (128, 128, 128), "a blank cell"
    assert [image.tobytes() for image in open_images(dreamer.folder / "out/b/step-0003.png")] == [
        image.tobytes() for image in found
    ]
    with Image.open(dreamer.folder / "out/b/film.gif") as film:
        assert {frame.size for frame in ImageSequence.Iterator(film)} == {(64, 64)}
    trace = pd.read_csv(dreamer.folder / "out/b/trace.csv")
    assert trace["step"].tolist() == [0, 1, 2, 3] and trace["prediction"].isin(list("abc")).all()


def test_the_first_of_a_group_without_the_term_is_the_dream_of_one_variant(dreamer):
    noise = {"start": "noise", "preset": "original", "steps": [3], "size": 32}
    dreamer.dreamt("one", parameters=parameters(**noise))
    dreamer.dreamt("four", parameters=parameters(**noise, variants=4, diversity=0))
    for label in "abc":
        (alone,) = open_images(dreamer.folder / f"one/{label}/step-0003.png")
        first, *others = open_images(dreamer.folder / f"four/{label}/step-0003.png")
        assert np.abs(np.asarray(first, int) - np.asarray(alone, int)).max() <= 1
        assert all(np.abs(np.asarray(other, int) - np.asarray(alone, int)).mean() > 5 for other in others)


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path)


def test_one_image_of_several_variants_is_made_again(study, dreamer, capsys):
    dream("--checkpoint", study, "--class", "a", "--preset", "lucid", "--set", "variants=4", "-o", "a.png")
    main(["redream", "a.png"])
    assert capsys.readouterr().out.splitlines()[-1].endswith(": all pixels are identical to 'a.png'")
    assert pixels("a.png").shape == (64, 64, 3) and read_facts("a.png")["parameters"]["variants"] == 4
    assert list(read_facts("a.png")["layers"]) == ["50%"], "the layer in which the variants are compared"
    dreamer.dreamt(checkpoint=study / MODEL_FILE, parameters=parameters(**LUCID))
    assert redream(dreamer.folder / "out/b/step-0002.png").identical


def test_the_probability_before_is_the_mean_over_the_starts(study, dreamer):
    recipe = parameters(preset="original", start="noise", steps=[1], variants=2, size=32)
    context = DreamContext(replace(dreamer.job, parameters=recipe), CPU)
    starts = context.starts(["a", "b"], context.rngs(["a", "b"]))
    assert starts.shape == (4, 3, 32, 32) and context.images(["a", "b"]) == ["a", "a", "b", "b"]
    assert len({start.numpy().tobytes() for start in starts}) == 4


def noise(seed: int, size: int = 32) -> Image.Image:
    """Return an image of noise that is brighter for a larger seed."""
    return Image.fromarray((np.random.default_rng(seed).random((size, size, 3)) * (60 + 60 * seed)).astype(np.uint8))


@pytest.fixture
def sheet(tmp_path):
    """Return the path of a sheet of three images, and the images."""
    images, page = [noise(seed) for seed in range(3)], Image.new("RGB", (64, 64), (128, 128, 128))
    for image, corner in zip(images, [(0, 0), (32, 0), (0, 32)], strict=True):
        page.paste(image, corner)
    path = tmp_path / "sheet.png"
    path.write_bytes(encode_png(page, "", {"parameters": {"variants": 3}}))
    return path, images


def test_tiles_are_the_images_of_a_sheet(sheet):
    path, images = sheet
    assert [tile.tobytes() for tile in open_images(path)] == [image.tobytes() for image in images]
    assert [tile.size for tile in tiles(Image.new("RGB", (30, 20)), 6)] == [(10, 10)] * 6
    images[0].save(path)
    assert [tile.tobytes() for tile in open_images(path)] == [images[0].tobytes()], "without metadata"


def test_a_judge_evaluates_each_image_of_a_sheet(sheet):
    path, images = sheet
    classifier = settled()
    judge = Judge("j", classifier, (32, 32), ["a", "b", "c"], {"a": 0, "b": 1, "c": 2})
    real = RealReference({}, {}, {}, "", {}, {}, pd.DataFrame(columns=["label", "path", "nearest", "distance"]))
    rows = pd.DataFrame({"picture": [path, path], "label": ["b", "c"], "key": ["k", "l"]})
    found = evaluate(judge, real, rows, 2, compared=True)
    with torch.no_grad():
        each = torch.cat([classifier(to_tensor(image)[None] / 255) for image in images])
    mean = each.mean(dim=0)
    assert close(found["probability"], mean.double().softmax(dim=0)[1:], 1e-5)
    assert found["prediction"].tolist() == ["abc"[mean.argmax()]] * 2
    assert found["rank"].tolist() == [1 + int((mean > mean[index]).sum()) for index in (1, 2)]


def test_metrics_of_pixels_are_means_over_the_images_of_a_sheet(sheet, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    path, images = sheet
    small = np.stack([shrink(noise(seed), (32, 32)) for seed in (7, 1)])
    spectrum = np.linspace(0, -2, 16)
    real = RealPixels({"a": spectrum}, {"a": small}, {"a": ["p", "q"]}, {"a": 0.5})
    row = {"run": "r", "epoch": 1, "recipe": "s", "step": 1, "view": "raw", "sha256": "0", "picture": path}
    found = measure_saved(pd.DataFrame([{**row, "label": "a"}, {**row, "label": "b"}]), real, "code")
    floats = [np.asarray(image) / 255 for image in images]
    variation = np.mean([total_variation(image) for image in floats])
    assert close(found["total_variation"], [variation] * 2)
    assert close(
        found["spectrum_distance"][0], np.mean([spectrum_distance(radial_spectrum(f), spectrum) for f in floats])
    )
    distances = np.mean([AlignedPhotographs(small).distances(np.asarray(image)) for image in images], axis=0)
    assert close(found["pixel_distance"][0], distances.min()) and close(found["pixel_ratio"][0], distances.min() / 0.5)


def test_memory_and_batches_count_the_images(files):
    size, model = (32, 32), prepare_for_inference(settled(), 32, CPU)
    one, several = (as_recipe(parameters(preset="lucid", variants=count), 32) for count in (1, 4))
    alone, together = (estimate_activation_memory(model, recipe, size) for recipe in (one, several))
    layer = estimate_activation_memory(model, replace(one, objective={"logit": 1, "layer_l2:50%": 1}), size)
    assert 4 * alone < together and 4 * layer < together < 8 * alone
    assert estimate_activation_memory(model, replace(several, diversity=0), size) == 4 * alone
    assert batch_size(100, 10**6, CPU, 4) == 4 and batch_size(100, 150, CPU, 4) == 1
    assert batch_size(100, 10**6, CPU, 16) == 1
    plans = [plan_of({"r": {**LUCID, "variants": count, "size": 512}}, labels=None) for count in (1, 4)]
    keys = [measurements.dreaming(plan, "a", "r") for plan in plans]
    assert keys[0] != keys[1] != measurements.dreaming(plan_of({"r": {**LUCID, "size": 512}}), "a", "r")
    for plan, key, image in zip(plans, keys, (10**8, 4 * 10**8), strict=True):
        measurements.write(measurements.training(plan, "a"), {"weights": 0, "learning": 0, "image": 0})
        measurements.write(key, {"image": image})
    kept = [2 * 4 * 3 * 512**2 * count for count in (1, 4)]
    requested = [memory.dream_mb(plan, measurements.stored(plan), "a", "r") for plan in plans]
    expected = [900 + (8 * (10**8 + kept[0])) / 10**6, 900 + (4 * (4 * 10**8 + kept[1])) / 10**6]
    assert requested == [100 * int(np.ceil(each / 100)) for each in expected], "four dreams of four images at once"


def test_time_and_disk_are_estimated_for_all_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    found = {}
    for count in (1, 4):
        recipe = {"preset": "lucid", "steps": [10], "variants": count}
        plan = make_plan(config(judges={}, dreams__recipes__study=recipe))
        record(dream_work("test_resnet", plan.recipes["study"], plan.shape("study")), 3, 1)
        found[count] = estimate(plan, plan.dream_jobs, None)
    assert found[1].seconds == 3 * 10 * 2 * 3 and found[4].seconds == 4 * found[1].seconds
    images = 2 * 3 * 2 * 3 * np.prod(plan.shape("study")) * 0.6  # bytes of two classes, three epochs and two views
    assert found[4].size - found[1].size == pytest.approx(3 * images * (2 + 3), abs=2), "two copies, and figures"


REFUSED = {
    "variants: must be at most 16, not 17": {"variants": 17},
    "variants: cannot be combined with 'tile'": {"variants": 2, "tile": 64, "jitter": 1},
    "variants: would all be the same image, because neither": {"variants": 2, "flip": 0},
    "variants: would all be": {"variants": 2, "flip": 1, "start": "noise", "start_noise": 0},
    "diversity: is only used with 'variants' above 1; set it to": {"diversity": 3.0},
    "diversity_layer: is only used with 'variants' above 1; set it to '50%'": {"diversity_layer": "layer1"},
    "diversity: must be at least 0": {"variants": 2, "diversity": -1},
}


@pytest.mark.parametrize("message", REFUSED)
def test_variants_that_cannot_be_made_are_refused(message):
    with pytest.raises(UserError) as error:
        make_plan(config(dreams__recipes__study=REFUSED[message]))
    assert str(error.value).startswith(f"dreams.recipes.study.{message}"), error.value


@pytest.mark.parametrize("keys", [{"flip": 0, "start": "noise"}, {"rotate": {"random": [-1, 1]}}, {}])
def test_variants_whose_starts_or_views_are_random_are_allowed(keys):
    plan = make_plan(config(dreams__recipes__study={"variants": 5, "steps": [3], **keys}))
    height, width = plan.shape("study")
    assert plan.sheet_shape("study") == (2 * height, 3 * width)
