"""How fast training is beside a plain loop of timm and torch on the same model, size and batch: ``make bench-train``.

Prints, and with --json writes, a line a loop: pictures per second, and the ratio to the plain loop's. All loops of a
case run in turn, round after round, and each keeps its best, so that what else the machine does counts least.
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

from benchmarks.records import tell
from dreambirds.config.load import check
from dreambirds.data.dataset import Pictures
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.models.classifier import build
from dreambirds.training.data import augmentation, load_training_data
from dreambirds.training.trainer import Trainer

CLASSES, PADDING, RATE = 8, 8, 0.01
FILE_SIZE = (500, 375)  # of a photograph on disk
# model, side, batch, updates of one round
CASES = [("test_resnet", 64, 32, 12), ("mobilenetv2_100", 128, 32, 4), ("inception_v4", 128, 16, 3)]


def section(model: str, batch: int) -> dict:
    """Return a run's section: SGD with momentum, a random crop and a mirror image, as the original study has them."""
    run = {"model": model, "batch_size": batch, "optimizer": "momentum", "learning_rate": RATE, "weight_decay": 0.0005}
    change = {"crop_padding": PADDING, "flip": 0.5, "color": 0.0}
    config = {"runs": {"run": {**run, "augmentation": change}}, "dreams": {"recipes": {"a": {}}}}
    check(config, "config")
    return config["runs"]["run"]


def pictures_of(side: int, count: int) -> TensorDataset:
    """Return noise as uint8 (N, 3, side, side), and its classes."""
    pixels = torch.randint(
        0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return TensorDataset(pixels, torch.arange(count) % CLASSES)


class Changed(Dataset):
    """Pictures of another data set, each transformed when it is asked for."""

    def __init__(self, pictures: Dataset, transform: Callable):
        """Take a data set of (picture, class) and what is done to a picture."""
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int):
        picture, target = self.pictures[number]
        return self.transform(picture), target


def photographs(folder: Path, count: int) -> None:
    """Write JPEG files, one folder a class."""
    noise = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        (folder / str(number % CLASSES)).mkdir(parents=True, exist_ok=True)
        small.resize(FILE_SIZE, Image.Resampling.BICUBIC).save(folder / str(number % CLASSES) / f"{number}.jpg")


def plain(model: str, side: int, batch: int, data: Dataset, first: list) -> Callable[[], None]:
    """Return one epoch of the loop that most write, on pictures that `first` brings to uint8 (3, side, side)."""
    network = timm.create_model(model, num_classes=CLASSES)
    about = timm.data.resolve_data_config({}, model=network)
    change = [v2.RandomCrop(side, padding=PADDING, padding_mode="reflect"), v2.RandomHorizontalFlip(0.5)]
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(about["mean"], about["std"])]
    loader = DataLoader(Changed(data, v2.Compose([*first, *change, *last])), batch, shuffle=True)
    optimizer = timm.optim.create_optimizer_v2(network, opt="momentum", lr=RATE, weight_decay=0.0005)

    def run() -> None:
        network.train()
        for images, targets in loader:
            loss = functional.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def prepared(photographs: Path, folder: Path, side: int) -> Pictures:
    """Return the photographs as the workflow prepares them, all to train on."""
    config = {"dataset": {"source": "folder", "path": str(photographs), "image_size": side, "validation_fraction": 0.0}}
    check(config | {"runs": {"a": {}}, "dreams": {"recipes": {"a": {}}}}, "config")
    folder.mkdir()
    prepare(config["dataset"], list_labels(config["dataset"]), folder, folder / "store")
    return Pictures(folder, "train")


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
    """Return the pictures per second of each loop: its best round after one to warm up."""
    best = dict.fromkeys(loops, 0.0)
    for number in range(rounds + 1):
        for name, run in loops.items():
            began = time.perf_counter()
            run()
            if number:
                best[name] = max(best[name], count / (time.perf_counter() - began))
    return best


def bench(case: tuple, rounds: int) -> Iterator[dict]:
    """Yield the records of one model, side and batch."""
    model, side, batch, updates = case
    count = batch * updates
    pixels = pictures_of(side, count)
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
        about = {"model": model, "size": side, "batch": batch, "loop": name}
        yield {**about, "pictures_per_second": speed, "ratio_to_plain": speed / speeds["plain"]}


def main(arguments: list[str] | None = None) -> list[dict]:
    """Time every case, print a table, and return its records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", help="only these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    settings = parser.parse_args(arguments)
    torch.set_num_threads(settings.threads)
    chosen = [case for case in CASES if not settings.models or case[0] in settings.models]
    records = [record for case in chosen for record in bench(case, settings.rounds)]
    return tell(records, settings.json)


if __name__ == "__main__":
    main()
