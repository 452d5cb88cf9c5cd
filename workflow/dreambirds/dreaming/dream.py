"""The dream itself: many small steps uphill, from a start image towards what the objective calls better."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from dreambirds.device import autocast, resolve_precision
from dreambirds.dreaming import objectives, regularizers, updates
from dreambirds.dreaming.features import FeatureExtractor
from dreambirds.dreaming.octaves import Octaves, evaluation_shape, resize, tiled_gradient
from dreambirds.dreaming.parameterization import make_parameterization
from dreambirds.dreaming.recipe import Recipe, Value, value_at
from dreambirds.dreaming.starts import generator
from dreambirds.dreaming.transforms import Transforms
from dreambirds.dreaming.updates import make_optimizer, per_image
from dreambirds.errors import is_out_of_memory

PLATEAU_GAIN = 1e-3
CHECK_EVERY = 10
MEASURES = ("loss", "logit", "probability", "top1", "change")


class Going:
    """A batch's state, on its device; nothing is brought to the processor but once in CHECK_EVERY steps.

    `ended` (B,) holds the steps that each dream has done; `failed` (B,) the step at which it ran to infinity, or 0.
    """

    def __init__(self, count: int, recipe: Recipe, device: torch.device):
        """Begin with `count` dreams that all go on."""
        self.recipe = recipe
        self.on = torch.ones(count, dtype=torch.bool, device=device)
        self.ended, self.failed, self.since = torch.zeros((3, count), dtype=torch.long, device=device)
        self.best = torch.full((count,), -torch.inf, device=device)

    def arrive(self, probability: torch.Tensor, score: torch.Tensor) -> None:
        """Stop the dreams that, before this step, have reached the confidence or the plateau asked for."""
        if self.recipe.stop_confidence is not None:
            self.on = self.on & ~(probability >= self.recipe.stop_confidence)
        if self.recipe.stop_plateau is not None:
            better = score > self.best + PLATEAU_GAIN * self.best.abs().nan_to_num(posinf=0)
            self.best = torch.where(better, score, self.best)
            self.since = torch.where(better, 0, self.since + 1)
            self.on = self.on & (self.since < self.recipe.stop_plateau)

    def keep(self, number: int, before: torch.Tensor, after: torch.Tensor, *finite: torch.Tensor) -> torch.Tensor:
        """Return `after`, but `before` for dreams that have stopped, or of which one of the tensors (B, ...) is not
        finite."""
        good = sum(_sum(tensor) for tensor in (after, *finite)).isfinite()  # type: ignore[union-attr]  # never empty
        self.failed = torch.where(self.on & ~good, number + 1, self.failed)
        self.on = self.on & good
        self.ended = torch.where(self.on, number + 1, self.ended)
        return torch.where(per_image(self.on, after), after, before)

    def anywhere(self, number: int) -> bool:
        """Tell whether any dream goes on; asked once in CHECK_EVERY steps, since a GPU has to be waited for."""
        return number % CHECK_EVERY != 0 or bool(self.on.any())


def _sum(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of each (B, ...), which one infinity or NaN makes not finite."""
    return tensor.sum(dim=tuple(range(1, tensor.ndim))) if tensor.ndim > 1 else tensor


@dataclass
class Dreams:
    """What came of a batch: `snapshots` maps each kept step to images (B, 3, H, W) in [0, 1], float32, on the CPU.

    `looks` maps it to what the whole model makes of those pictures, (5, B), a row for each of MEASURES: the loss that
    was minimised, the target's logit and probability, the class with the largest logit, and how far it is from the
    start, as the mean absolute change. `trace` maps each of MEASURES to (B, steps done + 1); column s is measured on
    the picture after s steps as the next step sees it, through its own view, the last one plainly; where a layer's
    objective stops the model before its logits, these are NaN but for the last. `ended` (B,) holds the steps that each
    dream has done, fewer than the last where it stopped; `failed` (B,) the step at which it ran to infinity, or 0.
    `frames` are the pictures of a film, uint8 (B, 3, H, W) each.
    """

    snapshots: dict[int, torch.Tensor] = field(default_factory=dict)
    looks: dict[int, torch.Tensor] = field(default_factory=dict)
    trace: dict[str, torch.Tensor] = field(default_factory=dict)
    ended: torch.Tensor | None = None
    failed: torch.Tensor | None = None
    frames: list[torch.Tensor] = field(default_factory=list)


