"""Which hyperparameters: one at a time, on texts cut from train; then the chosen ones on validation, over seeds.

A trial trains on `--texts` texts and is judged on 2,000 others, both of the training split. `--final` skips the trials,
trains the named ones on the whole training split, once per seed, and judges on validation. `mean` puts the head on the
mean of the hidden states instead of on [CLS]; `head x5` gives the head five times the learning rate of the body.
"""

import argparse
import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import DatasetDict
from measure import parse_arguments
from scipy.special import softmax
from scipy.stats import bootstrap

from emotion_tutorial import build_trainer, load_splits, tokenize

BASE = {"learning_rate": 2e-4, "epochs": 3, "batch_size": 32, "weight_decay": 0.01}
TRIALS: dict[str, dict[str, Any]] = {
    "base": {},
    "learning rate 5e-5": {"learning_rate": 5e-5},
    "learning rate 1e-4": {"learning_rate": 1e-4},
    "learning rate 4e-4": {"learning_rate": 4e-4},
    "1 epoch": {"epochs": 1},
    "2 epochs": {"epochs": 2},
    "5 epochs": {"epochs": 5},
    "batch 16": {"batch_size": 16},
    "batch 64": {"batch_size": 64},
    "weight decay 0": {"weight_decay": 0.0},
    "weight decay 0.1": {"weight_decay": 0.1},
    "label smoothing 0.1": {"label_smoothing_factor": 0.1},
    "mean": {"mean": True},
    "head x5": {"head_rate": 5},
    "mean, head x5, label smoothing 0.1": {"mean": True, "head_rate": 5, "label_smoothing_factor": 0.1},
}
"""What differs from `BASE`: arguments of `build_trainer`, and what only this benchmark knows."""


class MeanPooler(torch.nn.Module):
    """Stand in for BERT's pooler: the mean of the hidden states of a text's tokens."""

    def __init__(self, body: torch.nn.Module):
        super().__init__()
        body.register_forward_pre_hook(self._remember, with_kwargs=True)

    def _remember(self, body: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        self.mask = kwargs["attention_mask"]

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (texts, dim) for hidden states of (texts, tokens, dim)."""
        mask = self.mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)


def train(name: str, seed: int, splits: DatasetDict, checkpoint: str) -> dict[str, Any]:
    """Train one trial; return which of the texts of the other split it got right."""
    settings = BASE | {key: value for key, value in TRIALS[name].items() if key not in ("mean", "head_rate")}
    settings |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False, "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = build_trainer(splits, checkpoint, output_dir=folder, seed=seed, **settings)
        if TRIALS[name].get("mean"):
            trainer.model.base_model.pooler = MeanPooler(trainer.model.base_model)
        if faster := TRIALS[name].get("head_rate"):
            optimizer = trainer.create_optimizer()
            head = {id(weight) for weight in trainer.model.classifier.parameters()}
            for group in [*optimizer.param_groups]:
                of_head = [weight for weight in group["params"] if id(weight) in head]
                group["params"] = [weight for weight in group["params"] if id(weight) not in head]
                optimizer.add_param_group(group | {"params": of_head, "lr": group["lr"] * faster})
        seconds = trainer.train().metrics["train_runtime"]
        tested = trainer.predict(tokenize(splits, trainer.processing_class)["validation"])
    right = tested.predictions.argmax(1) == tested.label_ids
    scores = {"accuracy": tested.metrics["test_accuracy"], "macro_f1": tested.metrics["test_macro_f1"]}
    print(f"{name}, seed {seed}: {scores['accuracy']:.4f}, {seconds:.0f} s", flush=True)
    probabilities = softmax(tested.predictions, axis=1)
    arrays = {"right": right, "probabilities": probabilities, "y": tested.label_ids}
    return {"trial": name, "seed": seed, "seconds": seconds, **scores, **arrays}


def mean_with_interval(runs: pd.DataFrame) -> pd.Series:
    """Return the mean accuracy of the seeds, its 95% interval over the texts, the spread of the seeds, and so on.

    `ensemble` is the accuracy of the mean of the seeds' probabilities.
    """
    of_texts = np.mean(np.stack([*runs["right"]]), axis=0)
    interval = bootstrap((of_texts,), np.mean, method="percentile", n_resamples=2000, rng=0).confidence_interval
    spread = statistics.stdev(runs["accuracy"]) if len(runs) > 1 else float("nan")
    columns = {"accuracy": of_texts.mean(), "low": interval.low, "high": interval.high, "spread": spread}
    columns["ensemble"] = (np.mean([*runs["probabilities"]], axis=0).argmax(axis=1) == runs["y"].iloc[0]).mean()
    return pd.Series(columns | {"macro_f1": runs["macro_f1"].mean(), "seconds": runs["seconds"].median()}).round(4)


def main() -> None:
    """Run from the command line."""
    parser = parse_arguments(__doc__ or "", texts=6000, repeats=1)
    parser.add_argument("--trials", nargs="*", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--final", nargs="*", choices=TRIALS, default=[])
    options: argparse.Namespace = parser.parse_args()
    splits = load_splits(options.data)
    if options.final:
        splits = DatasetDict({name: splits[name] for name in ("train", "validation")})
    else:
        judged = min(2000, len(splits["train"]) // 4)
        cut = splits["train"].train_test_split(judged, seed=0, stratify_by_column="label")
        count = min(options.texts, len(cut["train"]))
        splits = DatasetDict(train=cut["train"].select(range(count)), validation=cut["test"])
    rows = []
    for seed in range(options.repeats):
        for name in options.final or options.trials:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                rows.append(process.submit(train, name, seed, splits, options.checkpoint).result())
    frame = pd.DataFrame(rows)
    found = {trial: mean_with_interval(frame[frame["trial"] == trial]) for trial in frame["trial"].unique()}
    table = pd.DataFrame(found).T.rename_axis("trial").reset_index()
    judge = "of validation" if options.final else "texts cut from train"
    print(f"\n{len(splits['train']):,} texts, seeds: {options.repeats}; on {len(splits['validation']):,} {judge}")
    print(table.to_string(index=False))
    print(table.to_json(orient="records"))


if __name__ == "__main__":
    main()
