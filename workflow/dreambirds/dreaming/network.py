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
from dreambirds.dreaming.octaves import Gradients, tiled_gradient
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.rectifiers import Redirected, is_zero
from dreambirds.dreaming.targets import Targets, as_targets
from dreambirds.dreaming.updates import per_image
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
    `Network.distance`, or NaN if it is not computed. `silent` (B,) is whether the gradient of the objective is zero
    everywhere; None if that is not computed.
    """

    score: torch.Tensor
    activation: torch.Tensor
    distance: torch.Tensor
    logits: torch.Tensor | None = None
    silent: torch.Tensor | None = None


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
        # whether an image may move although the objective, which scores only layers, has no gradient
        only_layers = not self.objective.logits and not self.objective.matched
        self.is_penalized = only_layers and (recipe.batch_norm_prior > 0 or recipe.diverse)
        self.full_model = FeatureExtractor(member.model, layers, **prior)
        self.matched = FeatureExtractor(member.model, sorted(self.objective.matched), logits=False)
        if self.objective.matched and member.references is None:
            raise UserError("feature_match needs photographs of the class; pass their `references`", "objective")
        self.references = References(recipe, member.references or {}, self.features.prefix, shape)

    def gradient(
        self,
        views: torch.Tensor,
        references: dict[str, LayerReference],
        rngs: list[torch.Generator],
        redirect: bool = False,
        watch: bool = False,
    ) -> tuple[torch.Tensor, Seen]:
        """Return the gradient of the score with respect to the views, and what the network sees.

        `views` are (V, 3, H, W), with V / B views per image. The gradient has their shape. Scores, activations and
        logits are means over an image's views and tiles. With `watch`, the result says which images are silent. With
        `redirect` too, the gradient of the objective for these is computed again, and passes rectifiers.
        """
        views = views.detach()
        states = [rng.get_state() for rng in rngs] if redirect and self.recipe.tile else []
        found = self._by_tiles(partial(self._view_gradient, references, watch), views, rngs)
        gradient, score, activation, *others = found
        silent = others.pop(0) == 0 if watch else None
        if redirect and silent is not None and silent.any():
            for rng, state in zip(rngs, states, strict=False):
                rng.set_state(state)  # for the same tiles
            with Redirected():
                redirected = self._by_tiles(partial(self._objective_gradient, references), views, rngs)[0]
            each = silent.repeat_interleave(len(views) // len(silent))
            gradient = torch.where(per_image(each, gradient), gradient + redirected, gradient)
        logits = others[0] if others else None
        return gradient, Seen(score, activation, torch.full_like(score, torch.nan), logits, silent)

    def _by_tiles(
        self, gradients: Gradients, views: torch.Tensor, rngs: list[torch.Generator]
    ) -> tuple[torch.Tensor, ...]:
        return tiled_gradient(gradients, views, self.recipe.tile, rngs) if self.recipe.tile else gradients(views)

    def _view_gradient(
        self, references: dict[str, LayerReference], watch: bool, views: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the gradient, the score, the activation, with `watch` whether it is not silent, and any logits."""
        views, outputs, targets, each = self._forward(references, views)
        score = self._score(outputs, targets).unflatten(0, each).mean(dim=1)
        score = score - self._similarity(outputs)
        apart = watch and self.is_penalized
        pull = (
            torch.autograd.grad(self.objective(outputs, targets).sum(), views, retain_graph=True)[0] if apart else None
        )
        (gradient,) = torch.autograd.grad(score.sum(), views)
        activation = self._activation(outputs, targets, score).detach().unflatten(0, each).mean(dim=1)
        logits = [] if outputs.logits is None else [outputs.logits.detach().unflatten(0, each).mean(dim=1)]
        pull = gradient if pull is None else pull
        pulled = [(~is_zero(pull.unflatten(0, each))).float()] if watch else []
        return gradient.contiguous(), score.detach(), activation, *pulled, *logits

    def _objective_gradient(self, references: dict[str, LayerReference], views: torch.Tensor) -> tuple[torch.Tensor]:
        """Return the gradient of the objective alone."""
        views, outputs, targets, each = self._forward(references, views)
        objective = self.objective(outputs, targets).unflatten(0, each).mean(dim=1)
        (gradient,) = torch.autograd.grad(objective.sum(), views)
        return (gradient.contiguous(),)

    def _forward(
        self, references: dict[str, LayerReference], views: torch.Tensor
    ) -> tuple[torch.Tensor, ModelOutputs, Targets, tuple[int, int]]:
        """Return views that require a gradient, what the network computes of them, their targets, and (B, -1)."""
        views = views.contiguous(memory_format=torch.channels_last).requires_grad_(True)
        targets = self.targets_of_views(len(views) // len(self.targets))
        with autocast(self.precision, views.device):
            outputs = self.features(views)
        outputs.references = references
        return views, outputs, targets, (len(self.targets), -1)

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
