"""One network of a dream: its objective, the gradient of its score, and its distance from photographs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from dreambirds.device import autocast
from dreambirds.dreaming.features import FeatureExtractor, make_objective
from dreambirds.dreaming.matching import LayerReference, References, Statistics
from dreambirds.dreaming.objectives import ModelOutputs
from dreambirds.dreaming.octaves import tiled_gradient
from dreambirds.dreaming.recipe import Recipe
from dreambirds.errors import UserError, is_out_of_memory


@dataclass(frozen=True)
class Member:
    """A network of a committee.

    `targets` (B,) are the indices of the dreams' classes among its outputs, whose order may be its own. `references`
    are its statistics of photographs, as in `dream`.
    """

    model: nn.Module
    targets: torch.Tensor
    references: Statistics | None = None


class Network:
    """The score of one network for a batch of dreams, and its gradient."""

    def __init__(self, member: Member, recipe: Recipe, shape: tuple[int, int], precision: str):
        """Take a network, and the (height, width) of the dreams. Raises UserError if the recipe does not fit it."""
        self.targets, self.recipe, self.precision = member.targets, recipe, precision
        self.objective = make_objective(recipe.objective, member.model)
        layers, statistics = self.objective.layers, recipe.batch_norm_prior > 0
        needs_logits = self.objective.logits or recipe.stop_confidence is not None
        self.features = FeatureExtractor(member.model, layers, needs_logits, statistics=statistics)
        self.full_model = FeatureExtractor(member.model, layers, statistics=statistics)
        self.matched = FeatureExtractor(member.model, sorted(self.objective.matched), logits=False)
        if self.objective.matched and member.references is None:
            raise UserError("feature_match needs photographs of the class; pass their `references`", "objective")
        self.references = References(recipe, member.references or {}, self.features.prefix, shape)

    def gradient(
        self, views: torch.Tensor, references: dict[str, LayerReference], rngs: list[torch.Generator]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return the gradient of the score with respect to the views, scores and logits.

        `views` are (V, 3, H, W), with V / B views per image. The gradient has their shape. The scores (B,) and logits
        (B, C) are means over an image's views and tiles. The logits are None if the forward pass stops before them.
        """
        views, tile, gradients = views.detach(), self.recipe.tile, partial(self._view_gradient, references)
        gradient, score, *logits = tiled_gradient(gradients, views, tile, rngs) if tile else gradients(views)
        return gradient, score, logits[0] if logits else None

    def _view_gradient(self, references: dict[str, LayerReference], views: torch.Tensor) -> tuple[torch.Tensor, ...]:
        views = views.contiguous(memory_format=torch.channels_last).requires_grad_(True)
        each = (len(self.targets), -1)
        targets = self.targets.repeat_interleave(len(views) // len(self.targets))
        with autocast(self.precision, views.device):
            outputs = self.features(views)
        outputs.references = references
        score = self._score(outputs, targets).unflatten(0, each).mean(dim=1)
        (gradient,) = torch.autograd.grad(score.sum(), views)
        logits = [] if outputs.logits is None else [outputs.logits.detach().unflatten(0, each).mean(dim=1)]
        return gradient.contiguous(), score.detach(), *logits

    def _score(self, outputs: ModelOutputs, targets: torch.Tensor) -> torch.Tensor:
        """Return the maximized score of each view, (V,): objective minus batch-norm prior."""
        prior = 0.0 if outputs.statistics is None else self.recipe.batch_norm_prior * outputs.statistics
        return self.objective(outputs, targets) - prior

    @torch.no_grad()
    def evaluate(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Return the scores (B,), logits (B, C) and distances (B,) of full images (B, 3, H, W).

        They are evaluated by the full model, or by its layers alone if the head rejects their size and the recipe does
        not need logits, which are then None. The distance is that of `distance`.
        """
        with autocast(self.precision, views.device):
            try:
                outputs = self.full_model(views)
            except (AssertionError, RuntimeError, ValueError) as error:
                if self.features.logits or is_out_of_memory(error):
                    raise
                outputs = self.features(views)  # the image is too small for the head, but not for the layers
        outputs.references = self.references.for_full_images()
        return self._score(outputs, self.targets), outputs.logits, self._distance(outputs, views)

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
