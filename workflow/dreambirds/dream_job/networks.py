"""The networks of a dream job: the dreamer's, and those of its committee."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from dreambirds.dream_job.image_files import versions
from dreambirds.dream_job.references import PhotographFiles, ReferenceStore, TrainingPhotographs
from dreambirds.dream_job.store import dream_key
from dreambirds.dream_job.targets import Facts, batch_targets, naming_targets
from dreambirds.dreaming.features import FeatureExtractor, diversity_layers, find_layers, make_objective
from dreambirds.dreaming.matching import Statistics, photograph_statistics, stack_statistics, view_types
from dreambirds.dreaming.network import Member
from dreambirds.dreaming.objectives import layers
from dreambirds.dreaming.octaves import evaluation_shape
from dreambirds.dreaming.recipe import Recipe, last_value
from dreambirds.dreaming.targets import Targets
from dreambirds.errors import error_context
from dreambirds.io import sha256_of
from dreambirds.models.checkpoint import CheckpointInfo, load_checkpoint, read_metadata
from dreambirds.models.classifier import Classifier
from dreambirds.models.inference import prepare_for_inference
from dreambirds.shapes import shape_of


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network in memory, which dreams without being a checkpoint of a study.

    The classifier is on the CPU and in eval mode. `info` has the metadata that a checkpoint has: its `labels` are
    unique and safe in paths, and `names` are their display names. `sha256` is that of the weights, and `origin`
    records from where they can be loaded again.
    """

    classifier: Classifier
    info: CheckpointInfo
    names: list[str]
    sha256: str
    origin: Mapping[str, Any]

    def __str__(self) -> str:
        return str(self.origin.get("checkpoint") or self.info.model)


@dataclass(frozen=True)
class Settings:
    """What all networks of a dream job share.

    The recipe and its path in the config, the (height, width) of the dreams, the precision and the device that compute
    them, a digest of the code, the photographs that they are compared with (None if not used), whether the statistics
    of these are kept in the store, and the targets that are not classes, by label.
    """

    recipe: Recipe
    where: str
    shape: tuple[int, int]
    precision: str
    device: torch.device
    code: str
    photographs: TrainingPhotographs | PhotographFiles | None
    keep: bool = True
    targets: Mapping[str, Facts] = field(default_factory=dict)

    @property
    def target_layers(self) -> list[str]:
        """The layers of the targets that are not classes, each once."""
        return list(dict.fromkeys(facts["layer"] for facts in self.targets.values() if "layer" in facts))

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
    """The network of one checkpoint, or one in memory. The model is built on first use."""

    def __init__(self, source: Path | LoadedNetwork, settings: Settings):
        """Read the checkpoint's metadata. Raises UserError if the checkpoint is corrupt."""
        self.source, self.settings = source, settings
        self.info = info_of(source)
        self.sha256 = source.sha256 if isinstance(source, LoadedNetwork) else sha256_of(source)

    @property
    def provenance(self) -> dict:
        """The run, epoch, model and digest of the checkpoint."""
        known = {key: getattr(self.info, key) for key in ("run", "epoch", "model")}
        return {**known, "checkpoint_sha256": self.sha256}

    @cached_property
    def model(self):
        """The frozen model. Raises UserError if the recipe does not fit it."""
        in_memory = isinstance(self.source, LoadedNetwork)
        classifier = self.source.classifier if in_memory else load_checkpoint(self.source)[0]
        recipe = self.settings.recipe
        with error_context(self.settings.where):
            self.layers = {name: find_layers(classifier.network, name) for name in layers(recipe.objective)}
            if recipe.diverse:
                self.layers[recipe.diversity_layer] = diversity_layers(recipe, classifier)
        with naming_targets():
            self.layers |= {name: find_layers(classifier.network, name) for name in self.settings.target_layers}
        # the prior needs the running statistics of the batch norms, so those are not folded into convolutions
        fold, observed = not recipe.batch_norm_prior, set(itertools.chain(*self.layers.values()))
        return prepare_for_inference(classifier, shape_of(self.info.image_size), self.settings.device, fold, observed)

    def member(self, labels: Sequence[str]) -> Member:
        """Return the model with the `targets` and the `references` of labels."""
        return Member(self.model, self.targets(labels), self.references(labels))

    def targets(self, labels: Sequence[str]) -> Targets:
        """Return the targets of labels among the network's outputs or channels, on the device."""
        return batch_targets(labels, self.settings.targets, self.info.labels, self.settings.device)

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

        if settings.keep:
            store = ReferenceStore()
            found = {label: store.get(self._statistics_key(label), partial(compute, label)) for label in set(labels)}
        else:
            found = {label: compute(label) for label in set(labels)}
        kinds = stack_statistics([found[label] for label in labels]).items()
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


def info_of(source: Path | LoadedNetwork) -> CheckpointInfo:
    """Return the metadata of a checkpoint or of a network in memory. Raises UserError if the checkpoint is corrupt."""
    return source.info if isinstance(source, LoadedNetwork) else read_metadata(source)
