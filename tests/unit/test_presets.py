"""Presets have the published numbers, and lengths in pixels scale with the image size."""

from dataclasses import replace

import pytest

from dreambirds.config.recipes import expand_grid, load_presets
from dreambirds.dreaming.recipe import Recipe, as_recipe
from dreambirds.errors import UserError

NORMALIZED = 0.225  # ImageNet's standard deviation, the unit of DeepInversion
PUBLISHED = {
    "original": Recipe("logit", steps=(200, 500, 1000, 2000), blur_sigma=0.5, flip=0.5),
    "tensorflow-tutorial": Recipe(
        {"layer_mean:50%": 1.0, "layer_mean:75%": 1.0},
        **{"steps": (5 * 50,), "step_size": 0.01 / 2, "gradient_normalization": "std", "tile": 512},
        **{"octaves": 5, "octave_scale": 1.3, "octave_steps": 50, "octave_mode": "resize"},
    ),
    "google-2015": Recipe(
        "layer_l2:75%",
        **{"steps": (4 * 10,), "step_size": 1.5 / 255, "gradient_normalization": "mean_abs", "roll": 32},
        **{"octaves": 4, "octave_scale": 1.4, "octave_steps": 10, "octave_mode": "detail"},
    ),
    "lucid": Recipe(
        **{"parameterization": "fourier", "optimizer": "adam", "step_size": 0.05, "steps": (512,)},
        **{"pad": 12, "jitter": (8 + 4) // 2, "scale": {"random": [0.9, 1.1]}, "rotate": {"random": [-10, 10]}},
    ),
    "torch-dreams": Recipe(
        **{
            "parameterization": "fourier",
            "optimizer": "adamw",
            "step_size": 9e-3,
            "steps": (120,),
            "gradient_clip": 1.0,
        },
        **{"scale": {"random": [0.5, 1.2]}, "scale_width": {"random": [0.5, 1.2]}, "rotate": {"random": [-15, 15]}},
    ),
    "captum": Recipe(
        **{"parameterization": "fourier", "optimizer": "adam", "step_size": 0.025, "steps": (512,)},
        **{"jitter": 16, "scale": {"random": [0.95, 1.05]}},
    ),
    "deep-inversion": Recipe(
        "cross_entropy",
        **{"tv_weight": 1e-4 / NORMALIZED, "l2_weight": 1e-5 / NORMALIZED, "batch_norm_prior": 0.05, "roll": 30},
        **{"steps": (2000 + 1000,), "optimizer": "adam", "beta1": 0.5, "beta2": 0.9, "flip": 0.5},
        **{"step_size": {"from": round(0.2 * NORMALIZED, 9), "to": 0.0, "over": 3000, "shape": "cosine"}},
        **{"octaves": 2, "octave_scale": 2.0, "octave_steps": 2000},
    ),
    "maco": Recipe(
        **{"parameterization": "maco", "optimizer": "nadam", "step_size": 1.0, "steps": (1000,)},
        **{"crops": 6, "crop_size": {"random": [0.20, 0.25]}, "noise": 0.05 / 5},
    ),
    "direct-ascent": Recipe(
        **{"parameterization": "pyramid", "optimizer": "adam", "steps": (50, 100, 200, 400), "step_size": 0.02},
        **{"jitter": round(56 * 100 / 336), "noise": 0.2},
    ),
    "vital": Recipe(
        "feature_match",
        **{"match_photographs": 50, "optimizer": "adam", "beta1": 0.5, "beta2": 0.9, "steps": (250, 500, 1000, 2000)},
        **{"step_size": {"from": 1.0 * NORMALIZED, "to": 0.0, "over": 2000, "shape": "cosine"}},
        **{"roll": round(30 * 100 / 224)},
    ),
}
OWN_CHOICE = {  # unpublished for the original; DeepInversion's would drown the class of a single image
    "original": {"step_size", "gradient_normalization"},
    "direct-ascent": {"optimizer", "step_size", "steps"},  # one view per step, not 16, and Adam instead of plain steps
    "deep-inversion": {"batch_norm_prior"},
}
STARTS = {
    **{"original": "gray", "tensorflow-tutorial": "photograph", "google-2015": "photograph", "lucid": "spectral_noise"},
    **{"torch-dreams": "spectral_noise", "captum": "spectral_noise", "deep-inversion": "noise", "maco": "noise"},
    **{"direct-ascent": "gray", "vital": "noise"},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_preset_has_its_published_parameters_and_no_others(name):
    (point,) = expand_grid("a", {"preset": name}).values()
    got, published = vars(as_recipe(point, 100)), vars(PUBLISHED[name])
    for key in got.keys() - OWN_CHOICE.get(name, set()):
        expected = published[key]
        near = isinstance(expected, float) and not isinstance(got[key], dict)
        assert got[key] == (pytest.approx(expected, rel=2e-3) if near else expected), key
    assert point["start"] == STARTS[name]
    assert name not in ("deep-inversion", "vital") or point["start_noise"] == NORMALIZED


def test_presets_have_a_source_and_an_unknown_one_is_refused():
    assert set(load_presets()) == {*PUBLISHED, "bird", "portrait", "portrait-free"}, (
        "the numbers of these were found here"
    )
    (bird,) = expand_grid("a", {"preset": "bird"}).values()
    assert as_recipe(bird, 64).steps == tuple(bird["steps"])
    assert all(len(preset.source) > 20 for preset in load_presets().values())
    with pytest.raises(UserError, match=r"dreams\.recipes\.a\.preset: .*google-2015"):
        expand_grid("a", {"preset": "google-2051"})


def test_lengths_scale_with_the_image_if_a_recipe_has_a_reference_size():
    line, wave = {"from": 2.0, "to": 0.5, "over": 9}, {"from": 1.0, "to": 3.0, "over": 4, "shape": "cosine"}
    lengths = {"blur_sigma": line, "gradient_blur_sigma": {"random": [0.5, 1.0]}, "jitter": 3, "roll": 8, "pad": 5}
    (point,) = expand_grid("a", {**lengths, "reference_size": 64}).values()
    same, larger, smaller = (as_recipe(point, side) for side in (64, 160, 32))
    assert {key: getattr(same, key) for key in lengths} == lengths
    assert larger.blur_sigma == {"from": 5.0, "to": 1.25, "over": 9} and larger.gradient_blur_sigma["random"] == [
        1.25,
        2.5,
    ]
    assert (larger.jitter, larger.roll, larger.pad) == (8, 20, 12) and isinstance(larger.jitter, int)
    assert smaller.roll == 4 and smaller.blur_sigma["to"] == 0.25
    assert replace(larger, **lengths) == same, "nothing else is scaled"
    (point,) = expand_grid("a", {"blur_sigma": wave, "gradient_blur_sigma": 0.5}).values()
    assert as_recipe(point, 999).blur_sigma == wave, "lengths are not scaled without a reference size"
    (point,) = expand_grid("a", {"blur_sigma": wave, "gradient_blur_sigma": 0.5, "reference_size": 16}).values()
    assert as_recipe(point, 32).blur_sigma == {"from": 2.0, "to": 6.0, "over": 4, "shape": "cosine"}
    assert as_recipe(point, 32).gradient_blur_sigma == 1.0
