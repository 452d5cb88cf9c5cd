"""The dream itself: many small steps uphill, from a start image towards what the model calls the class."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from dreambirds.dreaming import objective, transform
from dreambirds.dreaming.schedule import Width, width_at

MEASURES = ("loss", "logit", "probability", "top1", "change")


@dataclass(frozen=True)
class Recipe:
    """How to dream: every parameter that decides the pixels but for the model, the classes and the start images.

    `steps` are the moments to keep, ascending; `step_size` is in units of the picture's range [0, 1] after the
    gradient's normalisation; blur widths and `jitter` are in pixels; `flip` is a probability a step.
    """

    objective: str = "logit"
    steps: tuple[int, ...] = (200,)
    step_size: float = 0.05
    gradient_normalisation: str = "std"
    gradient_blur_sigma: Width = 0.0
    blur_sigma: Width = 0.5
    jitter: int = 0
    flip: float = 0.5


@dataclass
class Dreams:
    """What came of a batch: `snapshots` maps each kept step to images (B, 3, H, W) in [0, 1], float32, on the CPU.

    `trace` maps each of MEASURES to (B, last step + 1); column s is measured on the picture after s steps: the loss
    that was minimised, the target's logit and probability, the class with the largest logit, and the mean absolute
    change from the start. Before the last step they are taken through the step's own flip and jitter.
    """

    snapshots: dict[int, torch.Tensor] = field(default_factory=dict)
    trace: dict[str, torch.Tensor] = field(default_factory=dict)


class Dreamer:
    """The ascent of one batch of images under one recipe."""

    def __init__(self, model, targets: torch.Tensor, starts: torch.Tensor, recipe: Recipe, streams: Sequence):
        """Take a frozen model of images in [0, 1]; targets (B,); starts (B, 3, H, W); a torch.Generator an image."""
        self.model, self.targets, self.recipe, self.streams = model, targets, recipe, list(streams)
        self.starts = starts.contiguous(memory_format=torch.channels_last)
        self.views = transform.Views(len(starts), recipe.jitter, recipe.flip)
        self.score = objective.OBJECTIVES[recipe.objective]

    def step(self, images: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images after one more step, and the logits that they had before it."""
        images = images.detach().requires_grad_(True)
        logits = self.model(self.views(images, self.streams))
        (gradient,) = torch.autograd.grad(self.score(logits, self.targets).sum(), images)
        with torch.no_grad():
            gradient = transform.blur(gradient, self._widths(self.recipe.gradient_blur_sigma, number))
            gradient = transform.normalise(gradient, self.recipe.gradient_normalisation)
            moved = (images + self.recipe.step_size * gradient).clamp_(0, 1)
            return transform.blur(moved, self._widths(self.recipe.blur_sigma, number)), logits.detach()

    def measure(self, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return (5, B): one row for each of MEASURES."""
        score = self.score(logits, self.targets)
        change = (images - self.starts).abs().mean(dim=(1, 2, 3))
        chance = objective.probability(logits, self.targets)
        return torch.stack([-score, objective.logit(logits, self.targets), chance, logits.argmax(dim=1), change])

    def _widths(self, width: Width, number: int) -> list[float]:
        return [width_at(width, number, stream) for stream in self.streams]


def dream(model, targets: torch.Tensor, starts: torch.Tensor, recipe: Recipe, streams: Sequence) -> Dreams:
    """Let a frozen model dream of one class an image, and keep the pictures of every step in ``recipe.steps``.

    `model` maps images (B, 3, H, W) in [0, 1] to logits (B, C), in eval mode, its parameters needing no gradient;
    `targets` are (B,) class numbers; `starts` are in [0, 1]; `streams` holds a CPU ``torch.Generator`` an image, which
    is advanced. An image meets no other of its batch: its dream is the same alone, to rounding.
    """
    dreamer = Dreamer(model, targets, starts, recipe, streams)
    result, rows, images = Dreams(), [], dreamer.starts
    for number in range(max(recipe.steps)):
        before = images
        images, logits = dreamer.step(before, number)
        rows.append(dreamer.measure(before.detach(), logits))
        if number + 1 in recipe.steps:
            result.snapshots[number + 1] = images.cpu().float().contiguous()
    with torch.no_grad():
        rows.append(dreamer.measure(images, model(images)))
    table = torch.stack(rows, dim=-1).cpu()
    result.trace = dict(zip(MEASURES, table, strict=True))
    return result
