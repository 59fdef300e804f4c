import numpy as np
import pytest

from emotion_tutorial import LengthGroupedBatches

LENGTHS = np.random.default_rng(0).integers(3, 60, 1000)


def batches(sampler: LengthGroupedBatches, size: int = 32) -> list[np.ndarray]:
    rows = list(sampler)
    return [LENGTHS[rows[i : i + size]] for i in range(0, len(rows), size)]


def test_every_row_once():
    sampler = LengthGroupedBatches(LENGTHS, 32, seed=0)
    assert sorted(sampler) == list(range(1000))
    assert len(sampler) == 1000
    assert sorted(LengthGroupedBatches([5], 32, seed=0)) == [0]
    assert list(LengthGroupedBatches([], 32, seed=0)) == []


def test_batches_hold_texts_of_like_length_in_random_order():
    found = batches(LengthGroupedBatches(LENGTHS, 32, seed=0))
    padded = sum(batch.max() * len(batch) for batch in found)
    assert LENGTHS.sum() / padded > 0.9
    longest = np.array([batch.max() for batch in found])
    falling = (np.diff(longest) < 0).mean()  # all but one or two of a sorted order
    assert 0.3 < falling < 0.7


def test_order_follows_from_seed_and_epoch():
    sampler = LengthGroupedBatches(LENGTHS, 32, seed=0)
    first = list(sampler)
    assert first == list(sampler) == list(LengthGroupedBatches(LENGTHS, 32, seed=0))
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first != list(LengthGroupedBatches(LENGTHS, 32, seed=1))


@pytest.mark.parametrize("size", [0, -1])
def test_no_batch_size_is_refused(size):
    with pytest.raises(ValueError, match=f"batch size of 1 or more, got {size}"):
        LengthGroupedBatches(LENGTHS, size, seed=0)
