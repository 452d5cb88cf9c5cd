"""The order of training images, and their augmentation."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreambirds.data.dataset import PreparedImages
from dreambirds.runtime.machine import Sizes
from dreambirds.seeding import derive_seed, fork_rng, seed_update
from dreambirds.training import data
from dreambirds.training.data import AugmentedDataset, ResumableBatchSampler, augmentation, load_training_data
from dreambirds.training.trainer import parts
from tests.helpers.chains import CPU


@given(count=st.integers(1, 70), batch=st.integers(2, 17), seed=st.integers(0, 2**32 - 1), epoch=st.integers(1, 50))
@settings(max_examples=150, deadline=None)
def test_every_image_is_used_once_per_epoch_in_batches_of_the_requested_size(count, batch, seed, epoch):
    order = ResumableBatchSampler(count, batch, seed)
    order.set_range(epoch, 0, order.per_epoch)
    batches = list(order)
    assert len(batches) == len(order) == order.per_epoch
    assert {key[0] for keys in batches for key in keys} == {epoch}
    numbers = [key[1] for keys in batches for key in keys]
    dropped = count > 1 and count % batch == 1
    assert len(set(numbers)) == len(numbers) == count - dropped and set(numbers) <= set(range(count))
    assert all(len(keys) == batch for keys in batches[:-1])
    assert 1 < len(batches[-1]) <= batch or count == 1


def test_the_order_differs_between_epochs_and_seeds():
    def order(seed, epoch):
        one = ResumableBatchSampler(20, 4, seed)
        one.set_range(epoch, 0, 5)
        return tuple(number for keys in one for _, number in keys)

    orders = {order(seed, epoch) for seed in range(4) for epoch in range(1, 5)}
    assert len(orders) == 16 and order(3, 2) == order(3, 2)
    firsts = [order(seed, 1)[0] for seed in range(400)]
    assert all(8 <= firsts.count(number) <= 40 for number in range(20)), "expected 20 of 400"


def test_a_range_of_updates_is_a_slice_of_the_epoch_s_order():
    order = ResumableBatchSampler(21, 4, 0)
    order.set_range(3, 0, 5)
    complete = list(order)
    for first, last in itertools.combinations(range(6), 2):
        order.set_range(3, first, last)
        assert list(order) == complete[first:last] and len(order) == last - first


@given(per=st.integers(1, 9), cuts=st.lists(st.integers(0, 60), min_size=2, max_size=6))
@settings(max_examples=100, deadline=None)
def test_parts_cover_all_updates_once_and_in_order(per, cuts):
    cuts = sorted(cuts)
    covered = []
    for done, goal in itertools.pairwise(cuts):
        for epoch, first, last in parts(done, goal, per):
            assert 0 <= first < last <= per and epoch >= 1
            covered += [(epoch, update) for update in range(first, last)]
    assert covered == [(number // per + 1, number % per) for number in range(cuts[0], cuts[-1])]


def test_seeds_depend_on_every_part():
    seeds = {derive_seed(*key) for key in itertools.product(["picture", "update"], range(5), range(5), range(5))}
    assert len(seeds) == 250 and all(0 <= seed < 2**63 for seed in seeds)
    with fork_rng("a", 1):
        one = torch.rand(3)
    seed_update(CPU, "a", 1)
    assert torch.equal(one, torch.rand(3))


def test_fork_rng_restores_the_global_generator_also_after_an_error():
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    with pytest.raises(KeyError), fork_rng("a"):
        torch.rand(5)
        raise KeyError
    assert torch.equal(torch.rand(2), expected)


def collect(dataset, run, processes, epoch):
    """Return the augmented images of an epoch from the loader, by number, and check their targets."""
    data = PreparedImages(dataset, "train")
    loader = load_training_data(data, augmentation(run["augmentation"], (32, 32)), run, processes, CPU)
    order = loader.batch_sampler
    order.set_range(epoch, 0, order.per_epoch)
    numbers = [number for keys in order for _, number in keys]
    images = torch.cat([images for images, _ in loader])
    targets = torch.cat([targets for _, targets in loader])
    assert targets.tolist() == [data.targets[number] for number in numbers]
    return dict(zip(numbers, images, strict=True))


def test_augmentation_does_not_depend_on_batch_size_or_process(dataset, run):
    small, large = run(batch_size=2), run(batch_size=16)
    alone, batched, helped = (collect(dataset, *way, 1) for way in ((small, 0), (large, 0), (small, 2)))
    assert alone.keys() == batched.keys() == helped.keys() == set(range(16))
    assert all(torch.equal(alone[n], batched[n]) and torch.equal(alone[n], helped[n]) for n in alone)
    later = collect(dataset, small, 0, 2)
    assert not any(torch.equal(alone[n], later[n]) for n in alone)
    other = collect(dataset, run(batch_size=2, seed=1), 0, 1)
    assert not any(torch.equal(alone[n], other[n]) for n in alone)


def test_augmentation_does_not_depend_on_the_global_generator(dataset, run):
    augmented = AugmentedDataset(PreparedImages(dataset, "train"), augmentation(run()["augmentation"], (32, 32)), 0)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = augmented[1, 5][0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(augmented[1, 5][0], first) and not torch.equal(augmented[1, 6][0], first)


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_augmentation_keeps_size_and_type_and_is_the_identity_if_disabled(run, shape):
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    still = augmentation({"crop_padding": 0, "flip": 0.0, "color": 0.0}, shape)(image)
    assert torch.equal(still, image)
    moved = augmentation(run()["augmentation"], shape)(image)
    assert moved.shape == (3, *shape) and moved.dtype == torch.uint8
    flipped = augmentation({"crop_padding": 0, "flip": 1.0, "color": 0.0}, shape)(image)
    assert torch.equal(flipped, image.flip(-1))
    widest = augmentation({"crop_padding": 512, "flip": 0.0, "color": 0.0}, shape)(image)
    assert widest.shape == (3, *shape)


def test_a_crop_is_a_window_of_the_reflected_image():
    image = torch.arange(48, dtype=torch.uint8).view(1, 6, 8).expand(3, 6, 8).contiguous()
    rows, columns = ([abs(n) if n < size else 2 * size - 2 - n for n in range(-2, size + 2)] for size in (6, 8))
    bordered = image[:, rows][:, :, columns]
    windows = [bordered[:, y : y + 6, x : x + 8] for y in range(5) for x in range(5)]
    crop = augmentation({"crop_padding": 2, "flip": 0.0, "color": 0.0}, (6, 8))
    found = set()
    for _ in range(200):
        cut = crop(image)
        found.add(next(number for number, window in enumerate(windows) if torch.equal(window, cut)))
    assert len(found) > 20, "of 25 windows"


@pytest.mark.parametrize(("free", "expected"), [(None, 2), (10**9, 2), (6 * 1000, 2), (6 * 1000 - 1, 0), (0, 0)])
def test_images_are_loaded_without_processes_if_shared_memory_cannot_hold_their_batches(
    monkeypatch, caplog, free, expected
):
    monkeypatch.setattr(data, "shared_memory", lambda: None if free is None else Sizes(10**9, free))
    assert data.affordable_processes(2, 1000) == expected
    assert data.affordable_processes(0, 10**12) == 0
    assert len(caplog.messages) == (expected == 0)
    assert all("(`docker run --shm-size=1g`), or set threads.loader_workers to 0" in each for each in caplog.messages)


def test_batches_become_the_same_floats_as_single_images(dataset):
    images = torch.stack([image for image, _ in PreparedImages(dataset, "train")])
    assert images.dtype == torch.uint8
    batch = data.as_float()(images.to(memory_format=torch.channels_last))
    assert torch.equal(batch, torch.stack([data.as_float()(image) for image in images]))
    assert batch.is_contiguous(memory_format=torch.channels_last)
