"""Train a classifier for a part of an epoch, and evaluate it on validation images."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from dreambirds.device import has_bfloat16, to_float64
from dreambirds.errors import UserError, first_line
from dreambirds.models.classifier import Classifier, head_parameters
from dreambirds.seeding import seed_update
from dreambirds.training import optim
from dreambirds.training.data import as_float
from dreambirds.training.loss import (
    Loss,
    class_weights,
    hard_targets,
    l2_pgd_attack,
    make_mixup,
    perturbation_norm,
)

CHECK_EVERY = 16  # updates; each check of the loss synchronizes a GPU
SMALLEST_SCALE = 1.0  # of the loss in float16, which begins at 65536 and halves with each skipped update
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class DivergenceError(UserError):
    """The loss, a weight or the optimizer's state became NaN or infinite."""

    def __init__(self, problem: str, remedy: str):
        """Set the two parts of the message."""
        super().__init__(f"{problem}; {remedy}")
        self.problem, self.remedy = problem, remedy


@dataclass
class RunningMetrics:
    """Running sums of loss and correct predictions over images.

    `seconds` is the time that training took, and `rate` its last learning rate.
    """

    loss: torch.Tensor | float = 0.0
    hits: torch.Tensor | int = 0
    count: int = 0
    seconds: float = 0.0
    rate: float = 0.0

    def add(self, losses: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Add one batch, without synchronizing: losses (B,), logits (B, C), targets (B,)."""
        self.loss = self.loss + to_float64(losses).sum()
        self.hits = self.hits + (logits.argmax(dim=1) == targets).sum()
        self.count += len(targets)

    @property
    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy; NaN if there are no images."""
        return (float(self.loss) / self.count, int(self.hits) / self.count) if self.count else (math.nan, math.nan)


def parts(done: int, goal: int, per_epoch: int) -> Iterator[tuple[int, int, int]]:
    """Yield (epoch, first, last) for the updates from `done` to before `goal`.

    Epochs are counted from 1; `first` is inclusive and `last` exclusive, counted from 0 in the epoch.
    """
    while done < goal:
        epoch, first = divmod(done, per_epoch)
        last = min(per_epoch, goal - epoch * per_epoch)
        yield epoch + 1, first, last
        done = epoch * per_epoch + last


class Trainer:
    """A classifier with its optimizer, learning-rate schedule and loss."""

    def __init__(self, classifier: Classifier, run: dict, counts: torch.Tensor, per_epoch: int):
        """Take a classifier on its device and the run's section of the config.

        `counts` (C,) are the numbers of training images per class; `per_epoch` is the number of updates per epoch.
        """
        self.classifier, self.run, self.per_epoch = classifier, run, per_epoch
        self.device = classifier.mean.device
        self.dtype = resolve_dtype(run["precision"], self.device)
        self.network = classifier
        prepare_to_train(classifier, run)
        self.optimizer = optim.make_optimizer(run, classifier.network)
        self.schedule = optim.make_schedule(run, self.optimizer, per_epoch)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        weights, head = class_weights(run["class_weights"], counts), classifier.head
        self.loss = Loss(run["label_smoothing"], weights, head).to(self.device)
        self.plain_loss = Loss(0.0, head=head)
        self.mixup = make_mixup(run["mixup"], len(counts))

    def compile(self, shape: tuple[int, int]) -> None:
        """Compile the network for images of (height, width).

        Raises UserError if the compiler fails.
        """
        self.network = torch.compile(self.classifier)
        self.classifier.eval()  # otherwise the trial would change the statistics of batch norms
        try:
            self.forward(torch.zeros(2, 3, *shape, device=self.device)).sum().backward()
            self.optimizer.zero_grad()
        except Exception as error:  # compilers raise many types
            raise UserError(f"the compiler failed ({first_line(error)}); set it to false", "compile") from error

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, C) of images (B, 3, H, W), at least in float32."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.network(images)
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits

    def train(self, loader: DataLoader, epoch: int, first: int, last: int) -> RunningMetrics:
        """Do the updates from `first` to before `last` of an epoch; return their metrics.

        Epochs are counted from 1. The random generators are seeded per update, so an update is the same in every job.
        Raises DivergenceError if the loss, a weight or the optimizer's state becomes NaN or infinite.
        """
        loader.batch_sampler.set_range(epoch, first, last)
        metrics, started = RunningMetrics(), time.perf_counter()
        for number, batch in enumerate(tqdm(loader, desc=f"epoch {epoch}", disable=None, leave=False), first):
            seed_update(self.device, "update", self.run["seed"], epoch, number)
            done = (epoch - 1) * self.per_epoch + number
            self._update(*self._to_device(*batch), done, metrics)
            if done == 0:  # no update precedes this loss, so the learning rate is not the cause
                self._check_loss(metrics, 0)
            elif number % CHECK_EVERY == CHECK_EVERY - 1:
                self._check_loss(metrics, epoch)
        self._check_loss(metrics, epoch)
        self._check_weights(metrics, epoch)
        metrics.seconds = time.perf_counter() - started
        return metrics

    def _update(self, images: torch.Tensor, targets: torch.Tensor, number: int, metrics: RunningMetrics) -> None:
        adversarial = self.run["adversarial"]
        if length := perturbation_norm(adversarial, number / self.per_epoch):
            self.classifier.eval()
            images = l2_pgd_attack(self.forward, images, targets, length, adversarial["steps"], self.classifier.head)
        if self.mixup:
            images, targets = self.mixup(images, targets)
        set_training_mode(self.classifier, self.run)
        logits = self.forward(images)
        losses, loss = self.loss(logits, targets)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        if self.run["gradient_clip"]:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.run["gradient_clip"])
        self.schedule.step_update(number)
        metrics.rate = self.optimizer.param_groups[0]["lr"]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        metrics.add(losses.detach(), logits.detach(), hard_targets(targets))

    @torch.no_grad()
    def evaluate(self, loader: DataLoader, epoch: float) -> RunningMetrics:
        """Return the plain loss and accuracy on the images of a loader.

        The loss has no label smoothing and no class weights. `epoch` is the number of trained epochs, for errors.
        Raises DivergenceError if the loss is NaN or infinite.
        """
        self.classifier.eval()
        metrics = RunningMetrics(rate=self.optimizer.param_groups[0]["lr"])
        for batch in loader:
            images, targets = self._to_device(*batch)
            logits = self.forward(images)
            metrics.add(self.plain_loss(logits, targets)[0], logits, targets)
        self._check_loss(metrics, epoch)
        return metrics

    def state(self) -> tuple[dict[str, torch.Tensor], dict]:
        """Return the state of training besides the weights, as tensors and JSON values."""
        tensors, scalars = optim.pack(self.optimizer)
        return tensors, {"optimizer": scalars, "scaler": self.scaler.state_dict()}

    def restore(self, tensors: dict[str, torch.Tensor], metadata: dict) -> None:
        """Load the result of `state` into a new trainer."""
        optim.unpack(self.optimizer, tensors, metadata["optimizer"])
        if metadata["scaler"]:  # empty if the previous job used another precision
            self.scaler.load_state_dict(metadata["scaler"])

    def _to_device(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch on the device, with images in [0, 1]; those of the training loader arrive as uint8."""
        moved = images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        return as_float()(moved), targets.to(self.device, non_blocking=True)

    def _check_loss(self, metrics: RunningMetrics, epoch: float) -> None:
        if not math.isfinite(metrics.loss):
            raise DivergenceError(*_message(self, f"the loss became {float(metrics.loss)}", metrics, epoch))

    def _check_weights(self, metrics: RunningMetrics, epoch: int) -> None:
        if not self._are_finite(self.classifier.state_dict().values()):
            raise DivergenceError(*_message(self, "a weight became NaN or infinite", metrics, epoch))
        if not self._are_finite(optim.pack(self.optimizer)[0].values()):
            raise DivergenceError(*_message(self, "the optimizer's state became NaN or infinite", metrics, epoch))
        if self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_SCALE:
            what = "updates were skipped because gradients in float16 became NaN or infinite"
            raise DivergenceError(*_message(self, what, metrics, epoch))

    def _are_finite(self, tensors: Iterable[torch.Tensor]) -> bool:
        finite = [tensor.isfinite().all().to(self.device) for tensor in tensors if tensor.is_floating_point()]
        return not finite or bool(torch.stack(finite).all())


def _message(trainer: Trainer, what: str, metrics: RunningMetrics, epoch: float) -> tuple[str, str]:
    """Return what failed where, and what to do."""
    precision = ["set 'precision' to float32"] if trainer.dtype == torch.float16 else []
    if epoch == 0:
        remedies = [*precision, "choose other weights, another model or other 'model_options'"]
        return f"{what} before the first update", ", or ".join(remedies)
    remedies = [f"lower 'learning_rate' (now {trainer.run['learning_rate']:g})"]
    remedies += [] if trainer.run["gradient_clip"] else ["set 'gradient_clip'"]
    return f"{what} in epoch {epoch} at learning rate {metrics.rate:g}", ", or ".join(remedies + precision)


def resolve_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a `precision`.

    On a GPU ``auto`` is bfloat16 if the GPU supports it, otherwise float16; without a GPU it is float32.
    """
    if precision != "auto":
        return DTYPES[precision]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if has_bfloat16(device) else torch.float16


def prepare_to_train(classifier: Classifier, run: dict) -> None:
    """Set which parameters are trained: all, or only those of the last layer."""
    if run["trainable"] == "head":
        classifier.requires_grad_(False)
        for parameter in head_parameters(classifier.network):
            parameter.requires_grad_(True)


def set_training_mode(classifier: Classifier, run: dict) -> None:
    """Set the training mode of a classifier.

    Batch norms stay in eval mode if the run freezes them or trains only the head.
    """
    classifier.train()
    if run["freeze_batch_norm"] or run["trainable"] == "head":
        for module in classifier.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
