"""Measure the memory of one step of a large dream.

Run it as ``.venv/bin/python -m benchmarks.large``.
"""

import argparse
import resource

import torch

from dreambirds.dreaming.dream import dream
from dreambirds.dreaming.recipe import Recipe
from dreambirds.models.classifier import build
from dreambirds.models.inference import prepare_for_inference
from dreambirds.seeding import generator


def main() -> None:
    """Compute one step of a dream, and print the peak memory of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="inception_v4")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--tile", type=int, default=512, help="tile size; 0 disables tiling")
    settings = parser.parse_args()
    torch.manual_seed(0)
    model = prepare_for_inference(build(settings.model, 8, {}).eval(), 299, torch.device("cpu"))
    recipe = Recipe(steps=(1,), gradient_normalization="std", blur_sigma=0.5, jitter=8, tile=settings.tile or None)
    starts = torch.rand((1, 3, settings.size, settings.size), generator=torch.Generator().manual_seed(0))
    dreams = dream(model, torch.tensor([1]), starts, recipe, [generator(0, "large")])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{settings.model}, {settings.size} pixels, tile {settings.tile}: peak memory {peak:.2f} GiB")
    assert dreams.trace.mean_abs_change[0, 1] > 0, "the step did not change the image"


if __name__ == "__main__":
    main()
