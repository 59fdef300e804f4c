"""What each speed-up of `build_trainer`, and freezing the lower layers, costs in accuracy: a mean over seeds.

`plain` is the same training without the speed-ups: float32, batches in random order. The frozen variants keep the
embeddings, or the embeddings and the lower layers, as they were pretrained. All start from the same weights, see the
same texts and use the profile's hyperparameters; runs of a seed alternate, each in a process of its own.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pandas as pd
from measure import load, parse_arguments

from emotion_tutorial import build_trainer, get_profile, tokenize

PLAIN = {"bf16": False, "train_sampling_strategy": "random"}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"arguments": PLAIN},
    "build_trainer": {},
    "frozen embeddings": {"frozen": ["embeddings."]},
    "frozen embeddings and a third of the layers": {"frozen": ["embeddings."], "frozen_share": 1 / 3},
}
"""Arguments of `build_trainer`, weights that are not trained, and the share of the layers that are not."""


def train(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one variant and evaluate it on the validation split."""
    variant = VARIANTS[name]
    splits = load(options)
    profile = get_profile("quick", seed=seed, epochs=options.epochs)
    settings = profile.hyperparameters | variant.get("arguments", {})
    settings |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False, "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = build_trainer(splits, options.checkpoint, output_dir=folder, **settings)
        body = trainer.model.base_model
        frozen = round(variant.get("frozen_share", 0) * body.config.num_hidden_layers)
        layers = [f".{layer}." for layer in range(frozen)]
        for weight, parameter in body.named_parameters():
            if weight.startswith(tuple(variant.get("frozen", []))) or any(layer in weight for layer in layers):
                parameter.requires_grad_(False)
        trained = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
        seconds = trainer.train().metrics["train_runtime"]
        metrics = trainer.predict(tokenize(splits, trainer.processing_class)["validation"]).metrics
    return {
        "variant": name,
        "seed": seed,
        "million weights": trained / 1e6,
        "seconds per epoch": seconds / options.epochs,
        "accuracy": metrics["test_accuracy"],
        "macro_f1": metrics["test_macro_f1"],
    }


def main() -> None:
    """Run from the command line."""
    parser = parse_arguments(__doc__ or "", texts=4000, repeats=3)
    parser.add_argument("--epochs", type=int, default=get_profile("quick").epochs)
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    rows = []
    for seed in range(options.repeats):
        for name in options.variants:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                rows.append(process.submit(train, name, seed, options).result())
            print(f"seed {seed}, {name}: {rows[-1]['seconds per epoch']:.1f} s, {rows[-1]['accuracy']:.4f}", flush=True)
    runs = pd.DataFrame(rows).groupby("variant", sort=False)
    table = runs[["million weights", "accuracy", "macro_f1"]].mean().round(4)
    table.insert(1, "seconds per epoch", runs["seconds per epoch"].median().round(1))
    spread = runs["accuracy"].agg(lambda found: statistics.stdev(found) if len(found) > 1 else float("nan"))
    table.insert(3, "spread", spread.round(4))
    print(f"\n{options.texts:,} texts, {options.epochs} epochs, {options.repeats} seeds; spread: standard deviation")
    print(table.to_string())
    print(json.dumps(table.reset_index().to_dict(orient="records")))


if __name__ == "__main__":
    main()
