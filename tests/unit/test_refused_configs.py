"""Configs that are refused: old keys, and every kind of fault, in one line."""

import math

import pytest

from dreambirds.errors import UserError
from dreambirds.plan.plan import make_plan
from tests.helpers.plans import config

OLD_KEYS = {
    "dreams__recipes__study": {
        **{
            "image": "parameterization",
            "start_colour": "start_color",
            "total_variation": "tv_weight",
            "l2": "l2_weight",
        },
        **{"gradient_normalisation": "gradient_normalization", "octave_manner": "octave_mode"},
        **{"lengths_at": "reference_size", "crop_view": "crop_output_size"},
    },
    "runs__scratch__augmentation": {"colour": "color"},
    "runs__scratch__adversarial": {"length": "epsilon", "ramp_epochs": "warmup_epochs"},
    "threads": {"load": "loader_workers"},
    "pictures": {"cell": "montage.cell_size", "seconds_per_frame": "frame_duration"},
}


@pytest.mark.parametrize(
    ("section", "old", "new"), [(s, *pair) for s, keys in OLD_KEYS.items() for pair in keys.items()]
)
def test_an_old_key_is_refused_with_the_name_of_the_new_one(section, old, new):
    with pytest.raises(UserError, match=f"the key '{old}' was renamed to '{new}'; rename it$"):
        make_plan(config(**{section: {old: 1}}))


