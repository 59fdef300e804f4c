"""Hidden states of many texts: the way of 2022 against `extract_hidden_states`, side by side.

The way of 2022: all texts are padded to the longest of the corpus, then `map` in batches of 1,000, float32.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from measure import (
    alternate,
    load,
    longest_of_the_corpus,
    multiply_adds_per_token,
    parse_arguments,
    peak_gflops,
    report,
)
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial import extract_hidden_states, feature_matrix, load_encoder, load_tokenizer
from emotion_tutorial.encoders import has_bfloat16


def extract_padded_to_the_longest(
    dataset: Dataset, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, longest: int
) -> np.ndarray:
    """Return the [CLS] vectors (texts, dim), computed the plain way."""

    def encode(batch: dict[str, Any]) -> Any:
        return tokenizer(batch["text"], padding="max_length", truncation=True, max_length=longest)

    def extract(batch: dict[str, Any]) -> Any:
        inputs = {name: batch[name].to(encoder.device) for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            return {"hidden_state": encoder(**inputs).last_hidden_state[:, 0].cpu().numpy()}

    padded = dataset.map(encode, batched=True, batch_size=None, new_fingerprint="padded", load_from_cache_file=False)
    padded.set_format("torch", columns=["input_ids", "attention_mask", "label"])
    hidden = padded.map(extract, batched=True, batch_size=1000, new_fingerprint="hidden", load_from_cache_file=False)
    return feature_matrix(hidden)[0]


def baseline(options: argparse.Namespace) -> dict[str, Any]:
    """Extract the plain way."""
    longest = longest_of_the_corpus(options, load_tokenizer(options.checkpoint))
    return timed(options, partial(extract_padded_to_the_longest, longest=longest))


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Extract with `extract_hidden_states`."""
    return timed(options, lambda *arguments: feature_matrix(extract_hidden_states(*arguments))[0])


def timed(options: argparse.Namespace, extract: Callable[..., np.ndarray]) -> dict[str, Any]:
    """Load, warm up on a few texts, and extract."""
    dataset = load(options)["train"]
    encoder, tokenizer = load_encoder(options.checkpoint), load_tokenizer(options.checkpoint)
    extract(dataset.select(range(16)), encoder, tokenizer)
    start = time.perf_counter()
    vectors = extract(dataset, encoder, tokenizer)
    return {"seconds": time.perf_counter() - start, "vectors": vectors}


def main() -> None:
    """Run from the command line."""
    options = parse_arguments(__doc__ or "", texts=4000, repeats=3).parse_args()
    dataset = load(options)["train"]
    tokenizer, encoder = load_tokenizer(options.checkpoint), load_encoder(options.checkpoint)
    found = alternate([baseline, ours], options)
    seconds = {name: result["seconds"] for name, result in found.items()}
    a, b = found["baseline"]["vectors"], found["ours"]["vectors"]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    tokens = sum(map(len, tokenizer(dataset["text"][:], truncation=True)["input_ids"]))
    dtype = torch.bfloat16 if has_bfloat16(encoder.device) else torch.float32
    peak = peak_gflops(dtype)
    operations = 2 * multiply_adds_per_token(encoder) * tokens / seconds["ours"] / 1e9
    texts = {name: len(dataset) / value for name, value in seconds.items()}
    ratio = texts["ours"] / texts["baseline"]
    report(
        {
            "device": encoder.device,
            "all padded to": f"{longest_of_the_corpus(options, tokenizer)} tokens",
            "texts, tokens": f"{len(dataset):,}, {tokens:,}",
            "baseline, texts/s (median)": f"{texts['baseline']:.0f}",
            "ours, texts/s (median)": f"{texts['ours']:.0f}  ({tokens / seconds['ours']:.0f} tokens/s)",
            "ratio": f"{ratio:.1f}",
            "smallest cosine to float32": f"{cosine.min():.6f}",
            f"peak of a matrix product, {dtype}": f"{peak:.0f} GFLOP/s",
            "ours, share of that peak": f"{operations / peak:.2f}",
        },
        {
            "baseline": texts["baseline"],
            "ours": texts["ours"],
            "ratio": ratio,
            "cosine_min": float(cosine.min()),
            "peak_gflops": peak,
            "roofline": operations / peak,
        },
    )


if __name__ == "__main__":
    main()
