"""One epoch of training, and one look at the pictures that are kept apart."""

import math
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from dreambirds.errors import StudyError
from dreambirds.models.build import Classifier, head_parameters

MIX = 1_000_003
TINY = 1e-12


@dataclass
class Tally:
    """Running sums of loss and hits over pictures; the seconds that training took, and its last learning rate."""

    loss: float = 0.0
    hits: int = 0
    count: int = 0
    seconds: float = 0.0
    rate: float = 0.0

    def add(self, losses: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Count one batch: losses (B,), logits (B, C), targets (B,)."""
        self.loss += losses.sum().item()
        self.hits += (logits.argmax(dim=1) == targets).sum().item()
        self.count += len(targets)

    @property
    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy; NaN over no pictures."""
        return (self.loss / self.count, self.hits / self.count) if self.count else (math.nan, math.nan)


def prepare_to_train(classifier: Classifier, run: dict) -> None:
    """Set which parameters learn: all, or only those of the last layer."""
    if run["trainable"] == "head":
        classifier.requires_grad_(False)
        for parameter in head_parameters(classifier.network):
            parameter.requires_grad_(True)


def set_training_mode(classifier: Classifier, run: dict) -> None:
    """Switch to training; batch norms keep their statistics where the run freezes them or trains the head only."""
    classifier.train()
    if run["freeze_batch_norm"] or run["trainable"] == "head":
        for module in classifier.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def train_epoch(classifier, run: dict, loader: DataLoader, optimizer, schedule, epoch: int) -> Tally:
    """Train one epoch (counted from 1) and return its tally; the schedule advances with every update.

    All chance comes from torch's global generator, which is seeded with the run's seed and the epoch, so that an epoch
    is the same whichever job it runs in. Raises StudyError if the loss is no longer a number.
    """
    torch.manual_seed(run["seed"] * MIX + epoch)
    device = classifier.mean.device
    tally, updates, started = Tally(), (epoch - 1) * len(loader), time.perf_counter()
    schedule.step_update(updates)
    for images, targets in tqdm(loader, desc=f"epoch {epoch}", disable=None, leave=False):
        images = images.to(device, memory_format=torch.channels_last)
        targets = targets.to(device)
        if length := adversarial_length(run["adversarial"], updates / len(loader)):
            images = harden(classifier, images, targets, length, run["adversarial"]["steps"])
        set_training_mode(classifier, run)
        logits = classifier(images)
        losses = functional.cross_entropy(logits, targets, label_smoothing=run["label_smoothing"], reduction="none")
        optimizer.zero_grad()
        losses.mean().backward()
        tally.rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        updates += 1
        schedule.step_update(updates)
        tally.add(losses.detach(), logits.detach(), targets)
        if not math.isfinite(tally.loss):
            raise StudyError(
                f"the loss became {tally.loss} in epoch {epoch} at learning rate {run['learning_rate']}; lower "
                "learning_rate; the checkpoints before this epoch are kept"
            )
    tally.seconds = time.perf_counter() - started
    return tally


def adversarial_length(settings: dict, epoch: float) -> float:
    """Return the greatest length of an adversarial step after so many (fractions of) epochs, growing over its ramp."""
    ramp = settings["ramp_epochs"]
    return settings["length"] * (min(1.0, epoch / ramp) if ramp else 1.0)


def harden(classifier, images: torch.Tensor, targets: torch.Tensor, length: float, steps: int) -> torch.Tensor:
    """Return the images (B, 3, H, W) moved to where the model finds them harder, each by a random L2 distance.

    No distance is over `length`. Projected gradient ascent on the loss, after Madry et al., 2018. Training on these
    gives gradients that people recognise: Santurkar et al., Image Synthesis with a Single (Robust) Classifier, 2019.
    """
    classifier.eval()
    reach = length * torch.rand(len(images), device=images.device, dtype=images.dtype)
    moved = images.detach()
    for _ in range(steps):
        moved.requires_grad_(True)
        loss = functional.cross_entropy(classifier(moved), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        change = moved.detach() - images + _of_length(gradient, reach * min(1.0, 1.5 / steps))
        too_long = (reach / change.flatten(1).norm(dim=1).clamp(min=TINY)).clamp(max=1)
        moved = images + change * too_long.view(-1, 1, 1, 1)
    return moved.clamp_(0, 1)


def _of_length(vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return vectors * (lengths / vectors.flatten(1).norm(dim=1).clamp(min=TINY)).view(-1, 1, 1, 1)


@torch.no_grad()
def evaluate(classifier: Classifier, loader: DataLoader) -> Tally:
    """Return the tally of plain cross-entropy and hits over pictures as they are."""
    classifier.eval()
    device, tally = classifier.mean.device, Tally()
    for images, targets in loader:
        logits = classifier(images.to(device, memory_format=torch.channels_last))
        targets = targets.to(device)
        tally.add(functional.cross_entropy(logits, targets, reduction="none"), logits, targets)
    return tally
