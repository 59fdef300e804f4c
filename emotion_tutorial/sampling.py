"""The order in which a training sees its texts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

SORTED_TOGETHER = 16
"""Batches whose texts are sorted by length together: more save padding, fewer mix the texts better."""


class LengthGroupedBatches(torch.utils.data.Sampler):
    """Yield rows so that batches hold texts of like length, the batches themselves in random order.

    The rows are shuffled; of each 16 batches the texts are sorted by length; then the batches are shuffled.
    transformers' own sampler (5.23) sorts up to 50 together and leaves them so, from long texts to short ones
    again and again; benchmarks/speed_ups.py compares the two.

    The order follows from seed and epoch alone: all processes of a training have the same one, and a resumed training
    goes on with it.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        if batch_size < 1:
            raise ValueError(f"Expected a batch size of 1 or more, got {batch_size}.")
        self.lengths, self.batch_size, self.seed = np.asarray(lengths), batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of another epoch; the Trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rows = rng.permutation(len(self.lengths))
        batches = []
        for first in range(0, len(rows), SORTED_TOGETHER * self.batch_size):
            part = rows[first : first + SORTED_TOGETHER * self.batch_size]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        last = batches[-1:]  # it may be smaller, and would shift the borders of those behind it
        for batch in [*(batches[i] for i in rng.permutation(len(batches) - len(last))), *last]:
            yield from batch.tolist()
