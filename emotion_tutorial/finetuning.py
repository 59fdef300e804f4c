"""A Trainer, set up well."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from datasets import Dataset, DatasetDict
from filelock import FileLock
from transformers import Trainer, TrainerState, TrainingArguments, set_seed
from transformers.trainer_utils import PredictionOutput, TrainOutput

from emotion_tutorial.artifacts import artifact_folder
from emotion_tutorial.encoders import best_device, has_bfloat16, keep_freed_memory, load_classifier, load_tokenizer
from emotion_tutorial.evaluation import compute_metrics
from emotion_tutorial.exceptions import TooFewClassesError
from emotion_tutorial.profiles import Profile
from emotion_tutorial.tokenization import tokenize


def build_trainer(
    splits: DatasetDict,
    checkpoint: str | Path,
    *,
    output_dir: str | Path,
    learning_rate: float,
    epochs: float,
    batch_size: int,
    seed: int = 0,
    **training_arguments: Any,
) -> Trainer:
    """Set up fine-tuning: train, evaluate after each epoch, keep the best epoch's weights.

    Batches hold texts of like length and are padded to their own longest. The learning rate
    rises for 6 % of the steps and then falls linearly. Hardware that has bfloat16 computes in it.

    Parameters
    ----------
    splits
        `train` and `validation`, as loaded or as tokenized.
    checkpoint
        For `load_classifier`. Its body is fine-tuned together with a fresh head.
    output_dir
        For the checkpoints: the last and the best epoch's.
    learning_rate, epochs, batch_size
        The highest rate, passes over the training texts, and texts per step: of all processes
        together, when torchrun or accelerate starts several.
    seed
        Of the head, dropout and the order of batches. Two runs on one machine are alike to the
        last digit on a CPU, and to about a tenth of a point of accuracy on a GPU.
    **training_arguments
        Anything that `transformers.TrainingArguments` takes; it replaces what is set here.

    Returns
    -------
    transformers.Trainer
        Not trained yet: call `train_or_resume(trainer)`, or its `train()`.

    Raises
    ------
    TooFewClassesError
        If the training texts have fewer than two labels.
    """
    label_names = splits["train"].features["label"].names
    if len(found := set(splits["train"]["label"])) < 2:
        raise TooFewClassesError(f"The training texts have {len(found)} label; a classifier needs two or more.")
    tokenizer = load_tokenizer(checkpoint)
    if "input_ids" not in splits["train"].column_names:
        splits = tokenize(splits, tokenizer)
    keep_freed_memory()
    set_seed(seed)  # before the head is drawn
    model = load_classifier(checkpoint, label_names, device="cpu" if training_arguments.get("use_cpu") else None)
    device = torch.device("cpu") if training_arguments.get("use_cpu") else best_device()
    arguments: dict[str, Any] = {
        "output_dir": str(output_dir),
        "learning_rate": learning_rate,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": max(1, batch_size // int(os.environ.get("WORLD_SIZE", "1"))),
        "per_device_eval_batch_size": 64,
        "weight_decay": 0.01,
        "warmup_steps": 0.06,  # below 1: a share of all steps
        "train_sampling_strategy": "group_by_length",
        "bf16": has_bfloat16(device),
        "use_cpu": device.type == "cpu",
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        "save_total_limit": 2,  # the best and the last; of 1, the Trainer deletes the last and would train it again
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "report_to": "none",
        "dataloader_pin_memory": device.type == "cuda",
        "seed": seed,
    }
    return _OrderedTrainer(
        model=model,
        args=TrainingArguments(**(arguments | training_arguments)),
        train_dataset=splits["train"],
        eval_dataset=splits["validation"].select(_by_length(splits["validation"])),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )


def load_or_train(splits: DatasetDict, profile: Profile) -> Trainer:
    """Return a trained Trainer for a profile: the one that is kept under `artifacts/`, or trained now.

    Parameters
    ----------
    splits
        As loaded or as tokenized.
    profile
        Its checkpoint and hyperparameters; with the splits they decide which artifact it is.

    Returns
    -------
    transformers.Trainer
        With the best epoch's weights in `model`, its tokenizer in `processing_class`. Raises as
        `build_trainer` does.
    """
    settings = training_settings(profile)
    folder = artifact_folder("fine-tuned", splits=splits, checkpoint=profile.checkpoint, **settings)
    _, state = _newest_checkpoint(folder)
    if state and state.global_step == state.max_steps and state.best_model_checkpoint:
        best = folder / Path(state.best_model_checkpoint).name  # the folder may have been moved
        trainer = build_trainer(splits, best, output_dir=folder, **settings)
        trainer.state = state
    else:
        trainer = build_trainer(splits, profile.checkpoint, output_dir=folder, **settings)
        train_or_resume(trainer)
    return trainer


def training_settings(profile: Profile) -> dict[str, Any]:
    """Return the hyperparameters of a profile as arguments of `build_trainer`."""
    names = ("learning_rate", "epochs", "batch_size", "weight_decay", "warmup_steps", "seed")
    return {name: getattr(profile, name) for name in names}


def train_or_resume(trainer: Trainer) -> TrainOutput:
    """Train, going on from the newest complete checkpoint in the trainer's output folder.

    A training that was finished before is not repeated: its best weights are loaded. A lock lets
    one process train while others wait for it.

    Returns
    -------
    TrainOutput
        As of `Trainer.train`. The history of losses and metrics is in `trainer.state.log_history`.
    """
    folder = Path(str(trainer.args.output_dir))
    folder.mkdir(parents=True, exist_ok=True)
    # Of the processes of one training only the first takes the lock, and all go on from what it found.
    with FileLock(f"{folder}.lock") if trainer.is_world_process_zero() else nullcontext():
        newest, _ = _newest_checkpoint(folder)
        [newest] = broadcast_object_list([newest], from_process=0)
        return trainer.train(resume_from_checkpoint=str(newest) if newest else None)


def _newest_checkpoint(folder: Path) -> tuple[Path | None, TrainerState | None]:
    """Return the newest complete checkpoint in a training's folder, with the state of the training."""
    # The Trainer writes the state last: a checkpoint that has it is complete.
    states = {path: TrainerState.load_from_json(str(path)) for path in folder.glob("checkpoint-*/trainer_state.json")}
    newest = max(states, key=lambda path: states[path].global_step, default=None)
    return (newest.parent, states[newest]) if newest else (None, None)


class _OrderedTrainer(Trainer):
    """Evaluate in the order of the rows: grouping by length is for training only.

    With `group_by_length`, transformers 5.23 shuffles the rows that it predicts as well, and
    `predict` returns predictions that do not line up with the texts.
    """

    def _get_eval_sampler(self, eval_dataset: Dataset) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(eval_dataset)

    def predict(self, test_dataset: Dataset, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Predict in order of length, for less padding, and return in the order of the rows."""
        order = _by_length(test_dataset)
        output = super().predict(test_dataset.select(order), *args, **kwargs)
        back = np.argsort(order)
        labels = None if output.label_ids is None else np.asarray(output.label_ids)[back]
        return PredictionOutput(np.asarray(output.predictions)[back], labels, output.metrics)


def _by_length(dataset: Dataset) -> np.ndarray:
    return np.argsort([len(ids) for ids in dataset["input_ids"]], kind="stable")
