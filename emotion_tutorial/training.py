"""Fine-tuning: a Trainer, set up well."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate.utils import extract_model_from_parallel
from datasets import Dataset, DatasetDict
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import PredictionOutput, TrainOutput

from emotion_tutorial.devices import best_device, has_bfloat16
from emotion_tutorial.evaluation import compute_metrics
from emotion_tutorial.exceptions import DataError, SettingsError
from emotion_tutorial.models import load_classifier, load_tokenizer
from emotion_tutorial.tokenization import tokenize


class ClassifierTrainer(Trainer):
    """A Trainer whose `predict` returns rows in order, and whose model predicts as it does when saved and reloaded.

    With `train_sampling_strategy="group_by_length"`, transformers 5.23 also groups what it predicts, so that
    predictions would not line up with the texts. With `bf16=True`, accelerate 1.15 leaves bfloat16 wrapped around the
    model's `forward`. It is taken off to evaluate and predict, so that an accuracy measured during a training is also
    that of the model which comes out of it.
    """

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as `Trainer` does; afterwards the model computes in its own precision."""
        output = super().train(*args, **kwargs)
        extract_model_from_parallel(self.model, keep_fp32_wrapper=False)
        return output

    def predict(self, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Predict as `Trainer` does, in the order of the rows."""
        strategy, self.args.train_sampling_strategy = self.args.train_sampling_strategy, "sequential"
        try:
            return super().predict(*args, **kwargs)
        finally:
            self.args.train_sampling_strategy = strategy

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """Predict a batch as `Trainer` does, but in the model's own precision."""
        before = dict(vars(self.model))
        extract_model_from_parallel(self.model, keep_fp32_wrapper=False)
        try:
            return super().prediction_step(*args, **kwargs)
        finally:
            if self.is_in_train:  # which goes on in bfloat16
                vars(self.model).update(before)


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
    new_head: bool = False,
    **training_arguments: Any,
) -> ClassifierTrainer:
    """Set up fine-tuning: train, evaluate after each epoch, keep the best epoch's weights. Call its `train()`.

    Parameters
    ----------
    splits
        `train` and `validation`, as loaded or as tokenized.
    checkpoint, new_head
        For `load_classifier`. The body is fine-tuned together with the head.
    output_dir
        For the training checkpoints of the last and the best epoch.
    learning_rate, epochs, batch_size
        The peak rate, passes over the training texts, and texts per optimizer step: of all processes, devices and
        accumulated batches together. A size that cannot be divided so is a `SettingsError`.
    seed
        For the head, dropout and the order of batches. On a CPU, two runs on one machine are equal to the last digit.
    class_weights
        How much an error on a text of each label counts in the training loss, in id order. `balanced`: each label
        contributes equally to it, however rare it is in `train`. The validation loss stays unweighted.
    **training_arguments
        Anything that `transformers.TrainingArguments` takes; it replaces what is set here.
    """
    if len(found := set(splits["train"]["label"])) < 2:
        raise DataError(f"The training texts have {len(found)} label; a classifier needs two or more.")
    tokenizer = load_tokenizer(checkpoint)
    if "input_ids" not in splits["train"].column_names:
        splits = tokenize(splits, tokenizer)
    given = {"output_dir": str(output_dir), "learning_rate": learning_rate, "num_train_epochs": epochs, "seed": seed}
    args = _training_arguments(batch_size, given | training_arguments)
    weights = None if class_weights is None else _class_weights(class_weights, splits["train"])
    set_seed(seed)  # before the head is drawn
    trainer = ClassifierTrainer(
        model=load_classifier(checkpoint, splits["train"].features["label"].names, "cpu", new_head=new_head),
        args=args,
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        compute_loss_func=None if weights is None else partial(_weighted_loss, weights=weights),
    )
    # transformers 5.23 takes a classifier's mean loss of a batch for one of all that is accumulated or that all
    # processes have, and takes steps that are larger by as much.
    trainer.model_accepts_loss_kwargs = False
    return trainer


def _training_arguments(batch_size: int, given: dict[str, Any]) -> TrainingArguments:
    device = torch.device("cpu") if given.get("use_cpu") else best_device()
    defaults: dict[str, Any] = {
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
    }
    args = TrainingArguments(**(defaults | given))
    if "per_device_train_batch_size" not in given:
        parts = args.world_size * max(1, args.n_gpu) * args.gradient_accumulation_steps
        if batch_size < 1 or batch_size % parts:
            shared = f"{parts} equal parts (processes, times devices of each, times accumulated steps)"
            raise SettingsError(f"A batch of {batch_size} cannot be divided into {shared}. Choose a multiple.")
        args.per_device_train_batch_size = batch_size // parts
    return args


def _class_weights(given: Literal["balanced"] | Sequence[float], train: Dataset) -> torch.Tensor:
    names = train.features["label"].names
    weights: Any = [] if isinstance(given, str) else list(given)
    if isinstance(given, str) and given == "balanced":
        counts = np.bincount(train["label"][:], minlength=len(names))
        # Of a label without texts, the weight does not matter.
        weights = len(train) / np.count_nonzero(counts) / np.maximum(counts, 1)
    tensor = torch.as_tensor(weights, dtype=torch.float32)
    if tensor.shape != (len(names),) or not (tensor.isfinite() & (tensor > 0)).all():
        expected = f"'balanced' or {len(names)} positive numbers, one for each of {', '.join(names)}"
        raise SettingsError(f"class_weights are {given!r}; expected {expected}.")
    return tensor


def _weighted_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None, *, weights: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of a batch, weighted in training; see `Trainer(compute_loss_func=)`."""
    logits = outputs["logits"].float()
    weight = weights.to(logits.device) if torch.is_grad_enabled() else None
    losses = cross_entropy(logits, labels, weight=weight, reduction="none")
    texts = labels.numel() if num_items_in_batch is None else num_items_in_batch
    return losses.sum() / torch.as_tensor(texts).sum()  # DataParallel gives the number once for each GPU
