"""What judges that did not dream see in a study's dreams, recipe by recipe.

``PYTHONPATH=workflow .venv/bin/python benchmarks/judge.py results/bird results/judges/runs/*/epoch-*.safetensors``

Prints, for each recipe (its seeds taken together), epoch, step and view: the judges' mean probability of the class that
was dreamt of, how often that class comes first, how many dreams that is, and, with --against RECIPE, the mean
difference from that recipe's dreams of the same class, epoch, step and view, in grey levels of 255.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from dreambirds.data.shapes import shape_of
from dreambirds.models.build import Classifier
from dreambirds.models.checkpoint import Card, load_checkpoint
from dreambirds.pictures.provenance import read_facts

FACTS = ["run", "epoch", "seed", "label", "step", "view"]
KEYS = ["recipe", "epoch", "step", "view"]


def list_dreams(study: Path) -> pd.DataFrame:
    """Return a row for every picture of a study: its path, run, epoch, recipe (without its seed), label, step, view."""
    rows = []
    for path in sorted(study.glob("dreams/*/*/*/*/step-*.png")):
        facts = read_facts(path)
        recipe = re.sub(r"-seed-\d+", "", facts["recipe"])
        rows.append({"path": path, **{key: facts[key] for key in FACTS}, "recipe": recipe})
    return pd.DataFrame(rows)


def judged(dreams: pd.DataFrame, judge: Classifier, card: Card) -> pd.DataFrame:
    """Return each dream's probability of its own class, and whether that comes first."""
    targets = torch.tensor([card.labels.index(label) for label in dreams["label"]])
    size = shape_of(card.image_size)[::-1]
    pictures = [Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC) for path in dreams["path"]]
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        chances = torch.cat([judge(batch).softmax(dim=1) for batch in pixels.split(64)])
    own = chances.gather(1, targets[:, None])[:, 0]
    first = chances.argmax(dim=1) == targets
    return pd.DataFrame({"probability": own, "first": first.float()}, index=dreams.index)


def difference(dreams: pd.DataFrame, recipe: str) -> pd.Series:
    """Return each dream's mean absolute difference from the same dream under another recipe, in grey levels."""
    others = dreams[dreams["recipe"] == recipe].set_index(FACTS)["path"]
    pairs = zip(dreams["path"], others.reindex(pd.MultiIndex.from_frame(dreams[FACTS])), strict=True)
    far = [np.abs(_grey(path) - _grey(other)).mean() if isinstance(other, Path) else np.nan for path, other in pairs]
    return pd.Series(far, index=dreams.index)


def _grey(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(float)


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Print the table and return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="the results of a study, such as results/bird")
    parser.add_argument("judges", type=Path, nargs="+", help="checkpoints of networks that did not dream")
    parser.add_argument("--against", help="the recipe to take differences from")
    settings = parser.parse_args(arguments)
    dreams = list_dreams(settings.study)
    opinions = pd.concat([judged(dreams, *load_checkpoint(path)) for path in settings.judges])
    dreams = dreams.join(opinions.groupby(level=0).mean())
    if settings.against:
        dreams["difference"] = difference(dreams, settings.against)
    measures = [column for column in ("probability", "first", "difference") if column in dreams]
    table = dreams.groupby(KEYS)[measures].mean().assign(dreams=dreams.groupby(KEYS).size())
    print(table.to_string(float_format="{:.3f}".format))
    return table


if __name__ == "__main__":
    main()
