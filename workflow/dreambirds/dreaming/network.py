"""One network of a dream: its objective, the gradient of its score, and its distance from photographs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import nn

from dreambirds.device import autocast
from dreambirds.dreaming.features import FeatureExtractor, diversity_layers, make_objective
from dreambirds.dreaming.matching import LayerReference, References, Statistics
from dreambirds.dreaming.objectives import ModelOutputs, logit
from dreambirds.dreaming.octaves import tiled_gradient
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.targets import Targets, as_targets
from dreambirds.dreaming.variants import similarity
from dreambirds.errors import UserError, is_out_of_memory


@dataclass(frozen=True)
class Member:
    """A network of a committee.

    `targets` (B,) are the indices of the dreams' classes among its outputs, whose order may be its own, or other
    targets. `references` are its statistics of photographs, as in `dream`.
    """

    model: nn.Module
    targets: torch.Tensor | Targets
    references: Statistics | None = None


@dataclass(frozen=True)
class Seen:
    """What a network computes of images: scores (B,), and what the metrics of dreams need.

    `activation` (B,) is that of the targets: the logit of a class, or the activation of units of a layer. It is NaN,
    and the `logits` (B, C) are None, if the forward pass stops before them. The `distance` (B,) is that of
    `Network.distance`, or NaN if it is not computed.
    """

    score: torch.Tensor
    activation: torch.Tensor
    distance: torch.Tensor
    logits: torch.Tensor | None = None


class Network:
    """The score of one network for a batch of dreams, and its gradient."""

    def __init__(self, member: Member, recipe: Recipe, shape: tuple[int, int], precision: str):
        """Take a network, and the (height, width) of the dreams. Raises UserError if the recipe does not fit it."""
        self.targets, self.recipe, self.precision = as_targets(member.targets), recipe, precision
        self.targets_of_views = cache(self.targets.repeat)  # by the number of views per image
        self.objective = make_objective(recipe.objective, member.model, self.targets.layer)
        self.diverse = diversity_layers(recipe, member.model)
        layers = [*self.objective.layers, *self.diverse]
        prior = {"statistics": recipe.batch_norm_prior > 0, "relative": recipe.batch_norm_distance == "relative"}
        needs_logits = self.objective.logits or recipe.stop_confidence is not None
        self.features = FeatureExtractor(member.model, layers, needs_logits, **prior)
        self.full_model = FeatureExtractor(member.model, layers, **prior)
        self.matched = FeatureExtractor(member.model, sorted(self.objective.matched), logits=False)
        if self.objective.matched and member.references is None:
            raise UserError("feature_match needs photographs of the class; pass their `references`", "objective")
        self.references = References(recipe, member.references or {}, self.features.prefix, shape)

    def gradient(
        self, views: torch.Tensor, references: dict[str, LayerReference], rngs: list[torch.Generator]
    ) -> tuple[torch.Tensor, Seen]:
        """Return the gradient of the score with respect to the views, and what the network sees.

        `views` are (V, 3, H, W), with V / B views per image. The gradient has their shape. Scores, activations and
        logits are means over an image's views and tiles.
        """
        views, tile, gradients = views.detach(), self.recipe.tile, partial(self._view_gradient, references)
        found = tiled_gradient(gradients, views, tile, rngs) if tile else gradients(views)
        gradient, score, activation, *logits = found
        return gradient, Seen(score, activation, torch.full_like(score, torch.nan), *logits)

    def _view_gradient(self, references: dict[str, LayerReference], views: torch.Tensor) -> tuple[torch.Tensor, ...]:
        views = views.contiguous(memory_format=torch.channels_last).requires_grad_(True)
        each = (len(self.targets), -1)
        targets = self.targets_of_views(len(views) // len(self.targets))
        with autocast(self.precision, views.device):
            outputs = self.features(views)
        outputs.references = references
        score = self._score(outputs, targets).unflatten(0, each).mean(dim=1)
        score = score - self._similarity(outputs)
        (gradient,) = torch.autograd.grad(score.sum(), views)
        activation = self._activation(outputs, targets, score).detach().unflatten(0, each).mean(dim=1)
        logits = [] if outputs.logits is None else [outputs.logits.detach().unflatten(0, each).mean(dim=1)]
        return gradient.contiguous(), score.detach(), activation, *logits

    def _score(self, outputs: ModelOutputs, targets: Targets) -> torch.Tensor:
        """Return the maximized score of each view, (V,): objective minus batch-norm prior."""
        prior = 0.0 if outputs.statistics is None else self.recipe.batch_norm_prior * outputs.statistics
        return self.objective(outputs, targets) - prior

    def _activation(self, outputs: ModelOutputs, targets: Targets, like: torch.Tensor) -> torch.Tensor:
        """Return the activation of each view's target, (V,); NaN, in the type of `like`, if it is unknown."""
        if targets.layer in outputs.layers:
            return targets.score(outputs.layers[targets.layer])
        if targets.layer is None and outputs.logits is not None:
            return targets.sum_of(partial(logit, outputs.logits))
        return like.new_full((len(targets),), torch.nan)

    def _similarity(self, outputs: ModelOutputs) -> torch.Tensor | float:
        """Return the penalty on each image's similarity to the other variants of its target, (B,); else 0."""
        penalties = [similarity(outputs.layers[name], len(self.targets), self.recipe.variants) for name in self.diverse]
        return self.recipe.diversity * penalties[0] if penalties else 0.0

    @torch.no_grad()
    def evaluate(self, views: torch.Tensor) -> Seen:
        """Return what the network sees in full images (B, 3, H, W), with their `distance`.

        They are evaluated by the full model, or by its layers alone if the head rejects their size and the recipe does
        not need logits, which are then None.
        """
        with autocast(self.precision, views.device):
            try:
                outputs = self.full_model(views)
            except (AssertionError, RuntimeError, ValueError) as error:
                if self.features.logits or is_out_of_memory(error):
                    raise
                outputs = self.features(views)  # the image is too small for the head, but not for the layers
        outputs.references = self.references.for_full_images()
        score = self._score(outputs, self.targets) - self._similarity(outputs)
        activation = self._activation(outputs, self.targets, score)
        return Seen(score, activation, self._distance(outputs, views), outputs.logits)

    @torch.no_grad()
    def distance(self, views: torch.Tensor) -> torch.Tensor:
        """Return the distance of full images (B, 3, H, W) from the photographs of their classes, (B,).

        It is the sum over the layers of ``feature_match``, or NaN without it.
        """
        outputs = ModelOutputs()
        if self.objective.matched:
            with autocast(self.precision, views.device):
                outputs = self.matched(views)
        return self._distance(outputs, views)

    def _distance(self, outputs: ModelOutputs, views: torch.Tensor) -> torch.Tensor:
        references = self.references.for_full_images()
        layers = [references[layer].distance(outputs.layers[layer]) for layer in sorted(self.objective.matched)]
        return torch.stack(layers).sum(dim=0) if layers else views.new_full((len(views),), torch.nan)
