"""How a judge sees real photographs of the study's classes: what dreams are held against, and how good the judge is."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from dreambirds.data.dataset import Pictures
from dreambirds.data.tables import read_labels
from dreambirds.evaluation.judge import Judge, batches
from dreambirds.evaluation.metrics import classification_metrics, cosine_distance

MOST = 100  # photographs a class and part that are looked at
NOISES = 256
SHUFFLES = 100


@dataclass(frozen=True)
class RealReference:
    """The mean features of each class's training photographs, how far held-out ones lie from it on average, by label,
    and what the judge makes of real pictures and of noise."""

    centers: dict[str, torch.Tensor]
    held_out: dict[str, float]
    check: dict[str, float]


def evaluate_on_real(judge: Judge, folder: Path) -> RealReference:
    """Show a judge the photographs of the prepared data set in `folder`, of the classes that it knows."""
    labels = list(read_labels(folder)["label"])
    train, validation = (_look(judge, Pictures(folder, part), labels) for part in ("train", "validation"))
    centers = {label: features.mean(dim=0) for label, (_, features) in train.items()}
    held_out = {
        label: float(cosine_distance(features, centers[label]).mean())
        for label, (_, features) in validation.items()
        if label in centers
    }
    return RealReference(
        centers, held_out, {**_check(judge, validation or train, bool(validation)), **_check_noise(judge)}
    )


def _look(judge: Judge, pictures: Pictures, labels: list[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the logits and features of each class's first photographs, by label."""
    places: dict[str, list[int]] = {}
    for place, target in enumerate(pictures.targets):
        if labels[target] in judge.places:
            places.setdefault(labels[target], []).append(place)
    chosen = {label: found[:MOST] for label, found in places.items()}
    if not chosen:
        return {}
    numbers = [number for found in chosen.values() for number in found]
    logits, features = judge.look(batches(numbers, lambda number: pictures[number][0]))
    sizes = [len(found) for found in chosen.values()]
    return dict(zip(chosen, zip(logits.split(sizes), features.split(sizes), strict=True), strict=True))


def _check(judge: Judge, real: dict[str, tuple[torch.Tensor, torch.Tensor]], held_out: bool) -> dict[str, float]:
    logits = torch.cat([logits for logits, _ in real.values()])
    targets = torch.cat([torch.full((len(each),), judge.places[label]) for label, (each, _) in real.items()])
    seen = classification_metrics(logits, targets)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(targets), generator=generator) for _ in range(SHUFFLES)]
    shuffled = [float((seen["first"] == targets[order]).float().mean()) for order in orders]
    return {
        "held_out": len(targets) if held_out else 0,
        "held_out_top1": float((seen["rank"] == 1).float().mean()),
        "held_out_probability": float(seen["probability"].mean()),
        "shuffled_top1": sum(shuffled) / SHUFFLES,
    }


def _check_noise(judge: Judge) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (NOISES, 3, *judge.shape), generator=generator, dtype=torch.uint8)
    logits, _ = judge.look(batches(noise, lambda picture: picture))
    places = torch.tensor(list(judge.places.values()))
    seen = classification_metrics(logits, places[torch.arange(NOISES) % len(places)])
    return {
        "noise_top1": float((seen["rank"] == 1).float().mean()),
        "noise_probability": float(seen["probability"].mean()),
    }


def check_row(judge: Judge, real: RealReference, kind: str, labels: list[str], weights_sha256: str) -> pd.DataFrame:
    """Return the one row that tells what a judge is, which of the study's classes it knows, and how good it is."""
    unmatched = [label for label in labels if label not in judge.places]
    about = {
        "judge": judge.name,
        "kind": kind,
        "model": judge.architecture,
        "classes": len(judge.classes),
        "matched": len(labels) - len(unmatched),
        "unmatched": " ".join(unmatched),
    }
    return pd.DataFrame([{**about, **real.check, "weights_sha256": weights_sha256}])
