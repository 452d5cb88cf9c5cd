"""The networks of a dream job: the dreamer's, and those of its committee."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch

from dreambirds.dream_job.image_files import versions
from dreambirds.dream_job.references import ReferenceStore, TrainingPhotographs
from dreambirds.dream_job.store import dream_key
from dreambirds.dreaming.features import FeatureExtractor, find_layers, make_objective
from dreambirds.dreaming.matching import Statistics, photograph_statistics, stack_statistics, view_types
from dreambirds.dreaming.network import Member
from dreambirds.dreaming.objectives import layers
from dreambirds.dreaming.octaves import evaluation_shape
from dreambirds.dreaming.recipe import Recipe, last_value
from dreambirds.errors import error_context
from dreambirds.io import sha256_of
from dreambirds.models.checkpoint import load_checkpoint, read_metadata
from dreambirds.models.inference import prepare_for_inference
from dreambirds.shapes import shape_of


@dataclass(frozen=True)
class Settings:
    """What all networks of a dream job share.

    The recipe and its path in the config, the (height, width) of the dreams, the precision and the device that compute
    them, a digest of the code, and the photographs that they are compared with (None if not used).
    """

    recipe: Recipe
    where: str
    shape: tuple[int, int]
    precision: str
    device: torch.device
    code: str
    photographs: TrainingPhotographs | None

    @property
    def computed_by(self) -> dict:
        """The precision, device, libraries and code that computed values depend on."""
        return {
            "precision": self.precision,
            "device": self.device.type,
            "versions": {name: number for name, number in versions().items() if name != "dreambirds"},
            "code": self.code,
        }


class JobNetwork:
    """The network of one checkpoint. The model is built on first use."""

    def __init__(self, checkpoint: Path, settings: Settings):
        """Read the checkpoint's metadata. Raises UserError if the checkpoint is corrupt."""
        self.checkpoint, self.settings = checkpoint, settings
        self.info, self.sha256 = read_metadata(checkpoint), sha256_of(checkpoint)

    @property
    def provenance(self) -> dict:
        """The run, epoch, model and digest of the checkpoint."""
        known = {key: getattr(self.info, key) for key in ("run", "epoch", "model")}
        return {**known, "checkpoint_sha256": self.sha256}

    @cached_property
    def model(self):
        """The frozen model. Raises UserError if the recipe does not fit it."""
        classifier, _ = load_checkpoint(self.checkpoint)
        recipe = self.settings.recipe
        with error_context(self.settings.where):
            self.layers = {name: find_layers(classifier.network, name) for name in layers(recipe.objective)}
        # the prior needs the running statistics of the batch norms, so those are not folded into convolutions
        fold, observed = not recipe.batch_norm_prior, set(itertools.chain(*self.layers.values()))
        return prepare_for_inference(classifier, shape_of(self.info.image_size), self.settings.device, fold, observed)

    def member(self, labels: Sequence[str]) -> Member:
        """Return the model with the indices of the labels among its outputs, and the labels' `references`."""
        targets = torch.tensor([self.info.labels.index(label) for label in labels], device=self.settings.device)
        return Member(self.model, targets, self.references(labels))

    @cached_property
    def compared_layers(self) -> list[str]:
        """The layers that are compared with photographs, sorted by name."""
        return sorted(make_objective(self.settings.recipe.objective, self.model).matched)

    def references(self, labels: Sequence[str]) -> Statistics | None:
        """Return activation statistics of each label's photographs.

        They are (B, C, S) by view kind and layer, on the device, or None if the recipe does not compare dreams with
        photographs.
        """
        settings, photographs = self.settings, self.settings.photographs
        if not photographs:
            return None
        features = FeatureExtractor(self.model, self.compared_layers, logits=False)

        def compute(label: str) -> Statistics:
            images = photographs.read(label).to(settings.device)
            return photograph_statistics(features, images, settings.recipe, settings.precision)

        store = ReferenceStore()
        rows = [store.get(self._statistics_key(label), partial(compute, label)) for label in labels]
        kinds = stack_statistics(rows).items()
        return {kind: {layer: mean.to(settings.device) for layer, mean in means.items()} for kind, means in kinds}

    def _statistics_key(self, label: str) -> str:
        """Return a digest of what determines the statistics of a label's photographs."""
        recipe, shape = self.settings.recipe, self.settings.shape
        regions = (recipe.match_regions, recipe.match_crop_regions)
        statistics = (recipe.match_statistics, *regions, recipe.match_stride, recipe.match_views)
        views = (recipe.crop_area and last_value(recipe.crop_area), recipe.crop_ratio, bool(recipe.flip))
        facts = {
            "checkpoint_sha256": self.sha256,
            **self.settings.computed_by,
            "photographs": self.settings.photographs.digests[label],
            "layers": self.compared_layers,
            "seen": [*statistics, *views, view_types(recipe), evaluation_shape(recipe, shape), shape],
        }
        return dream_key(facts)
