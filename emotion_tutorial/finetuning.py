"""A Trainer, set up well."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from datasets import Dataset, DatasetDict
from filelock import FileLock
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import PredictionOutput, TrainOutput

from emotion_tutorial.artifacts import artifact_folder, said_if_refused
from emotion_tutorial.checkpoints import (
    Checksums,
    TrainingTime,
    is_finished,
    newest_checkpoint,
    remove_unfinished_checkpoints,
    repair_checkpoints,
)
from emotion_tutorial.encoders import best_device, has_bfloat16, keep_freed_memory, load_classifier, load_tokenizer
from emotion_tutorial.evaluation import compute_metrics
from emotion_tutorial.exceptions import TooFewClassesError
from emotion_tutorial.extraction import require_smaller_batch
from emotion_tutorial.profiles import Profile
from emotion_tutorial.sampling import LengthGroupedBatches
from emotion_tutorial.tokenization import tokenize

_FIRST_WEIGHTS: WeakKeyDictionary[Trainer, dict[str, torch.Tensor]] = WeakKeyDictionary()
"""Of trainers that began and have no checkpoint yet: a second attempt starts from the same."""


def build_trainer(
    splits: DatasetDict,
    checkpoint: str | Path,
    *,
    output_dir: str | Path,
    learning_rate: float,
    epochs: float,
    batch_size: int,
    seed: int = 0,
    class_weights: Literal["balanced"] | Sequence[float] | None = None,
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
    class_weights
        By how much an error on a text of each label counts in the training loss, in id order.
        `balanced`: inversely to how common the label is in `train`, 1 on average over the texts.
        None: all texts count alike. The validation loss stays unweighted.
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
    ValueError
        If there is not one positive weight for each label.
    ArtifactError
        If `output_dir` cannot be made.
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
    weights = _class_weights(class_weights, splits["train"], label_names)
    with said_if_refused(Path(output_dir)):
        trainer = _OrderedTrainer(
            model=model,
            args=TrainingArguments(**(arguments | training_arguments)),
            train_dataset=splits["train"],
            eval_dataset=splits["validation"].select(_by_length(splits["validation"])),
            processing_class=tokenizer,
            compute_metrics=compute_metrics,
            compute_loss_func=None if weights is None else partial(_weighted_loss, weights=weights),
            callbacks=[TrainingTime(), Checksums()],
        )
    # transformers 5.23 takes a classifier's loss, a mean over a batch, for one over all that is accumulated or that all
    # processes have, and takes steps that are larger by as much.
    trainer.model_accepts_loss_kwargs = False
    return trainer


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
        `build_trainer` and `train_or_resume` do.
    """
    settings = training_settings(profile)
    folder = artifact_folder("fine-tuned", splits=splits, checkpoint=profile.checkpoint, **settings)
    _, state = newest_checkpoint(folder)
    if state and is_finished(state) and state.best_model_checkpoint:
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
    one process train while others wait for it. Checkpoints that are not what their checksums say
    are removed, and an `ArtifactWarning` says so; without the best one the training starts anew.
    If the device has no memory for a batch, the batch is divided and the gradients of its parts are
    added up, so that a step sees the same texts; an `OutOfMemoryWarning` says so. (Of several
    processes all would have to: there the error is raised.)

    Returns
    -------
    TrainOutput
        As of `Trainer.train`. The history of losses and metrics is in `trainer.state.log_history`.

    Raises
    ------
    ArtifactError
        If the system does not let us write to the output folder.
    OutOfMemoryError
        If the device has no memory for a single text.
    """
    folder = Path(str(trainer.args.output_dir))
    # Of the processes of one training only the first takes the lock, and all go on from what it found. A finished
    # training can be read where nobody may write.
    first = trainer.is_world_process_zero()
    locked = first and (os.access(folder.parent, os.W_OK) or not is_finished(newest_checkpoint(folder)[1]))
    with said_if_refused(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock") if locked else nullcontext():
            while True:
                newest = repair_checkpoints(folder) if first else None
                [newest] = broadcast_object_list([newest], from_process=0)
                if newest is None:
                    _start_from_first_weights(trainer)
                try:
                    output = trainer.train(resume_from_checkpoint=str(newest) if newest else None)
                except RuntimeError as error:
                    if trainer.args.world_size > 1:
                        raise
                    require_smaller_batch(trainer.args.per_device_train_batch_size, error)
                else:
                    _FIRST_WEIGHTS.pop(trainer, None)
                    return output
                finally:
                    trainer.is_in_train = False
                    if first:
                        remove_unfinished_checkpoints(folder)
                _divide_batches(trainer)


def _start_from_first_weights(trainer: Trainer) -> None:
    """Note a trainer's weights; if it began before, put them back as they were."""
    model: Any = trainer.model
    if first := _FIRST_WEIGHTS.get(trainer):
        model.load_state_dict(first)
        set_seed(trainer.args.seed)
        if trainer.optimizer is not None:
            trainer.optimizer.state.clear()
    else:
        _FIRST_WEIGHTS[trainer] = {
            name: weight.detach().to("cpu", copy=True) for name, weight in model.state_dict().items()
        }


