"""Fine-tuning: a Trainer, set up well."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from datasets import Dataset, DatasetDict
from filelock import FileLock, Timeout
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_utils import PredictionOutput, TrainOutput

from emotion_tutorial.evaluation import compute_metrics
from emotion_tutorial.exceptions import DataError, SettingsError, TrainingWarning, translate_os_errors
from emotion_tutorial.inference import require_labels_of
from emotion_tutorial.models import load_classifier, load_tokenizer, one_at_a_time
from emotion_tutorial.replacing import unused
from emotion_tutorial.texts import require_labeled, shorten
from emotion_tutorial.tokenization import tokenize
from emotion_tutorial.training_settings import ClassWeights, explain_refusal, training_arguments, weights_by_id

LOCK = ".training.lock"
"""In `output_dir`: held by the training that writes its checkpoints there. It is free if a process is killed."""


class ClassifierTrainer(Trainer):
    """A Trainer that predicts, row by row, what the model that it saves will predict, and saves only finite weights.

    With `train_sampling_strategy="group_by_length"`, transformers 5.23 also groups what it predicts, so that
    predictions would not line up with the texts. With `bf16=True`, accelerate 1.15 leaves bfloat16 wrapped around the
    model's `forward`. It is taken off to evaluate and predict, so that an accuracy measured during a training is also
    that of the model which comes out of it. A training that diverges ends with a `SettingsError` before the model is
    measured, saved or returned.
    """

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as `Trainer` does, one training at a time; afterward the model computes in its own precision.

        Checkpoints that another training left in `output_dir` are renamed, so that none of them is replaced. If one is
        still running there, this is a `SettingsError`. What is trained again is no longer calibrated.
        """
        folder = Path(str(self.args.output_dir))
        with one_at_a_time, translate_os_errors(folder), self._lock(folder):
            vars(self.model.config).pop("calibration_temperature", None)  # type: ignore[union-attr]
            if not resume_from_checkpoint:
                set_seed(self.args.seed)
                for path in [*folder.glob("checkpoint-*")] if self.is_world_process_zero() else []:
                    aside = path.rename(unused(folder, f"earlier-{{}}-{path.name}"))
                    found = f"{path} is of an earlier training, and is now called {aside.name}"
                    warnings.warn(f"{found}. Delete it if nobody needs it.", TrainingWarning, stacklevel=2)
            output = super().train(resume_from_checkpoint, *args, **kwargs)
        self._require_finite(self.model.parameters())  # type: ignore[union-attr]
        extract_model_from_parallel(self.model, keep_fp32_wrapper=False)
        return output

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Train on a batch as `Trainer` does, if its loss is finite."""
        loss = super().training_step(*args, **kwargs)
        self._require_finite([loss])
        return loss

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """Save the model as `Trainer` does, if the weights are finite."""
        self._require_finite(self.model.parameters())  # type: ignore[union-attr]
        super().save_model(*args, **kwargs)

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Predict as `Trainer` does, in the order of the rows; a `DataError` refuses a split that does not fit."""
        self._require_fitting(test_dataset)
        strategy, self.args.train_sampling_strategy = self.args.train_sampling_strategy, "sequential"
        try:
            return super().predict(test_dataset, *args, **kwargs)
        finally:
            self.args.train_sampling_strategy = strategy

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return the batches to evaluate, as `Trainer` does; a `DataError` refuses a split that does not fit."""
        self._require_fitting(eval_dataset)
        return super().get_eval_dataloader(eval_dataset)

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """Predict a batch as `Trainer` does, but in the model's own precision, and if the loss is finite."""
        before = dict(vars(self.model))
        extract_model_from_parallel(self.model, keep_fp32_wrapper=False)
        try:
            loss, logits, labels = super().prediction_step(*args, **kwargs)
        finally:
            if self.is_in_train:  # which goes on in bfloat16
                vars(self.model).update(before)
        self._require_finite([] if loss is None else [loss])
        return loss, logits, labels

    def _lock(self, folder: Path) -> AbstractContextManager[Any]:
        try:
            return FileLock(folder / LOCK).acquire(timeout=0) if self.is_world_process_zero() else nullcontext()
        except Timeout:
            raise SettingsError(f"Another training writes into {folder}. Choose another output_dir=.") from None

    def _require_fitting(self, dataset: Any) -> None:
        columns = dataset.features if isinstance(dataset, Dataset) else {}
        if isinstance(dataset, Mapping) or (columns and "input_ids" not in columns):
            raise DataError(f"Expected one split that tokenize returned, and got {shorten(dataset, 200)}. Give one.")
        if names := getattr(columns.get("label"), "names", None):
            require_labels_of(self.model, names)
        if "label" in columns and {None, -1} & {*dataset.with_format(None)["label"][:]}:
            raise DataError("The labels are hidden (missing, or -1). To predict, use split.remove_columns('label').")

    def _require_finite(self, losses_or_weights: Iterable[torch.Tensor]) -> None:
        if not all(tensor.isfinite().all() for tensor in losses_or_weights):
            found = f"The training diverged: a loss or weight is not finite after step {self.state.global_step}"
            advice = "Lower the learning rate, or leave out fp16=True. Checkpoints from before are kept"
            raise SettingsError(f"{found}, with a learning rate of up to {self.args.learning_rate:g}. {advice}.")


