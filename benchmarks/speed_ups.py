"""What would make training faster, and what it costs in accuracy: `python benchmarks/speed_ups.py`.

Each variant is the training of a profile with one thing changed. All start from the same weights, see the same texts
and use the profile's hyperparameters; runs alternate, each in a process of its own. What is timed are tokens per
second, not counting padding. With `--steps 40`, only so many steps are timed, after two that are not, and nothing is
evaluated. Without it, whole trainings are evaluated on validation, and compared with the present ones seed by seed.
What an environment variable changes, such as another allocator (`LD_PRELOAD`), is timed by two calls with `--variants
present`.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch
from measure import load, multiply_adds_per_token, parse_arguments, peak_gflops
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader
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


class CheapDropout(torch.nn.Module):
    """Dropout whose random numbers are bytes, eight from each draw; its probability is a multiple of 1/256."""

    def __init__(self, p: float):
        super().__init__()
        self.dropped = round(256 * p)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Replace some numbers by 0, and enlarge the others by as much."""
        if not self.training:
            return states
        draws = torch.empty(-(-states.numel() // 8), dtype=torch.int64, device=states.device)
        drawn = draws.random_(-(2**63), None).view(torch.uint8)[: states.numel()].view(states.shape)
        return states * (drawn >= self.dropped) * (256 / (256 - self.dropped))


def cheap_dropout(trainer: Any) -> None:
    """Draw cheaper random numbers, except for the attention's weights, which PyTorch drops inside one function."""
    for name, module in [*trainer.model.named_modules()]:
        if isinstance(module, torch.nn.Dropout) and not name.endswith("attention.self.dropout"):
            trainer.model.set_submodule(name, CheapDropout(module.p))


def plain_attention(trainer: Any) -> None:
    """Have no dropout in the attention, and compute it step by step, not by the kernel that PyTorch then chooses."""
    without_dropout(trainer, attention_only=True)
    step = trainer.training_step

    def training_step(*args: Any, **kwargs: Any) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return step(*args, **kwargs)

    trainer.training_step = training_step


class TokenBatches:
    """Batches of texts of like length with about as many tokens each, padding included, in random order."""

    def __init__(self, lengths: list[int], texts_per_batch: int, seed: int):
        self.lengths, self.random = np.array(lengths), np.random.default_rng(seed)
        self.tokens = round(self.lengths.mean() * texts_per_batch)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.random.permutation(len(self.lengths))
        order = order[np.argsort(self.lengths[order], kind="stable")]
        batches: list[list[int]] = [[]]
        for row in order.tolist():
            if (len(batches[-1]) + 1) * self.lengths[row] > self.tokens:
                batches.append([])
            batches[-1].append(row)
        return iter([batches[i] for i in self.random.permutation(len(batches))])

    def __len__(self) -> int:
        return len([*iter(self)])


def by_tokens(trainer: Any) -> None:
    """Make batches by number of tokens."""
    rows = trainer.train_dataset.select_columns(["input_ids", "attention_mask", "label"])
    batches = TokenBatches([*map(len, rows["input_ids"])], trainer.args.train_batch_size, trainer.args.seed)
    trainer.get_train_dataloader = lambda: DataLoader(rows, batch_sampler=batches, collate_fn=trainer.data_collator)


def frozen_embeddings(trainer: Any) -> None:
    """Keep the word embeddings as they were pretrained."""
    freeze(trainer, "embeddings.word_embeddings")


def together(*changes: "Change") -> "Change":
    """Return one change that makes several."""

    def change(trainer: Any) -> None:
        for one in changes:
            one(trainer)

    return change


Change = Callable[[Any], None]
VARIANTS: dict[str, tuple[dict[str, Any], Change | None]] = {
    "present": ({}, None),
    "float32": ({"bf16": False}, None),
    "batches in random order": ({"train_sampling_strategy": "random"}, None),
    "optimizer not fused": ({"optim": "adamw_torch"}, None),
    "no clipping": ({"max_grad_norm": 0}, None),
    "word embeddings frozen": ({}, frozen_embeddings),
    "word embeddings sparse": ({}, sparsely),  # and without clipping
    "two of six layers frozen": ({}, lambda trainer: freeze(trainer, "embeddings.", layers=2)),
    "no dropout in the attention": ({}, lambda trainer: without_dropout(trainer, attention_only=True)),
    "the same, attention step by step": ({}, plain_attention),
    "no dropout": ({}, without_dropout),
    "no dropout, attention step by step": ({}, together(without_dropout, plain_attention)),
    "cheap dropout": ({}, cheap_dropout),
    "batches by number of tokens": ({}, by_tokens),
    "compiled": ({"torch_compile": True}, None),
    "embeddings frozen, cheap dropout": ({}, together(frozen_embeddings, cheap_dropout)),
    "the same, batches by number of tokens": ({}, together(frozen_embeddings, cheap_dropout, by_tokens)),
    "embeddings sparse, cheap dropout": ({}, together(sparsely, cheap_dropout)),
}
"""Arguments of `build_trainer`, and what is done to its trainer."""


class Clock(TrainerCallback):
    """Note when a training has taken two steps, and when it ends, and count the tokens in between."""

    def __init__(self) -> None:
        self.tokens, self.places = 0, 0

    def counted(self, collate: Any) -> Any:
        """Return a data collator that counts the tokens of its batches, and their places, padding included."""

        def collator(rows: Any) -> Any:
            batch = collate(rows)
            self.tokens += int(batch["attention_mask"].sum())
            self.places += batch["attention_mask"].numel()
            return batch

        return collator

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Start the clock."""
        if state.global_step == 2:
            self.start, self.tokens, self.places = time.perf_counter(), 0, 0
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
        trainer.data_collator = clock.counted(trainer.data_collator)
        if change:
            change(trainer)
        trainer.train()
        seconds = clock.end - clock.start
        rate = clock.tokens / seconds
        found: dict[str, Any] = {"variant": name, "seed": seed, "seconds": seconds, "tokens/s": rate}
        found["GFLOP/s"] = 6 * multiply_adds_per_token(trainer.model) * rate / 1e9
        found["padding"] = 1 - clock.tokens / clock.places
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
            print(
                {key: round(value, 4) if isinstance(value, float) else value for key, value in rows[-1].items()},
                flush=True,
            )
    frame = pd.DataFrame(rows)
    runs = frame.groupby("variant", sort=False)
    table = runs[["seconds", "tokens/s", "GFLOP/s"]].median().round(1)
    table["padding"] = runs["padding"].median().round(3)
    dtype = torch.bfloat16 if has_bfloat16(best_device()) else torch.float32
    table["share of the peak"] = (table["GFLOP/s"] / peak_gflops(dtype)).round(2)
    if "present" in table.index:
        table["times as fast"] = (table["tokens/s"] / table["tokens/s"]["present"]).round(2)
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
