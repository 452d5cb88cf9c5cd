"""Dreaming: gradient ascent on images to maximize a score of a frozen network.

A step follows Mordvintsev et al., *Inceptionism* (2015), and Olah et al., *Feature Visualization* (2017). It applies a
random transform to each image, computes the score of the transformed view in a forward pass, differentiates the score
with respect to the image's parameters, and updates these in the direction of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial

import torch
from torch import nn

from dreambirds.device import resolve_precision, to_host
from dreambirds.dreaming import objectives, regularizers, updates
from dreambirds.dreaming.matching import Statistics
from dreambirds.dreaming.network import Member, Network, Seen
from dreambirds.dreaming.octaves import Octaves, evaluation_shape, resize
from dreambirds.dreaming.parameterization import Pyramid, luminance, make_parameterization, mean_of_channels
from dreambirds.dreaming.recipe import Recipe, Value, turn_of, value_at
from dreambirds.dreaming.rectifiers import REDIRECTED_STEPS
from dreambirds.dreaming.stopping import StopTracker
from dreambirds.dreaming.targets import Targets
from dreambirds.dreaming.transforms import Transforms
from dreambirds.dreaming.updates import per_image
from dreambirds.dreaming.variants import by_group, mean_of_groups
from dreambirds.seeding import generator


@dataclass
class StepMetrics:
    """Metrics per image: (B,) for one step, (B, steps done + 1) for a trace.

    `loss` is minus the maximized score. `logit` is that of the target class, or the activation of a target that is not
    one class. `probability` is that of the target class, else NaN. `prediction` is the index of the class with the
    largest logit. All of these are the dreamer's. `mean_abs_change` is the mean absolute
    difference from the start image, for pixel values in [0, 1]. `distance` is the distance of the full image from the
    photographs of ``feature_match``, summed over layers; with a committee, it is the mean over all networks.

    In a result with `variants`, each metric is the mean over the images of a group, and `prediction` is the class with
    the largest mean logit.
    """

    loss: torch.Tensor
    logit: torch.Tensor
    probability: torch.Tensor
    prediction: torch.Tensor
    mean_abs_change: torch.Tensor
    distance: torch.Tensor

    def cpu(self) -> StepMetrics:
        """Return the metrics on the CPU."""
        return StepMetrics(*(getattr(self, metric).cpu() for metric in METRICS))


METRICS = tuple(metric.name for metric in fields(StepMetrics))


@dataclass
class DreamResult:
    """The result of one batch of dreams.

    `snapshots` maps each kept step to images (B, 3, H, W) in [0, 1], float32, on the CPU. `metrics` maps it to the
    metrics of these images, evaluated without random transforms by the full model.

    Column s of `trace` contains the metrics after s steps. They are measured on the transformed views of the next step,
    except in the last column, which has no transform. If the objective needs only layers, the forward pass stops before
    the logits, and the metrics of logits are NaN except in the last column. At the step of another network of a
    committee, all of the dreamer's metrics are NaN. The `distance` is only in the last column.

    `ended` (B,) is the number of steps that each dream has done, which is smaller than the last step if it stopped
    early. `diverged` (B,) is the step at which it became NaN or infinite, or 0. `silent` (B,) is whether the gradient
    of the objective was zero in all of its steps. `frames` are the images of an animation, uint8 (B, 3, H, W) each.

    With `variants`, B is the number of groups, and images are sheets (B, 3, rows H, columns W) of `variants.sheets`. A
    group has ended when all of its images have, and diverged at the first step at which one of them did. Its
    `silent` is that of all its images.
    """

    snapshots: dict[int, torch.Tensor] = field(default_factory=dict)
    metrics: dict[int, StepMetrics] = field(default_factory=dict)
    trace: StepMetrics | None = None
    ended: torch.Tensor | None = None
    diverged: torch.Tensor | None = None
    silent: torch.Tensor | None = None
    frames: list[torch.Tensor] = field(default_factory=list)


class Dreamer:
    """Gradient ascent on one batch of images with one recipe."""

    parameters: torch.Tensor

    def __init__(
        self,
        model: nn.Module,
        targets: torch.Tensor | Targets,
        starts: torch.Tensor,
        recipe: Recipe,
        rngs: Sequence[torch.Generator],
        spectrum: torch.Tensor | None = None,
        references: Statistics | None = None,
        precision: str = "float32",
        committee: Sequence[Member] = (),
    ):
        """Take the arguments of `dream`; raise UserError if the recipe does not fit."""
        self.recipe, self.rngs, self.spectrum = recipe, list(rngs), spectrum
        shape, precision = (starts.shape[-2], starts.shape[-1]), resolve_precision(precision, starts.device)
        members = [Member(model, targets, references), *committee]
        self.networks = [Network(each, recipe, shape, precision) for each in members]
        self.own = self.networks[0]
        self.gray = getattr(model, "channels", 3) == 1  # such a network sees only the luminance
        starts = luminance(starts) if self.gray else starts
        self.transforms = Transforms(recipe, self.rngs)
        self.octaves = Octaves(recipe, starts)
        self.stops = StopTracker(len(starts), recipe, starts.device)
        self._begin_octave(self.octaves.first())

    def step(self, step: int) -> StepMetrics:
        """Do one step of gradient ascent; return the metrics of the images before it."""
        recipe = self.recipe
        self._advance_octave(step)
        parameters = self.parameters.detach().requires_grad_(True)
        images = self.decode(parameters)
        views = self.transforms(images, step)  # pad, roll, jitter, rotate, scale, crop, flip, noise

        count, turn = len(self.networks), turn_of(recipe, step)
        network = self.networks[turn % count]  # the dreamer's own, or one of the committee
        references = network.references.at(step, turn // count)
        early = step < REDIRECTED_STEPS
        watch = early or self.stops.any_silent
        view_gradient, seen = network.gradient(views, references, self.rngs, early, watch)  # forward pass and objective
        penalty = regularizers.penalty(images, recipe.tv_weight, recipe.l2_weight)
        outputs, output_gradients = [views], [view_gradient]
        if penalty.requires_grad:
            outputs, output_gradients = [views, -penalty], [view_gradient, torch.ones_like(penalty)]
        (gradient,) = torch.autograd.grad(outputs, parameters, output_gradients)

        with torch.no_grad():
            fixed = self._fixed_levels(step)
            gradient[:, fixed] = 0
            score = seen.score - penalty
            self.stops.watch(seen.silent)
            metrics = self._metrics(images, seen if network is self.own else None, penalty)
            if network is self.own and self.octaves.is_last(step):
                self.stops.update(metrics.probability, score)
            direction = updates.blur(gradient, self._values(recipe.gradient_blur_sigma, step))
            direction = updates.clip(direction, recipe.gradient_clip)
            direction = updates.normalize(direction, recipe.gradient_normalization)
            updated = self.optimizer(self.parameters, direction, value_at(recipe.step_size, step))
            if recipe.parameterization == "pixels":
                updated = updates.blur(updated.clamp_(0, 1), self._values(recipe.blur_sigma, step))
            updated[:, fixed] = self.parameters[:, fixed]
            self.parameters = self.stops.freeze_finished(step, self.parameters, updated, gradient, score)
        return metrics

    @torch.no_grad()
    def images(self) -> torch.Tensor:
        """Return the current images at their final size: (B, 3, H, W) in [0, 1]."""
        images = self.decode(self.parameters)
        return resize(images, self.octaves.shapes[-1]).clamp(0, 1)

    @torch.no_grad()
    def evaluate(self) -> StepMetrics:
        """Return the metrics of the current images without random transforms.

        They are the dreamer's, except the `distance`, which is the mean over all networks.
        """
        images = self.decode(self.parameters)
        height, width = images.shape[-2:]
        views = resize(images, evaluation_shape(self.recipe, (height, width)))
        seen = self.own.evaluate(views)
        distances = [seen.distance, *(network.distance(views) for network in self.networks[1:])]
        penalty = regularizers.penalty(images, self.recipe.tv_weight, self.recipe.l2_weight)
        return self._metrics(images, replace(seen, distance=torch.stack(distances).mean(dim=0)), penalty)

    def decode(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the images (B, 3, H, W) in [0, 1] of parameters; those of a network of one channel are grey."""
        images = self.parameterization.decode(parameters)
        return mean_of_channels(images) if self.gray else images

    def _begin_octave(self, images: torch.Tensor) -> None:
        recipe = self.recipe
        height, width = images.shape[-2:]
        self.base = self.octaves.base(images)
        self.parameterization = make_parameterization(
            recipe.parameterization, (height, width), self.spectrum, recipe.pyramid_decay
        )
        self.parameters = self.parameterization.encode(images)
        self.optimizer = updates.make_optimizer(
            recipe.optimizer, recipe.momentum, recipe.beta1, recipe.beta2, recipe.weight_decay
        )

    def _advance_octave(self, step: int) -> None:
        """Enlarge the images if an octave or a zoom begins at this step."""
        if self.recipe.parameterization != "pixels":
            return
        enlarged = self.octaves.grow(self.parameters, step)
        if enlarged.shape != self.parameters.shape:
            self._begin_octave(enlarged)
        elif enlarged is not self.parameters:
            self.parameters = torch.where(per_image(self.stops.active, enlarged), enlarged, self.parameters)

    def _fixed_levels(self, step: int) -> slice:
        """Return the slice of fixed parameters (axis 1): a pyramid's finer levels."""
        if not isinstance(self.parameterization, Pyramid) or step >= self.recipe.pyramid_steps:
            return slice(0)
        return self.parameterization.fixed(step / self.recipe.pyramid_steps)

    def _metrics(self, images: torch.Tensor, seen: Seen | None, penalty: torch.Tensor) -> StepMetrics:
        """Return the metrics of images from what the dreamer's network sees in them; NaN for what is unknown."""
        change = (images - self.base).abs().mean(dim=(1, 2, 3))
        unknown = torch.full_like(change, torch.nan)
        if seen is None:
            return StepMetrics(unknown, unknown, unknown, unknown, change, unknown)
        probability = prediction = unknown
        if seen.logits is not None:
            variants = self.recipe.variants
            predicted = mean_of_groups(seen.logits, variants).argmax(dim=1).repeat_interleave(variants)
            prediction = predicted.to(change.dtype)
            if self.own.targets.are_classes:
                score = partial(objectives.probability, seen.logits, head=self.own.objective.head)
                probability = self.own.targets.sum_of(score)
        return StepMetrics(penalty - seen.score, seen.activation, probability, prediction, change, seen.distance)

    def _values(self, value: Value, step: int) -> list[float]:
        """Return a scheduled value at a step, one for each image."""
        return [value_at(value, step, rng) for rng in self.rngs]