def build_trainer(
    splits: DatasetDict,
    checkpoint: str | Path,
    *,
    output_dir: str | Path,
    learning_rate: float,
    epochs: float,
    batch_size: int,
    seed: int = 0,
    class_weights: ClassWeights | None = None,
    new_head: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    **settings: Any,
) -> ClassifierTrainer:
    """Set up fine-tuning: train, evaluate after each epoch, keep the best epoch's weights. Call its `train()`.

    Parameters
    ----------
    splits
        `train` and `validation`. If they are tokenized, they are tokenized again, for this checkpoint.
    checkpoint, new_head
        For `load_classifier`. The body is fine-tuned together with the head.
    output_dir
        For the training checkpoints of the last and the best epoch.
    learning_rate, epochs, batch_size
        The peak rate, passes over the training texts, and texts per optimizer step: of all processes, devices and
        accumulated batches together.
    seed
        For the head, dropout and the order of batches. On a CPU, two runs on one machine are equal to the last digit.
    class_weights
        How much an error on a text of each label counts in the training loss: in id order, or as a mapping from label
        names or ids. With `balanced`, each label contributes equally to the loss, however rare it is in `train`. The
        validation loss stays unweighted. A `label_smoothing_factor` acts beside them.
    callbacks
        For `transformers.Trainer`.
    **settings
        Anything that `transformers.TrainingArguments` takes; it replaces what is set here. Defaults that contradict it
        yield: with `eval_strategy="no"`, for example, the last weights are kept and not the best, and with `save_steps`
        checkpoints are saved, and measured, after so many steps.

    Raises
    ------
    DataError
        If `train` or `validation` is missing, has no texts or has no label names; if the two number their labels
        differently; or if `train` has fewer than two labels.
    SettingsError
        If settings are impossible or contradict each other, need what is not installed, or the batch cannot be divided
        among devices. `train()` raises it if the training diverges, or if another one writes into `output_dir`.
    CheckpointError
        As `load_classifier` does.
    """
    names, parts = training_splits(splits)
    settings |= {"learning_rate": learning_rate, "epochs": epochs, "batch_size": batch_size, "seed": seed}
    args = training_arguments(output_dir=output_dir, **settings)
    loss = None
    if class_weights is not None:
        loss = _weighted_loss(weights_by_id(class_weights, names, parts["train"]["label"][:]), args)
    tokenizer = load_tokenizer(checkpoint)
    parts = tokenize(parts, tokenizer)
    with one_at_a_time:  # a Trainer, too, sets the seed when it is made
        set_seed(args.seed)  # before the head is drawn
        model = load_classifier(checkpoint, names, "cpu", new_head=new_head)
        model.config.pad_token_id = tokenizer.pad_token_id  # as train() would set it
        data: dict[str, Any] = {"train_dataset": parts["train"], "eval_dataset": parts["validation"]}
        how: dict[str, Any] = {"compute_metrics": compute_metrics, "compute_loss_func": loss, "callbacks": [*callbacks]}
        with explain_refusal():  # such as of report_to=, if that is not installed
            trainer = ClassifierTrainer(model=model, args=args, processing_class=tokenizer, **data, **how)
            trainer.get_optimizer_cls_and_kwargs(args, model)
            trainer.create_scheduler(100, torch.optim.SGD(model.parameters()))  # train() will make another
    # transformers 5.23 takes a classifier's mean loss of a batch for one of all that is accumulated or that all
    # processes have, and takes steps that are larger by as much.
    trainer.model_accepts_loss_kwargs = False
    return trainer


def training_splits(splits: Any) -> tuple[list[str], DatasetDict]:
    """Return the label names, and `train` and `validation` with their texts and labels only.

    Raises
    ------
    DataError
        As `build_trainer` does.
    """
    names, parts = {}, DatasetDict()
    for split in ("train", "validation"):
        if not isinstance(splits, Mapping) or split not in splits:
            found = f"A training needs the splits 'train' and 'validation', and got {shorten(splits, 200)}"
            raise DataError(f"{found}. Load them with load_splits.")
        names[split] = require_labeled(splits[split], f"Split {split!r}")
        parts[split] = splits[split].with_format(None).select_columns(["text", "label"])
    if names["train"] != names["validation"]:
        found = f"{', '.join(names['train'])}, and those of 'validation' {', '.join(names['validation'])}"
        raise DataError(f"The labels of 'train' are {found}, in id order. Load both together with load_splits.")
    if not len(parts["validation"]) or len(labels := {*parts["train"]["label"][:]}) < 2:
        found = f"{len(labels)} label" if len(parts["validation"]) else "no texts to validate with"
        raise DataError(
            f"The splits have {found}. A training needs texts of two labels or more, and others to validate."
        )
    return names["train"], parts


def _weighted_loss(weights: list[float], args: TrainingArguments) -> Callable[..., torch.Tensor]:
    """Return a `compute_loss_func` for `Trainer`: the cross-entropy of a batch, weighted in training."""

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs["logits"].float()
        weight = torch.tensor(weights, device=logits.device) if torch.is_grad_enabled() else None
        options: dict[str, Any] = {"label_smoothing": args.label_smoothing_factor, "reduction": "sum"}
        texts = labels.numel() if num_items_in_batch is None else num_items_in_batch
        # DataParallel gives the number once for each GPU.
        return cross_entropy(logits, labels, weight=weight, **options) / torch.as_tensor(texts).sum()

    return loss
