"""What would make training faster, and what it costs in accuracy: `python benchmarks/speed_ups.py`.

Each variant is the training of a profile with one thing changed. All start from the same weights, see the same texts
and use the profile's hyperparameters; runs alternate, each in a process of its own. With `--steps 40`, only so many
steps are timed, after two that are not, and nothing is evaluated. Without it, whole trainings are evaluated on
validation, and compared with the present ones seed by seed. What an environment variable changes, such as another
allocator (`LD_PRELOAD`), is timed by two calls with `--variants present`.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch
from measure import load, multiply_adds_per_token, parse_arguments, peak_gflops
from transformers import TrainerCallback

from emotion_tutorial import build_trainer, get_profile, tokenize
from emotion_tutorial.devices import best_device, has_bfloat16


def freeze(trainer: Any, *beginnings: str, layers: int = 0) -> None:
    """Keep some weights of the body, and its lowest layers, as they were pretrained."""
    lowest = [f".{layer}." for layer in range(layers)]
    for name, weight in trainer.model.base_model.named_parameters():
        if name.startswith(beginnings) or any(layer in name for layer in lowest):
            weight.requires_grad_(False)


def without_dropout(trainer: Any, *, attention_only: bool = False) -> None:
    """Set the probability of dropout to 0, everywhere or for the attention's weights."""
    for name, module in trainer.model.named_modules():
        if isinstance(module, torch.nn.Dropout) and (not attention_only or name.endswith("attention.self.dropout")):
            module.p = 0.0


class Both(torch.optim.Optimizer):
    """Two optimizers in one: of the word embeddings, only the rows that a batch touches are updated."""

    def __init__(self, trainer: Any):
        table = trainer.model.get_input_embeddings()
        table.sparse = True
        others = [weight for weight in trainer.model.parameters() if weight is not table.weight]
        settings: dict[str, Any] = {"lr": trainer.args.learning_rate}
        self.parts = [
            torch.optim.AdamW(others, fused=True, weight_decay=trainer.args.weight_decay, **settings),
            torch.optim.SparseAdam([table.weight], **settings),
        ]
        super().__init__([*others, table.weight], settings)
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take a step with each."""
        for part in self.parts:
            part.step()


def sparsely(trainer: Any) -> None:
    """Update the word embeddings only where a batch touches them."""
    trainer.optimizer = Both(trainer)
    # PyTorch has no norm of sparse gradients, which a Trainer reports even if it does not clip.
    trainer.accelerator.clip_grad_norm_ = lambda *_, **__: torch.tensor(0.0)


def both(trainer: Any) -> None:
    """Freeze the word embeddings, and have no dropout in the attention."""
    freeze(trainer, "embeddings.word_embeddings")
    without_dropout(trainer, attention_only=True)


Change = Callable[[Any], None]
VARIANTS: dict[str, tuple[dict[str, Any], Change | None]] = {
    "present": ({}, None),
    "float32": ({"bf16": False}, None),
    "batches in random order": ({"train_sampling_strategy": "random"}, None),
    "optimizer not fused": ({"optim": "adamw_torch"}, None),
    "no clipping": ({"max_grad_norm": 0}, None),
    "word embeddings frozen": ({}, lambda trainer: freeze(trainer, "embeddings.word_embeddings")),
    "word embeddings sparse": ({}, sparsely),  # and without clipping
    "no dropout in the attention": ({}, lambda trainer: without_dropout(trainer, attention_only=True)),
    "no dropout": ({}, without_dropout),
    "two of six layers frozen": ({}, lambda trainer: freeze(trainer, "embeddings.", layers=2)),
    "embeddings frozen, no dropout in the attention": ({}, both),
    "compiled": ({"torch_compile": True}, None),
}
"""Arguments of `build_trainer`, and what is done to its trainer."""


class Clock(TrainerCallback):
    """Note when a training has taken two steps, and when it ends."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Start the clock."""
        if state.global_step == 2:
            self.start = time.perf_counter()
        self.end = time.perf_counter()


def train(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one variant and, if it was trained to the end, evaluate it on the validation split."""
    arguments, change = VARIANTS[name]
    splits = load(options)
    profile = get_profile(options.profile, seed=seed)
    settings = profile.hyperparameters | {"eval_strategy": "no", "save_strategy": "no", "disable_tqdm": True}
    settings |= {"max_steps": options.steps + 2} if options.steps else {}
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = build_trainer(
            splits, options.checkpoint, output_dir=folder, callbacks=[clock], **(settings | arguments)
        )
        if change:
            change(trainer)
        trainer.train()
        steps, seconds = trainer.state.max_steps - 2, clock.end - clock.start
        found = {"variant": name, "seed": seed, "ms per step": 1000 * seconds / steps}
        tokens = sum(map(len, trainer.train_dataset["input_ids"])) / len(trainer.train_dataset) * profile.batch_size
        found["GFLOP/s"] = 6 * multiply_adds_per_token(trainer.model) * tokens * steps / seconds / 1e9
        if not options.steps:
            metrics = trainer.predict(tokenize(splits, trainer.processing_class)["validation"]).metrics
            found |= {"accuracy": metrics["test_accuracy"], "macro_f1": metrics["test_macro_f1"]}
    return found


def main() -> None:
    """Run from the command line."""
    parser = parse_arguments(__doc__ or "", texts=4000, repeats=3)
    parser.add_argument("--profile", default="quick", help="for the hyperparameters")
    parser.add_argument("--steps", type=int, default=0, help="time so many steps, instead of whole trainings")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    rows = []
    for seed in range(options.repeats):
        for name in options.variants:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                rows.append(process.submit(train, name, seed, options).result())
            print({key: round(value, 4) if isinstance(value, float) else value for key, value in rows[-1].items()})
    frame = pd.DataFrame(rows)
    runs = frame.groupby("variant", sort=False)
    table = runs[["ms per step", "GFLOP/s"]].median().round(1)
    dtype = torch.bfloat16 if has_bfloat16(best_device()) else torch.float32
    table["share of the peak"] = (table["GFLOP/s"] / peak_gflops(dtype)).round(2)
    if "present" in table.index:
        table["times as fast"] = (table["ms per step"]["present"] / table["ms per step"]).round(2)
    if not options.steps:
        accuracy = frame.set_index(["variant", "seed"])["accuracy"].unstack()  # noqa: PD010
        table["accuracies"] = [", ".join(f"{value:.3f}" for value in accuracy.loc[name]) for name in table.index]
        difference = accuracy - accuracy.loc["present"] if "present" in table.index else accuracy * np.nan
        spread = difference.std(axis=1, ddof=1) / np.sqrt(difference.shape[1])
        table["difference"] = difference.mean(axis=1).round(4)
        table["standard error"] = spread.round(4)
    print(f"\n{options.texts:,} texts, profile {options.profile}, {options.repeats} runs each")
    print(table.to_string())
    print(json.dumps(table.reset_index().to_dict(orient="records")))


if __name__ == "__main__":
    main()