def dream(
    model: nn.Module,
    targets: torch.Tensor | Targets,
    starts: torch.Tensor,
    recipe: Recipe,
    rngs: Sequence[torch.Generator] | None = None,
    *,
    spectrum: torch.Tensor | None = None,
    references: Statistics | None = None,
    precision: str = "float32",
    film_every: int | None = None,
    committee: Sequence[Member] = (),
    on_step: Callable[[int], None] | None = None,
) -> DreamResult:
    """Run gradient ascent on a batch of images; keep those of ``recipe.steps``.

    `model` maps images (B, 3, H, W) in [0, 1] to logits (B, C). It is in eval mode, and its parameters require no
    gradient. Layers of objectives are looked up in its attribute `network`, or in itself. Its attribute `head` may be
    ``sigmoid``; if `channels` is 1, the images are grey. `targets` are the class indices of the images, (B,), or other
    `Targets`, and `starts` are start images (B, 3, H, W) in [0, 1]. `rngs` are CPU generators, one per image, which are
    advanced; the default of image i is ``generator(0, str(i))``. `spectrum` (3, H, W // 2 + 1), from `mean_spectrum`,
    is required by ``parameterization="maco"``. `references`, from `matching.stack_statistics`, are the statistics of
    photographs of each image's class that ``feature_match`` requires. `precision` is one of `device.PRECISIONS`. With
    `film_every`, a frame of an animation is kept every so many steps. The networks of a `committee` take turns with
    `model`, step by step in each type of view: `model` first, then each member. Early stopping and metrics look only at
    `model`. After each step, `on_step` is called with the number of steps that are done.

    Images of a batch do not affect each other: a dream computed alone is the same, up to rounding. With
    ``recipe.variants``, all of these are per image, consecutive images form a group, and the result is per group.
    Raises UserError if the recipe does not fit the model.
    """
    rngs = [generator(0, str(index)) for index in range(len(starts))] if rngs is None else rngs
    dreamer = Dreamer(model, targets, starts, recipe, rngs, spectrum, references, precision, committee)
    result, trace, metrics = DreamResult(), [], {}
    for step in range(max(recipe.steps)):
        if film_every and step % film_every == 0:
            result.frames.append(to_host(_to_uint8(dreamer.images())))
        trace.append(dreamer.step(step))
        if step + 1 in recipe.steps:
            result.snapshots[step + 1] = to_host(dreamer.images().float())
            metrics[step + 1] = dreamer.evaluate()
        if on_step:
            on_step(step + 1)
        if not dreamer.stops.any_active(step + 1):
            break
    last = dreamer.images().float()
    if film_every:
        result.frames.append(to_host(_to_uint8(last)))
    trace.append(metrics[len(trace)] if len(trace) in metrics else dreamer.evaluate())
    # the copy to the CPU below also waits for the asynchronous copies of frames and snapshots
    columns = [torch.stack([getattr(each, metric) for each in trace], dim=-1) for metric in METRICS]
    result.trace = StepMetrics(*columns).cpu()
    result.metrics = {step: metrics.get(step, trace[-1]).cpu() for step in recipe.steps}
    result.snapshots = {**dict.fromkeys(recipe.steps, last.cpu()), **result.snapshots}
    stops = dreamer.stops
    result.ended, result.diverged, result.silent = stops.ended.cpu(), stops.diverged.cpu(), stops.silent.cpu()
    return result if recipe.variants == 1 else by_group(result, recipe.variants)


def _to_uint8(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().to(torch.uint8)