REFUSED = {
    "unknown key 'epoch'; did you mean 'epochs'?": {"runs__scratch__epoch": [1]},
    "config: unknown key 'run'": {"run": {}},
    "runs.scratch.model: timm has no model 'resnet81'; did you mean 'resnet18'?": {"runs__scratch__model": "resnet81"},
    "runs.scratch.optimizer: timm has no optimizer 'adamww'; did you mean 'adamw'?": {
        "runs__scratch__optimizer": "adamww"
    },
    "runs.scratch.epochs: must be ascending, not [2, 1]": {"runs__scratch__epochs": [2, 1]},
    "runs.scratch.epochs: has duplicate values": {"runs__scratch__epochs": [1, 1]},
    "runs.scratch.epochs: must contain at least 1 value": {"runs__scratch__epochs": []},
    "runs.scratch.epochs.0: must be at least 0, not -1": {"runs__scratch__epochs": [-1]},
    "runs.scratch.learning_rate: must be a number, not '1e-3'; write 0.001, because YAML reads '1e-3' as text": {
        "runs__scratch__learning_rate": "1e-3"
    },
    "runs.scratch.learning_rate: must be greater than 0": {"runs__scratch__learning_rate": 0},
    "runs.scratch.learning_rate: must be a number, not .nan": {"runs__scratch__learning_rate": math.nan},
    "runs.scratch.weights: 'nowhere.safetensors' does not exist": {"runs__scratch__weights": "nowhere.safetensors"},
    "runs: the name 'a/b' is not allowed; use 1 to 120": {"runs__a/b": {"model": "test_resnet", "epochs": [0]}},
    "study: the name '..' is not allowed; use 1 to 64": {"study": ".."},
    "dataset.labels: unknown label 'blue_joy'; did you mean 'blue_jay'?": {"dataset__labels": ["blue_joy"]},
    "dreams.labels: unknown label 'scarlet_tanager'": {"dreams__labels": ["scarlet_tanager"]},
    "dataset.source: unknown value 'drawm'; did you mean 'drawn'?": {"dataset__source": "drawm"},
    "dataset.path: must be a folder": {"dataset__source": "folder"},
    "dataset.path: 'nowhere' does not exist; it must be a folder": {"dataset": {"source": "folder", "path": "nowhere"}},
    "dreams.recipes.study.objective: unknown objective 'logits'; did you mean 'logit'?": {
        "dreams__recipes__study__objective": "logits"
    },
    "dreams.recipes.study: unknown key 'blur'": {"dreams__recipes__study__blur": 1},
    "dreams.recipes.study.steps: must be ascending": {"dreams__recipes__study__steps": [5, 2]},
    "dreams.recipes.study.steps.0: must be at least 1": {"dreams__recipes__study__steps": [0]},
    "dreams: the key 'recipes' is missing": {"dreams": {}},
    "dreams.recipes.study.blur_sigma: must be a number from 0 to 100, {random: [low, high]}": {
        "dreams__recipes__study__blur_sigma": {"randm": [0, 1]}
    },
    "dreams.recipes.study.seed: has duplicate values": {"dreams__recipes__study__seed": [1, 1]},
    "dreams.recipes.study.seed: must contain at least 1": {"dreams__recipes__study__seed": []},
    "dreams.recipes.study: expands to 1000000000 recipes": {
        "dreams__recipes__study": {"steps": [1], **{key: list(range(1000)) for key in ("seed", "jitter", "step_size")}}
    },
    "'twin' is the same recipe as 'study'": {"dreams__recipes__twin": {"steps": [2, 5]}},
    "dreams.recipes.twin: 'twin' is the same recipe as 'study'": {
        "dreams__recipes__twin": {"steps": [2, 5], "epochs": [0]}
    },
    "dreams.recipes.study.runs: the study has no run 'scrath'; did you mean 'scratch'?": {
        "dreams__recipes__study__runs": ["scrath"]
    },
    "dreams.recipes.study.runs: must be a list or null, not 'scratch'": {"dreams__recipes__study__runs": "scratch"},
    "dreams.recipes.study.runs: must contain at least 1 value": {"dreams__recipes__study__runs": []},
    "dreams.recipes.study.runs: has duplicate values": {"dreams__recipes__study__runs": ["scratch", "scratch"]},
    "dreams.recipes.study.epochs: must contain at least 1 value": {"dreams__recipes__study__epochs": []},
    "dreams.recipes.study.epochs: has duplicate values": {"dreams__recipes__study__epochs": ["last", "last"]},
    "dreams.recipes.study.epochs.0: must be an epoch from 0 to 9999, or 'last', not 'first'": {
        "dreams__recipes__study__epochs": ["first"]
    },
    "dreams.recipes.study.epochs: no run keeps a checkpoint of epoch 2; available: 0, 1, 4, last": {
        "dreams__recipes__study__epochs": [0, 2]
    },
    "dreams.recipes.study.epochs: the run 'other' keeps only epochs 0, 3; add one of them to 'epochs', or list the "
    "other runs in 'runs'": {
        "dreams__recipes__study__epochs": [4],
        "runs__other": {"model": "test_resnet", "epochs": [0, 3]},
    },
    "dreams.recipes.study.start_path: is only used with": {"dreams__recipes__study__start_path": "x.jpg"},
    "dreams.recipes.study.start_path: 'nowhere.jpg' does not exist; correct the path": {
        "dreams__recipes__study__start_path": "nowhere.jpg",
        "dreams__recipes__study__start": "photograph",
    },
    "dreams.recipes.study.jitter: is 96 pixels at this size, but must be less than 96, the side of the first octave": {
        "dreams__recipes__study__jitter": 96
    },
    "dreams.recipes.study.preset: unknown value 'lucit'; did you mean 'lucid'?": {
        "dreams__recipes__study__preset": "lucit"
    },
    "dreams.recipes.study.objective: the objective 'channel:layer1' must have the form channel:LAYER:CHANNEL": {
        "dreams__recipes__study__objective": "channel:layer1"
    },
    "dreams.recipes.study.objective: must not be empty": {"dreams__recipes__study__objective": {}},
    "dreams.recipes.study.objective.logit: must be a number": {"dreams__recipes__study__objective": {"logit": "much"}},
    "dreams.recipes.study.blur_sigma: is only used with 'parameterization: pixels', not 'parameterization: fourier'": {
        "dreams__recipes__study__parameterization": "fourier"
    },
    "dreams.recipes.study.start: 'gray' has no phases, which 'parameterization: maco' needs": {
        "dreams__recipes__study": {"parameterization": "maco", "blur_sigma": 0.0}
    },
    "dreams.recipes.study.momentum: is only used with 'optimizer: ascent', not 'optimizer: adam'": {
        "dreams__recipes__study": {"optimizer": "adam", "momentum": 0.5}
    },
    "dreams.recipes.study.weight_decay: is only used with 'optimizer: adam, adamw or nadam'": {
        "dreams__recipes__study__weight_decay": 0.1
    },
    "dreams.recipes.study.tile: cannot be combined with 'crops'; remove one of them": {
        "dreams__recipes__study": {"tile": 64, "crops": 2}
    },
    "dreams.recipes.study.tile: cannot be combined with 'crop_area'; remove one of them": {
        "dreams__recipes__study": {"tile": 64, "crop_area": 0.5}
    },
    "dreams.recipes.study.crops: cannot be combined with 'crop_area'; remove one of them": {
        "dreams__recipes__study": {"crops": 2, "crop_area": 0.5}
    },
    "dreams.recipes.study.crop_area: must be null, a number from 0.01 to 1, or {from: a, to: b, over: steps}, not": {
        "dreams__recipes__study__crop_area": {"random": [0.4, 0.9]}
    },
    "dreams.recipes.study.whole_views: is only used with 'crop_area'; set it to 0": {
        "dreams__recipes__study__whole_views": 0.5
    },
    "study.pyramid_steps: is only used with 'parameterization: pyramid', not 'parameterization: pixels'": {
        "dreams__recipes__study__pyramid_steps": 9
    },
    "study.pyramid_decay: is only used with 'parameterization: pyramid', not 'parameterization: pixels'; set it to 1": {
        "dreams__recipes__study__pyramid_decay": 0.8
    },
    "dreams.recipes.study.match_statistics: is only used with 'objective: feature_match'; set it to sorted": {
        "dreams__recipes__study__match_statistics": "moments"
    },
    "dreams.recipes.study.match_regions: is only used with 'objective: feature_match'; set it to whole": {
        "dreams__recipes__study__match_regions": "thirds"
    },
    "dreams.recipes.study.match_crop_regions: is only used with 'objective: feature_match'; set it to null": {
        "dreams__recipes__study": {"match_crop_regions": "center", "crop_area": 0.5}
    },
    "dreams.recipes.study.match_crop_regions: is only used with 'crop_area'; set it to null": {
        "dreams__recipes__study": {"objective": "feature_match", "match_crop_regions": "center"}
    },
    "dreams.recipes.study.match_stride: is only used with 'objective: feature_match'; set it to 1": {
        "dreams__recipes__study__match_stride": 2
    },
    "dreams.recipes.study.match_photographs: is only used with 'objective: feature_match'; set it to 48": {
        "dreams__recipes__study__match_photographs": 9
    },
    "dreams.recipes.study.match_views: is only used with 'objective: feature_match'; set it to 4": {
        "dreams__recipes__study__match_views": 9
    },
    "dreams.recipes.study.match_regions: unknown value 'third'; did you mean 'thirds'?": {
        "dreams__recipes__study": {"objective": "feature_match", "match_regions": "third"}
    },
    "dreams.recipes.study.objective: the objective 'feature_match:' must have the form feature_match": {
        "dreams__recipes__study__objective": "feature_match:"
    },
    "study.objective: feature_match cannot be combined with 'octaves', because it needs views of one size; "
    "set 'octaves' to 1": {"dreams__recipes__study": {"objective": "feature_match", "octaves": 2, "octave_steps": 2}},
    "study.objective: feature_match cannot be combined with 'tile', because it needs views of one size; "
    "set 'tile' to null": {
        "dreams__recipes__study": {"objective": {"logit": 1, "feature_match:layer1": 1}, "tile": 64}
    },
    "feature_match cannot be combined with 'crops'": {
        "dreams__recipes__study": {"objective": "feature_match", "crops": 2}
    },
    "feature_match cannot be combined with 'pad'": {"dreams__recipes__study": {"objective": "feature_match", "pad": 4}},
    "dreams.recipes.study.octaves: the first of 6 would have a side of 13 pixels": {
        "dreams__recipes__study": {"octaves": 6, "octave_scale": 1.5}
    },
    "dreams.recipes.study.rotate: must be {random: [low, high]} with low <= high, not [10, -10]": {
        "dreams__recipes__study__rotate": {"random": [10, -10]}
    },
    "dreams.recipes.study.start_color: must be a color, \"#rrggbb\", not 'red'": {
        "dreams__recipes__study__start_color": "red"
    },
    "dreams.recipes.study.step_size: must be a number above 0, up to 10000": {
        "dreams__recipes__study__step_size": {"random": [1, 2]}
    },
    "dreams.recipes.study.momentum: must be less than 1, not 1": {"dreams__recipes__study__momentum": 1},
    "dreams.recipes.study.step_size: has duplicate values": {"dreams__recipes__study__step_size": [1, 1.0]},
    "dreams.recipes.study.start_path: two values give the same recipe name, 'study-start_path-a_b.jpg'": {
        "dreams__recipes__study__start_path": ["a b.jpg", "a_b.jpg"],
        "dreams__recipes__study__start": "photograph",
    },
    "runs.scratch.epochs: must have at most 4 decimals, not 0.12345": {"runs__scratch__epochs": [0, 0.12345]},
    "runs.scratch.batch_size: must be at least 2": {"runs__scratch__batch_size": 1},
    "dataset.path: is only used with 'source: folder'": {"dataset__path": "somewhere"},
    "dataset.labels: must name at least 2 classes": {"dataset__labels": ["blue_jay"]},
    "pictures.view: unknown value 'rescale'; did you mean 'rescaled'?": {"pictures__view": "rescale"},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_faulty_configs_are_refused_with_one_line(sentence):
    with pytest.raises(UserError) as refusal:
        make_plan(config(**REFUSED[sentence]))
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