def _divide_batches(trainer: Any) -> None:
    """Halve the batches, or more if their size is odd, and accumulate the gradients of as many texts as before."""
    size = trainer.args.per_device_train_batch_size
    smaller = next(part for part in range(size // 2, 0, -1) if size % part == 0)
    trainer.args.gradient_accumulation_steps *= size // smaller
    trainer.args.per_device_train_batch_size = smaller
    trainer.args.per_device_eval_batch_size = max(1, trainer.args.per_device_eval_batch_size // 2)
    trainer._train_batch_size = trainer.args.train_batch_size


def _class_weights(
    given: Literal["balanced"] | Sequence[float] | None, train: Dataset, label_names: Sequence[str]
) -> torch.Tensor | None:
    if given is None:
        return None
    if given == "balanced":
        labels = np.array(train["label"][:])
        weights = torch.ones(len(label_names))  # of a label without texts it does not matter
        present = np.unique(labels)
        weights[present] = torch.tensor(compute_class_weight("balanced", classes=present, y=labels)).float()
    elif isinstance(given, str):
        raise ValueError(f"Unknown class_weights {given!r}. Give 'balanced', or a weight for each label.")
    else:
        weights = torch.tensor(list(given), dtype=torch.float32)
    if weights.shape != (len(label_names),) or not (weights.isfinite() & (weights > 0)).all():
        raise ValueError(
            f"class_weights are {weights.tolist()}; expected {len(label_names)} positive numbers, one for "
            f"each of {', '.join(label_names)}."
        )
    return weights


def _weighted_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None, *, weights: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of a batch, weighted in training; see `Trainer(compute_loss_func=)`."""
    logits = outputs["logits"].float()
    weight = weights.to(logits.device) if torch.is_grad_enabled() else None
    losses = cross_entropy(logits, labels, weight=weight, reduction="none")
    return losses.sum() / (labels.numel() if num_items_in_batch is None else num_items_in_batch)


class _OrderedTrainer(Trainer):
    """Train in batches of like length, and evaluate in the order of the rows.

    With `group_by_length`, transformers 5.23 shuffles the rows that it predicts as well, and
    `predict` returns predictions that do not line up with the texts.
    """

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> torch.utils.data.Sampler | None:
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        dataset = cast(Dataset, self.train_dataset if train_dataset is None else train_dataset)
        # Batches that are divided for want of memory hold the same texts together.
        texts = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedBatches(_lengths(dataset), texts, self.args.seed)

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
    return np.argsort(_lengths(dataset), kind="stable")


def _lengths(dataset: Dataset) -> list[int]:
    return [len(ids) for ids in dataset["input_ids"]]