class Dreamer:
    """The ascent of one batch of images under one recipe."""

    parameters: torch.Tensor

    def __init__(
        self,
        model: nn.Module,
        targets: torch.Tensor,
        starts: torch.Tensor,
        recipe: Recipe,
        streams: Sequence[torch.Generator],
        spectrum: torch.Tensor | None = None,
        precision: str = "float32",
    ):
        """Take what `dream` takes."""
        self.targets, self.recipe, self.streams, self.spectrum = targets, recipe, list(streams), spectrum
        self.score = objectives.Objective(recipe.objective)
        needed = self.score.logits or recipe.stop_confidence is not None
        self.seen = FeatureExtractor(model, self.score.layers, needed, statistics=recipe.batch_norm_prior > 0)
        self.whole = FeatureExtractor(model, self.score.layers, statistics=recipe.batch_norm_prior > 0)
        self.precision = resolve_precision(precision, starts.device)
        self.views = Transforms(recipe, self.streams)
        self.octaves = Octaves(recipe, starts)
        self.going = Going(len(starts), recipe, starts.device)
        self._begin(self.octaves.first())

    def pictures(self) -> torch.Tensor:
        """Return the pictures as they are now, at their whole size: (B, 3, H, W) in [0, 1]."""
        return resize(self._images(), self.octaves.shapes[-1]).clamp(0, 1)

    def step(self, number: int) -> torch.Tensor:
        """Take one step; return the measures (5, B) of the pictures before it."""
        self._grow(number)
        parameters = self.parameters.detach().requires_grad_(True)
        images = self.space.decode(parameters)
        views = self.views(images, number)
        uphill, score, logits = self._climb(views)
        penalty = self._penalty(images)
        held, slopes = ([-penalty], [torch.ones_like(penalty)]) if penalty.requires_grad else ([], [])
        (gradient,) = torch.autograd.grad([views, *held], parameters, [uphill, *slopes])
        with torch.no_grad():
            score = score - penalty
            measures = self._measure(images, score, logits)
            if self.octaves.is_last(number):
                self.going.arrive(measures[MEASURES.index("probability")], score)
            moved = self._move(self.parameters, gradient, number)
            self.parameters = self.going.keep(number, self.parameters, moved, gradient, score)
        return measures

    def look(self) -> torch.Tensor:
        """Return the measures (5, B) of the pictures as they are, seen plainly by the whole model, if it takes them."""
        images = self._images()
        height, width = images.shape[-2:]
        with torch.no_grad():
            seen = self._see(resize(images, evaluation_shape(self.recipe, (height, width))))
            score = self.score(seen, self.targets) - self._strangeness(seen) - self._penalty(images)
            return self._measure(images, score, seen.logits)

    def _see(self, images: torch.Tensor) -> objectives.ModelOutputs:
        with autocast(self.precision, images.device):
            try:
                return self.whole(images)
            except (AssertionError, RuntimeError, ValueError) as error:
                if self.seen.logits or is_out_of_memory(error):
                    raise
                return self.seen(images)  # the layers take so small a picture, and the head does not

    def _images(self) -> torch.Tensor:
        with torch.no_grad():
            return self.space.decode(self.parameters)

    def _begin(self, images: torch.Tensor) -> None:
        recipe = self.recipe
        height, width = images.shape[-2:]
        self.base = self.octaves.base(images)
        self.space = make_parameterization(recipe.image, (height, width), self.spectrum)
        self.parameters = self.space.encode(images)
        self.optimizer = make_optimizer(
            recipe.optimizer, recipe.momentum, recipe.beta1, recipe.beta2, recipe.weight_decay
        )

    def _grow(self, number: int) -> None:
        if self.recipe.image != "pixels":
            return
        grown = self.octaves.grow(self.parameters, number)
        if grown.shape != self.parameters.shape:
            self._begin(grown)
        elif grown is not self.parameters:
            self.parameters = torch.where(updates.per_image(self.going.on, grown), grown, self.parameters)

    def _measure(self, images: torch.Tensor, score: torch.Tensor, logits: torch.Tensor | None) -> torch.Tensor:
        change = (images - self.base).abs().mean(dim=(1, 2, 3))
        if logits is None:
            nothing = torch.full_like(change, torch.nan)
            return torch.stack([-score, nothing, nothing, nothing, change])
        chance = objectives.probability(logits, self.targets)
        return torch.stack([-score, objectives.logit(logits, self.targets), chance, logits.argmax(dim=1), change])

    def _climb(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return the score's gradient by the views, each dream's mean score, and its mean logits if they are seen."""
        views, tile = views.detach(), self.recipe.tile
        gradient, score, *logits = (
            tiled_gradient(self._gradient, views, tile, self.streams) if tile else self._gradient(views)
        )
        return gradient, score, logits[0] if logits else None

    def _gradient(self, views: torch.Tensor) -> tuple[torch.Tensor, ...]:
        views = views.contiguous(memory_format=torch.channels_last).requires_grad_(True)
        per_image = (len(self.targets), -1)
        targets = self.targets.repeat_interleave(len(views) // len(self.targets))
        with autocast(self.precision, views.device):
            seen = self.seen(views)
        score = (self.score(seen, targets) - self._strangeness(seen)).unflatten(0, per_image).mean(dim=1)
        (gradient,) = torch.autograd.grad(score.sum(), views)
        logits = [] if seen.logits is None else [seen.logits.detach().unflatten(0, per_image).mean(dim=1)]
        return gradient.contiguous(), score.detach(), *logits

    def _strangeness(self, seen: objectives.ModelOutputs) -> torch.Tensor | float:
        return 0.0 if seen.statistics is None else self.recipe.batch_norm_prior * seen.statistics

    def _penalty(self, images: torch.Tensor) -> torch.Tensor:
        penalty = images.new_zeros(len(images))
        if self.recipe.total_variation:
            penalty = penalty + self.recipe.total_variation * regularizers.total_variation(images)
        if self.recipe.l2:
            penalty = penalty + self.recipe.l2 * regularizers.l2_norm(images)
        return penalty

    def _move(self, parameters: torch.Tensor, gradient: torch.Tensor, number: int) -> torch.Tensor:
        recipe = self.recipe
        gradient = updates.blur(gradient, self._each(recipe.gradient_blur_sigma, number))
        if recipe.gradient_clip is not None:
            gradient = updates.clip(gradient, recipe.gradient_clip)
        gradient = updates.normalize(gradient, recipe.gradient_normalization)
        moved = self.optimizer(parameters, gradient, value_at(recipe.step_size, number))
        if recipe.image != "pixels":
            return moved
        return updates.blur(moved.clamp_(0, 1), self._each(recipe.blur_sigma, number))

    def _each(self, value: Value, number: int) -> list[float]:
        return [value_at(value, number, generator) for generator in self.streams]


def dream(
    model: nn.Module,
    targets: torch.Tensor,
    starts: torch.Tensor,
    recipe: Recipe,
    streams: Sequence[torch.Generator] | None = None,
    *,
    spectrum: torch.Tensor | None = None,
    precision: str = "float32",
    film_every: int | None = None,
) -> Dreams:
    """Let a frozen model dream of one class an image, and keep the pictures of every step in ``recipe.steps``.

    `model` maps images (B, 3, H, W) in [0, 1] to logits (B, C), in eval mode, its parameters needing no gradient;
    layers of objectives are looked up in its attribute `network`, or in itself. `targets` are (B,) class numbers;
    `starts` are (B, 3, H, W) in [0, 1]; `streams` holds a CPU ``torch.Generator`` an image, which is advanced;
    by default image i has ``stream(0, str(i))``.
    `spectrum` (3, H, W // 2 + 1) is what ``image="maco"`` needs; `precision` is one of `precision.PRECISIONS`; with
    `film_every`, a frame is kept every so many steps. An image meets no other of its batch: its dream is the same
    alone, to rounding. Raises StudyError where the recipe does not fit the model.
    """
    streams = [generator(0, str(place)) for place in range(len(starts))] if streams is None else streams
    dreamer = Dreamer(model, targets, starts, recipe, streams, spectrum, precision)
    result, rows, looks = Dreams(), [], {}
    for number in range(max(recipe.steps)):
        if film_every and number % film_every == 0:
            result.frames.append(_to_host(_eight_bits(dreamer.pictures())))
        rows.append(dreamer.step(number))
        if number + 1 in recipe.steps:
            result.snapshots[number + 1] = _to_host(dreamer.pictures().float())
            looks[number + 1] = dreamer.look()
        if not dreamer.going.anywhere(number + 1):
            break
    last = dreamer.pictures().float()
    if film_every:
        result.frames.append(_to_host(_eight_bits(last)))
    rows.append(looks[len(rows)] if len(rows) in looks else dreamer.look())
    table = torch.stack(rows, dim=-1).cpu()  # everything on its way to the host has arrived after this
    result.looks = {step: looks.get(step, rows[-1]).cpu() for step in recipe.steps}
    result.snapshots = {**dict.fromkeys(recipe.steps, last.cpu()), **result.snapshots}
    result.trace = dict(zip(MEASURES, table, strict=True))
    result.ended, result.failed = dreamer.going.ended.cpu(), dreamer.going.failed.cpu()
    return result


def _eight_bits(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().to(torch.uint8)


def _to_host(images: torch.Tensor) -> torch.Tensor:
    """Copy to the host's memory, from a GPU without waiting for it."""
    if images.device.type == "cpu":
        return images.clone(memory_format=torch.contiguous_format)
    return torch.empty(images.shape, dtype=images.dtype, pin_memory=True).copy_(images, non_blocking=True)
