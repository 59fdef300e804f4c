"""Mean-pooled vectors of many texts, in one run: the way of 2022, sentence-transformers, and `extract_hidden_states`.

The way of 2022: all texts are padded to the longest of the corpus, then `map` in batches of 1,000, float32.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from measure import alternate, load, longest_of_the_corpus, parse_arguments, report
from sentence_transformers import SentenceTransformer

from emotion_tutorial import extract_hidden_states, feature_matrix, load_encoder, load_tokenizer
from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.devices import has_bfloat16
from emotion_tutorial.features import pool


def plain(options: argparse.Namespace) -> dict[str, Any]:
    """Extract the way of 2022."""
    encoder, tokenizer = load_encoder(options.checkpoint), load_tokenizer(options.checkpoint)
    longest = longest_of_the_corpus(options, tokenizer)

    def encode(batch: dict[str, Any]) -> Any:
        return tokenizer(batch["text"], padding="max_length", truncation=True, max_length=longest)

    def extract(batch: dict[str, Any]) -> Any:
        inputs = {name: batch[name].to(encoder.device) for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            hidden = encoder(**inputs).last_hidden_state
        return {"hidden_state": pool(hidden, inputs["attention_mask"], "mean").cpu().numpy()}

    def run(dataset: Dataset) -> np.ndarray:
        padded = dataset.map(encode, batched=True, batch_size=None, load_from_cache_file=False)
        padded.set_format("torch", columns=["input_ids", "attention_mask", "label"])
        return feature_matrix(padded.map(extract, batched=True, batch_size=1000, load_from_cache_file=False))[0]

    return timed(options, run)


def sentence_transformers(options: argparse.Namespace) -> dict[str, Any]:
    """Extract with `SentenceTransformer.encode`, in batches of 64."""
    model = SentenceTransformer(str(locate_checkpoint(options.checkpoint)))  # a plain checkpoint gets mean pooling
    model.to(getattr(torch, options.precision))

    def run(dataset: Dataset) -> np.ndarray:
        vectors = model.encode(dataset["text"][:], batch_size=64, show_progress_bar=False, convert_to_tensor=True)
        return vectors.float().cpu().numpy()

    return timed(options, run)


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Extract with `extract_hidden_states`."""
    encoder, tokenizer = load_encoder(options.checkpoint), load_tokenizer(options.checkpoint)
    how: dict[str, Any] = {"pooling": "mean", "precision": options.precision, "cache": False}
    return timed(options, lambda dataset: feature_matrix(extract_hidden_states(dataset, encoder, tokenizer, **how))[0])


def timed(options: argparse.Namespace, run: Callable[[Dataset], np.ndarray]) -> dict[str, Any]:
    """Warm up on a few texts, and extract."""
    dataset = load(options)["train"]
    run(dataset.select(range(64)))
    start = time.perf_counter()
    vectors = run(dataset)
    return {"seconds": time.perf_counter() - start, "vectors": vectors}


def main() -> None:
    """Run from the command line."""
    parser = parse_arguments(__doc__ or "", texts=3000, repeats=3)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], help="what the hardware has, unless given")
    options = parser.parse_args()
    device = load_encoder(options.checkpoint).device
    options.precision = options.precision or ("bfloat16" if has_bfloat16(device) else "float32")
    found = alternate([plain, sentence_transformers, ours], options)
    a, b = found["plain"]["vectors"], found["ours"]["vectors"]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    speeds = {name: options.texts / result["seconds"] for name, result in found.items()}
    result = {
        "precision": options.precision,
        **{f"{name}_texts_per_second": round(speed, 1) for name, speed in speeds.items()},
        "ours_to_plain": speeds["ours"] / speeds["plain"],
        "ours_to_sentence_transformers": speeds["ours"] / speeds["sentence_transformers"],
        "smallest_cosine_to_float32": float(cosine.min()),
    }
    report({"device": device, "texts": options.texts, **result}, result)


if __name__ == "__main__":
    main()
