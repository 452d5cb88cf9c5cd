"""The photographs that excite units of a layer most: those with the highest activation, which a dream maximizes too."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dreambirds.data.dataset import open_packed
from dreambirds.data.tables import read_images
from dreambirds.dream_job.targets import Facts, batch_targets, by_kind, naming_targets
from dreambirds.dreaming.features import FeatureExtractor, find_layer
from dreambirds.dreaming.targets import Targets
from dreambirds.evaluation.excitation_table import COLUMNS, LISTED
from dreambirds.models.checkpoint import CheckpointInfo
from dreambirds.models.classifier import Classifier
from dreambirds.models.inference import prepare_for_inference
from dreambirds.plan.memory import EVALUATED
from dreambirds.shapes import shape_of

AT_ONCE = 128  # targets whose activations are computed together


@torch.inference_mode()
def highest_activations(
    features: FeatureExtractor, targets: Sequence[Targets], images: Iterable[torch.Tensor], count: int = LISTED
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `count` highest activations of each target among images, and the numbers of these images, (T, K) each.

    They are in descending order, and on the CPU. Of equal activations, that of the first image is the higher one.
    `features` records the layers of the `targets`, whose total number is T. `images` yields batches (N, 3, H, W) in
    [0, 1]. K is smaller than `count` if there are fewer images.
    """
    total, seen = sum(map(len, targets)), 0
    highest, numbers = torch.empty(total, 0), torch.empty(total, 0, dtype=torch.long)
    for batch in images:
        layers = features(batch).layers
        found = torch.cat([each.scores_of_all(layers[each.layer or ""]) for each in targets], dim=1).T.cpu()
        highest = torch.cat([highest, found.masked_fill(found.isnan(), -torch.inf)], dim=1)
        numbers = torch.cat([numbers, torch.arange(seen, seen + len(batch)).expand(total, -1)], dim=1)
        order = highest.argsort(dim=1, descending=True, stable=True)[:, :count]
        highest, numbers = highest.gather(1, order), numbers.gather(1, order)
        seen += len(batch)
    return highest, numbers


def list_exciting(
    classifier: Classifier, info: CheckpointInfo, facts: Mapping[str, Facts], dataset: Path, device: torch.device
) -> pd.DataFrame:
    """Return the photographs that excite each target most, in descending order, with the columns `COLUMNS`.

    `classifier` and `info` are those of a checkpoint, `facts` what the targets with a layer are, by label, and
    `dataset` is the folder of the prepared data set. Photographs of training and validation count, each once. Raises
    UserError if the network lacks a layer, channel or position, or if the data set or a file of directions cannot be
    read.
    """
    labels, layers = in_groups(facts), list(dict.fromkeys(each["layer"] for each in facts.values()))
    photographs = read_images(dataset)
    photographs = photographs[photographs["path"] != ""].reset_index(drop=True)
    pictures = open_packed(dataset, list(photographs["sha256"]))
    photographs = photographs[photographs["duplicate_of"] == ""]
    with naming_targets():
        hooked = {find_layer(classifier.network, layer) for layer in layers}
        model = prepare_for_inference(classifier, shape_of(info.image_size), device, hooked=hooked)
        targets = [batch_targets(group, facts, (), device) for group in labels]
        images = read_batches(pictures, list(photographs.index), device)
        highest, numbers = highest_activations(FeatureExtractor(model, layers, logits=False), targets, images)
    rows = photographs.iloc[numbers.flatten().numpy()].reset_index(drop=True)
    each, count = [label for group in labels for label in group], numbers.shape[1]
    table = pd.DataFrame({"label": np.repeat(each, count), "rank": np.tile(np.arange(1, count + 1), len(each))})
    table = table.assign(run=info.run, epoch=info.epoch, activation=highest.flatten().numpy())
    table = table.assign(path=rows["path"], split=rows["split"], photograph_label=rows["label"])
    order = {label: position for position, label in enumerate(facts)}
    return table.sort_values("label", key=lambda column: column.map(order), kind="stable")[COLUMNS]


def in_groups(facts: Mapping[str, Facts]) -> list[list[str]]:
    """Return the labels of targets in groups that are computed together: of one layer and kind, at most `AT_ONCE`."""
    return [group[at : at + AT_ONCE] for group in by_kind(facts, facts) for at in range(0, len(group), AT_ONCE)]


def read_batches(pictures: np.ndarray, rows: Sequence[int], device: torch.device) -> Iterator[torch.Tensor]:
    """Yield the images of some rows of `pictures`, uint8 (N, 3, H, W), as batches (B, 3, H, W) in [0, 1]."""
    for first in range(0, len(rows), EVALUATED):
        batch = torch.from_numpy(np.asarray(pictures[rows[first : first + EVALUATED]]))
        yield batch.to(device, memory_format=torch.channels_last) / 255
