"""Dream of classes with another tool and a checkpoint of a study.

Runs in the virtual environment of the tools (`benchmarks.peers`). Writes one PNG file per class into a folder, named
after its label, and prints one line of JSON: the steps of a dream, its passes, and the mean seconds of a dream.
"""

import argparse
import contextlib
import json
import random
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.peers import HORAMA_CROPS, MEAN, STD, horama, lucent, torch_dreams
from dreambirds.dream_job.views import to_image
from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.models.inference import prepare_for_inference
from dreambirds.seeding import derive_seed
from dreambirds.shapes import shape_of

PASSES = {"torch-lucent": 1, "torch-dreams": 1, "horama": HORAMA_CROPS}  # per step


class ForPeers(nn.Module):
    """A classifier of images (B, 3, H, W) that are normalized for ImageNet's networks, as the tools pass them.

    The module `logits` returns the logits (B, C).
    """

    def __init__(self, classifier: nn.Module):
        """Wrap a classifier of images in [0, 1], which has its own normalization."""
        super().__init__()
        self.classifier, self.logits = classifier, nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of normalized images."""
        return self.logits(self.classifier(images * STD + MEAN))


def seed_all(seed: int, label: str) -> None:
    """Seed the generators that the tools use, for the dream of a label."""
    number = derive_seed(seed, label) % 2**32
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def main() -> None:
    """Dream of the classes, write the images, and print the facts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=list(PASSES))
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights file of the checkpoint")
    parser.add_argument("--labels", nargs="+", required=True, help="classes to dream of")
    parser.add_argument("--passes", type=int, required=True, help="forward and backward passes per dream")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True, help="folder for the images")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    classifier, info = load_checkpoint(settings.checkpoint)
    side = min(shape_of(info.image_size))
    model = ForPeers(prepare_for_inference(classifier, side, torch.device("cpu"))).eval()
    steps = max(1, round(settings.passes / PASSES[settings.peer]))
    tools = {
        "torch-lucent": partial(lucent, model, "logits", side=side, steps=steps, input_side=side),
        "torch-dreams": partial(torch_dreams, model, "logits", side=side, steps=steps),
        "horama": partial(horama, model, side=side, steps=steps),
    }
    seconds = 0.0
    for label in settings.labels:
        seed_all(settings.seed, label)
        started = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            image = tools[settings.peer](target=info.labels.index(label))
        seconds += time.perf_counter() - started
        to_image(image).save(settings.folder / f"{label}.png")
    passes = steps * PASSES[settings.peer]
    print(json.dumps({"steps": steps, "passes": passes, "seconds": seconds / len(settings.labels)}))


if __name__ == "__main__":
    main()
