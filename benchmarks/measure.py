"""What the benchmarks share: arguments, texts and the peak of the machine."""

import argparse
import statistics
import time

import torch
from datasets import DatasetDict, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from emotion_tutorial import load_splits
from emotion_tutorial.devices import best_device


def parse_arguments(description: str, *, texts: int, repeats: int) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded", help="a source for load_splits")
    parser.add_argument("--texts", type=int, default=texts, help="how many training texts")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--checkpoint", default="embedded")
    return parser


def load(options: argparse.Namespace) -> DatasetDict:
    """Load the data that the arguments name, with as many training texts as they say, repeated if there are too few."""
    splits = load_splits(options.data)
    train = splits["train"]
    copies = -(-options.texts // len(train))
    return DatasetDict(splits, train=concatenate_datasets([train] * copies).select(range(options.texts)))


def longest_of_the_corpus(options: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> int:
    """Count the tokens of the longest training text: what the book's code pads to, however many are timed."""
    texts = load_splits(options.data)["train"]["text"][:]
    return max(map(len, tokenizer(texts, truncation=True)["input_ids"]))


def peak_gflops(dtype: torch.dtype, size: int = 2048) -> float:
    """Measure a product of two square matrices, in 10^9 floating-point operations per second."""
    device = best_device()
    size = size if device.type == "cpu" else 4 * size
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def seconds() -> float:
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for the device
        return time.perf_counter() - start

    seconds()
    return 2 * size**3 / statistics.median(seconds() for _ in range(15)) / 1e9


def multiply_adds_per_token(model: torch.nn.Module) -> int:
    """Count the weights that each token is multiplied with: all but the embeddings and the head."""
    body = getattr(model, getattr(model, "base_model_prefix", ""), model)
    names = ("embeddings", "pooler")
    return sum(weight.numel() for name, weight in body.named_parameters() if name.split(".")[0] not in names)
