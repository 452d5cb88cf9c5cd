"""Updates of a classifier, a part of an epoch at a time, and one look at the pictures that are kept apart."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from dreambirds.device import has_bfloat16
from dreambirds.errors import UserError, first_line
from dreambirds.models.classifier import Classifier, head_parameters
from dreambirds.seeding import seed_update
from dreambirds.training import optim
from dreambirds.training.loss import (
    Loss,
    adversarial_length,
    class_weights,
    hard_targets,
    l2_pgd_attack,
    make_mixup,
)

CHECK_EVERY = 16  # updates; each look at the loss makes a GPU wait
SMALLEST_SCALE = 1.0  # of the loss in float16, which begins at 65536 and halves with each update that is left out
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class DivergenceError(UserError):
    """Training left the numbers."""


@dataclass
class RunningMetrics:
    """Running sums of loss and hits over pictures; the seconds that training took, and its last learning rate."""

    loss: torch.Tensor | float = 0.0
    hits: torch.Tensor | int = 0
    count: int = 0
    seconds: float = 0.0
    rate: float = 0.0

    def add(self, losses: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Count one batch, without waiting for its numbers: losses (B,), logits (B, C), targets (B,)."""
        self.loss = self.loss + losses.sum(dtype=torch.float64)
        self.hits = self.hits + (logits.argmax(dim=1) == targets).sum()
        self.count += len(targets)

    @property
    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy; NaN over no pictures."""
        return (float(self.loss) / self.count, int(self.hits) / self.count) if self.count else (math.nan, math.nan)


def parts(done: int, goal: int, per_epoch: int) -> Iterator[tuple[int, int, int]]:
    """Yield (epoch from 1, first update, update before which it ends) for all updates from `done` to before `goal`."""
    while done < goal:
        epoch, first = divmod(done, per_epoch)
        last = min(per_epoch, goal - epoch * per_epoch)
        yield epoch + 1, first, last
        done = epoch * per_epoch + last


class Trainer:
    """A classifier and all that an update of its weights takes."""

    def __init__(self, classifier: Classifier, run: dict, counts: torch.Tensor, per_epoch: int):
        """Take a classifier on its device, the run's section, the training pictures a class, and updates an epoch."""
        self.classifier, self.run, self.per_epoch = classifier, run, per_epoch
        self.device = classifier.mean.device
        self.dtype = resolve_dtype(run["precision"], self.device)
        self.network = classifier
        prepare_to_train(classifier, run)
        self.optimizer = optim.make_optimizer(run, classifier.network)
        self.schedule = optim.make_schedule(run, self.optimizer, per_epoch)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.loss = Loss(run["label_smoothing"], class_weights(run["class_weights"], counts)).to(self.device)
        self.mixup = make_mixup(run["mixup"], len(counts))

    def compile(self, shape: tuple[int, int]) -> None:
        """Compile the network for pictures of (height, width). Raises UserError where that can't be done."""
        self.network = torch.compile(self.classifier)
        self.classifier.eval()  # else the trial would move the batch norms' statistics
        try:
            self.see(torch.zeros(2, 3, *shape, device=self.device)).sum().backward()
            self.optimizer.zero_grad()
        except Exception as error:  # compilers fail in many ways
            raise UserError(f"compile: must be false here, the compiler says: {first_line(error)}") from error

    def see(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, C) of images (B, 3, H, W), in float32 or more."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.network(images)
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits

    def train(self, loader: DataLoader, epoch: int, first: int, last: int) -> RunningMetrics:
        """Make the updates from `first` to before `last` of an epoch, counted from 1, and return their tally.

        Every update's chance is its own, so that it is the same whichever job makes it. Raises DivergenceError if the
        loss or a weight is no longer a number.
        """
        loader.batch_sampler.turn(epoch, first, last)
        tally, started = RunningMetrics(), time.perf_counter()
        for number, batch in enumerate(tqdm(loader, desc=f"epoch {epoch}", disable=None, leave=False), first):
            seed_update(self.device, "update", self.run["seed"], epoch, number)
            done = (epoch - 1) * self.per_epoch + number
            self._update(*self._here(*batch), done, tally)
            if done == 0:  # no learning rate is to blame for this loss
                self._check_loss(tally, 0)
            elif number % CHECK_EVERY == CHECK_EVERY - 1:
                self._check_loss(tally, epoch)
        self._check_loss(tally, epoch)
        self._check_weights(tally, epoch)
        tally.seconds = time.perf_counter() - started
        return tally

    def _update(self, images: torch.Tensor, targets: torch.Tensor, number: int, tally: RunningMetrics) -> None:
        adversarial = self.run["adversarial"]
        if length := adversarial_length(adversarial, number / self.per_epoch):
            self.classifier.eval()
            images = l2_pgd_attack(self.see, images, targets, length, adversarial["steps"])
        if self.mixup:
            images, targets = self.mixup(images, targets)
        set_training_mode(self.classifier, self.run)
        logits = self.see(images)
        losses, loss = self.loss(logits, targets)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        if self.run["gradient_clip"]:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.run["gradient_clip"])
        self.schedule.step_update(number)
        tally.rate = self.optimizer.param_groups[0]["lr"]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        tally.add(losses.detach(), logits.detach(), hard_targets(targets))

    @torch.no_grad()
    def evaluate(self, loader: DataLoader, epoch: float) -> RunningMetrics:
        """Return the tally of plain cross-entropy and hits over pictures as they are, after so many epochs.

        Raises DivergenceError if the loss is no number.
        """
        self.classifier.eval()
        tally = RunningMetrics(rate=self.optimizer.param_groups[0]["lr"])
        for batch in loader:
            images, targets = self._here(*batch)
            logits = self.see(images)
            tally.add(nn.functional.cross_entropy(logits, targets, reduction="none"), logits, targets)
        self._check_loss(tally, epoch)
        return tally

    def state(self) -> tuple[dict[str, torch.Tensor], dict]:
        """Return what the next updates depend on beside the weights, as tensors and JSON facts."""
        tensors, scalars = optim.pack(self.optimizer)
        return tensors, {"optimizer": scalars, "scaler": self.scaler.state_dict()}

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict) -> None:
        """Give a fresh trainer the state of another."""
        optim.unpack(self.optimizer, tensors, facts["optimizer"])
        if facts["scaler"]:  # empty where the job before computed in other numbers
            self.scaler.load_state_dict(facts["scaler"])

    def _here(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        moved = images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        return moved, targets.to(self.device, non_blocking=True)

    def _check_loss(self, tally: RunningMetrics, epoch: float) -> None:
        if not math.isfinite(tally.loss):
            raise DivergenceError(_sentence(self, f"the loss became {float(tally.loss)}", tally, epoch))

    def _check_weights(self, tally: RunningMetrics, epoch: int) -> None:
        if not self._are_finite(self.classifier.state_dict().values()):
            raise DivergenceError(_sentence(self, "a weight became infinite or no number", tally, epoch))
        if not self._are_finite(optim.pack(self.optimizer)[0].values()):
            raise DivergenceError(_sentence(self, "the optimiser's state became infinite or no number", tally, epoch))
        if self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_SCALE:
            what = "update after update is left out, since gradients are infinite or no number in float16,"
            raise DivergenceError(_sentence(self, what, tally, epoch))

    def _are_finite(self, tensors: Iterable[torch.Tensor]) -> bool:
        good = [tensor.isfinite().all().to(self.device) for tensor in tensors if tensor.is_floating_point()]
        return not good or bool(torch.stack(good).all())


def _sentence(trainer: Trainer, what: str, tally: RunningMetrics, epoch: float) -> str:
    other = ["set precision to float32"] if trainer.dtype == torch.float16 else []
    if epoch == 0:
        remedy = " or ".join([*other, "name other weights, another model or model_options"])
        return f"{what} before training has changed a weight; {remedy}"
    remedies = [f"lower learning_rate, now {trainer.run['learning_rate']:g}"]
    remedies += [] if trainer.run["gradient_clip"] else ["set gradient_clip"]
    return f"{what} in epoch {epoch} at learning rate {tally.rate:g}; {', or '.join(remedies + other)}"


def resolve_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the numbers to compute in; ``auto`` is bfloat16, else float16, on a GPU, and float32 without one."""
    if precision != "auto":
        return DTYPES[precision]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if has_bfloat16(device) else torch.float16


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
