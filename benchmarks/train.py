"""Compare training with a plain loop of timm and torch.

Both use the same model, image size and batch size. Run it as ``make bench-train``. Prints one row per loop: images per
second, and their ratio to the plain loop. --json writes the same as JSON. In each round, all loops of a case run in
turn, and the best round of each loop counts. This reduces the influence of other load on the machine.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import timm
import timm.data
import timm.optim
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.records import report
from dreambirds.config.load import check
from dreambirds.data.dataset import PreparedImages
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.models.classifier import build
from dreambirds.training.data import augmentation, load_training_data
from dreambirds.training.trainer import Trainer

CLASSES, PADDING, RATE = 8, 8, 0.01
FILE_SIZE = (500, 375)  # width and height of a photograph file
# model, image size, batch size, updates per round
CASES = [("test_resnet", 64, 32, 12), ("mobilenetv2_100", 128, 32, 4), ("inception_v4", 128, 16, 3)]


def section(model: str, batch: int) -> dict:
    """Return a run's section, as in the original study.

    It uses SGD with momentum, random crops and horizontal flips.
    """
    run = {"model": model, "batch_size": batch, "optimizer": "momentum", "learning_rate": RATE, "weight_decay": 0.0005}
    augmented = {"crop_padding": PADDING, "flip": 0.5, "color": 0.0}
    config = {"runs": {"run": {**run, "augmentation": augmented}}, "dreams": {"recipes": {"a": {}}}}
    check(config, "config")
    return config["runs"]["run"]


def noise_images(side: int, count: int) -> TensorDataset:
    """Return noise, uint8 (N, 3, side, side), with classes."""
    pixels = torch.randint(
        0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return TensorDataset(pixels, torch.arange(count) % CLASSES)


class Transformed(Dataset):
    """Another data set, whose images are transformed when they are loaded."""

    def __init__(self, dataset: Dataset, transform: Callable):
        """Transform the images of a data set of (image, class)."""
        self.dataset, self.transform = dataset, transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int):
        image, target = self.dataset[number]
        return self.transform(image), target


def photographs(folder: Path, count: int) -> None:
    """Write JPEG files of noise, one folder per class."""
    noise = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        (folder / str(number % CLASSES)).mkdir(parents=True, exist_ok=True)
        small.resize(FILE_SIZE, Image.Resampling.BICUBIC).save(folder / str(number % CLASSES) / f"{number}.jpg")


def plain(model: str, side: int, batch: int, data: Dataset, first: list) -> Callable[[], None]:
    """Return one epoch of a typical loop.

    The transforms `first` convert images to uint8 (3, side, side).
    """
    network = timm.create_model(model, num_classes=CLASSES)
    config = timm.data.resolve_data_config({}, model=network)
    augment = [v2.RandomCrop(side, padding=PADDING, padding_mode="reflect"), v2.RandomHorizontalFlip(0.5)]
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(config["mean"], config["std"])]
    loader = DataLoader(Transformed(data, v2.Compose([*first, *augment, *last])), batch, shuffle=True)
    optimizer = timm.optim.create_optimizer_v2(network, opt="momentum", lr=RATE, weight_decay=0.0005)

    def run() -> None:
        network.train()
        for images, targets in loader:
            loss = functional.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def prepared(photographs: Path, folder: Path, side: int) -> PreparedImages:
    """Return the photographs as prepared by the workflow, all for training."""
    config = {"dataset": {"source": "folder", "path": str(photographs), "image_size": side, "validation_fraction": 0.0}}
    check(config | {"runs": {"a": {}}, "dreams": {"recipes": {"a": {}}}}, "config")
    folder.mkdir()
    prepare(config["dataset"], list_labels(config["dataset"]), folder, folder / "store")
    return PreparedImages(folder, "train")


def ours(model: str, side: int, batch: int, data: Dataset) -> Callable[[], None]:
    """Return one epoch of the workflow's training."""
    run, device = section(model, batch), torch.device("cpu")
    loader = load_training_data(data, augmentation(run["augmentation"], (side, side)), run, 0, device)
    classifier = build(model, CLASSES, {}).to(memory_format=torch.channels_last)
    per_epoch = loader.batch_sampler.per_epoch
    trainer = Trainer(classifier, run, torch.ones(CLASSES, dtype=torch.long), per_epoch)
    epochs = iter(range(1, 10**6))
    return lambda: trainer.train(loader, next(epochs), 0, per_epoch)


def measure(loops: dict[str, Callable], count: int, rounds: int) -> dict[str, float]:
    """Return the images per second of each loop in its best round.

    A warm-up round comes first.
    """
    best = dict.fromkeys(loops, 0.0)
    for number in range(rounds + 1):
        for name, run in loops.items():
            started = time.perf_counter()
            run()
            if number:
                best[name] = max(best[name], count / (time.perf_counter() - started))
    return best


def bench(case: tuple, rounds: int) -> Iterator[dict]:
    """Yield the records of one model, image size and batch size."""
    model, side, batch, updates = case
    count = batch * updates
    pixels = noise_images(side, count)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        photographs(files, count)
        resized = [v2.Resize(side), v2.CenterCrop(side), v2.PILToTensor()]
        loops = {
            "plain": plain(model, side, batch, pixels, []),
            "plain, from JPEG files": plain(model, side, batch, ImageFolder(files), resized),
            "ours": ours(model, side, batch, prepared(files, Path(folder, "prepared"), side)),
        }
        speeds = measure(loops, count, rounds)
    for name, speed in speeds.items():
        case_facts = {"model": model, "size": side, "batch": batch, "loop": name}
        yield {**case_facts, "images_per_second": speed, "ratio_to_plain": speed / speeds["plain"]}


def main(arguments: list[str] | None = None) -> list[dict]:
    """Run the benchmark and return its records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", help="run only these models")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the records to this file")
    settings = parser.parse_args(arguments)
    torch.set_num_threads(settings.threads)
    chosen = [case for case in CASES if not settings.models or case[0] in settings.models]
    records = [record for case in chosen for record in bench(case, settings.rounds)]
    return report(records, settings.json)


if __name__ == "__main__":
    main()
