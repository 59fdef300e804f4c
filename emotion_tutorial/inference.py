"""A model and many texts: batches, logits, class probabilities."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from datasets import Dataset
from scipy.special import softmax
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import CheckpointError, DataError, TutorialError
from emotion_tutorial.models import DIVERGED, READS_ALIKE, label_names_of, positions_of, refuse_what_padding_changes
from emotion_tutorial.texts import Texts, as_texts, require_labeled, require_number
from emotion_tutorial.tokenization import UNLIMITED, context_size, encode, warn_of_truncation

TOKEN_BUDGET = {"cpu": 2048, "accelerator": 65536}
"""Tokens in a batch, padding included."""
_one_at_a_time = threading.RLock()
"""Who computes holds it: meanwhile a model is not in the mode that its owner has put it into."""


def predict_proba(
    texts: Texts,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Return how probable the model finds each label for each text.

    Parameters
    ----------
    texts
        One text, or any number of them in one column. An empty text is a text without words. One that is longer
        than the model's context is cut there, and a `DataWarning` says so.
    model, tokenizer
        Of one fine-tuned checkpoint. The model computes where it is, in its own precision, without dropout. Threads
        may share both.
    batch_size
        Texts in a batch. None means as many as fit into a fixed number of tokens, which is faster.
    progress
        Whether a progress bar is shown when it takes longer than two seconds.

    Returns
    -------
    DataFrame
        One row per text, in the order given and with the index of a Series; one float64 column per label name, in
        label-id order. A row sums to 1: it is the softmax of the logits.

    Raises
    ------
    DataError
        If the texts are not one column of strings.
    CheckpointError
        If the model does not choose one of several labels, does not fit the tokenizer, fails, or gives values that
        are not finite.
    SettingsError
        If something is no model, no tokenizer or no batch size.
    """
    strings, index = as_texts(texts)
    logits = predict_logits(strings, model, tokenizer, batch_size, progress)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    return pd.DataFrame(probabilities, index=index, columns=label_names_of(model.config))


def predict_logits(
    texts: Sequence[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *options: Any
) -> npt.NDArray[np.float32]:
    """Return the logits, (texts, labels) float32, in the order of the texts, which are strings.

    The options are those of `forward_in_batches`; otherwise see `predict_proba`.
    """
    limit = context_size(tokenizer, model)
    labels = len(label_names_of(model.config))
    ids, cut = encode(texts, tokenizer, limit)
    warn_of_truncation(cut, limit, "the list", stacklevel=4)
    logits = np.empty((len(texts), labels), dtype=np.float32)
    for rows, output, _ in forward_in_batches(model, ids, tokenizer, "texts", *options):
        found = getattr(output, "logits", torch.empty(0))
        if found.shape != (len(rows), labels):
            raise CheckpointError(f"The model gives no logits for {labels} labels. Load it with load_classifier.")
        logits[rows] = found.float().cpu().numpy()
    require_finite(logits, "texts")
    return logits


def labeled_texts(dataset: Dataset, where: str, model: PreTrainedModel) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the texts of a split, and their ids.

    Raises
    ------
    DataError
        If a text or a label is missing, or the labels of the data and of the model are not the same.
    CheckpointError
        If the model does not choose one of several labels.
    """
    require_labels_of(model, require_labeled(dataset, where))
    columns = dataset.with_format(None).select_columns(["text", "label"])[:]
    texts, _ = as_texts(columns["text"], f"{where.strip('=')}['text']")
    return texts, np.array(columns["label"], dtype=np.int64)


def require_labels_of(model: Any, names: list[str]) -> None:
    """Raise a DataError if data have other label names than a model, or the same in another order."""
    if names != (own := label_names_of(getattr(model, "config", None))):
        found = f"The data have the labels {', '.join(names)}, and the model {', '.join(own)}"
        raise DataError(f"{found}. Take the model of these labels, or its label_names= for the data.")


def require_finite(values: npt.NDArray[np.floating], where: str) -> None:
    """Refuse what a model gives, one row per text, if it is not all finite."""
    if not (finite := np.isfinite(values).all(axis=1)).all():
        raise CheckpointError(f"What the model gives for {where}[{finite.argmin()}] is {DIVERGED}")


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Have a model compute without dropout, leave each of its modules in the mode it was in, and say why it fails.

    Raises
    ------
    CheckpointError
        If the model fails; that memory runs out remains the error that it is.
    """
    with _one_at_a_time:
        training = [module for module in model.modules() if module.training]
        try:
            model.eval()
            yield
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, TutorialError | torch.OutOfMemoryError) or "memory" in str(error):
                raise
            said = str(error).partition("\n")[0][:200].rstrip(".")
            advice = "Load it with load_classifier or load_encoder, or choose another model."
            raise CheckpointError(f"{type(model).__name__} cannot compute this: {said}. {advice}") from error
        finally:
            for module in training:
                module.training = True


def pad_id_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Return the id that fills up a model's batches: that of its configuration, or else the tokenizer's.

    Some models find the end of a text, or count positions, by the padding that their configuration names.
    """
    named = model.config.pad_token_id
    known = len(torch.as_tensor(model.get_input_embeddings().weight))
    return named if named is not None and 0 <= named < known else tokenizer.pad_token_id


def forward_in_batches(
    model: PreTrainedModel,
    input_ids: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerBase,
    where: str,
    batch_size: int | None = None,
    progress: bool = True,
) -> Iterator[tuple[npt.NDArray[np.intp], Any, torch.Tensor]]:
    """Run a model over texts in batches of similar length, without dropout and without gradients.

    The longest texts come first, so that a batch that is too large for the memory fails at once, and each batch is
    padded to its own longest text. With its padding it has at most `TOKEN_BUDGET` tokens, or one text.

    Parameters
    ----------
    model
        It computes where it is, and is left in the mode (training or evaluation) in which it was.
    input_ids
        Token ids of each text, at least one.
    tokenizer
        For its padding token, if the model's configuration names none.
    where
        What the texts are called in messages.
    batch_size, progress
        As in `predict_proba`.

    Yields
    ------
    tuple
        The rows of the batch, (batch,) int; the model's output; the attention mask, (batch, tokens) int.

    Raises
    ------
    CheckpointError
        If the ids are not the model's, and as in `evaluating`.
    SettingsError
        If there is no such batch size.
    """
    if batch_size is not None:
        require_number(1, batch_size=batch_size)
    lengths = np.array([len(ids) for ids in input_ids], dtype=np.intp)
    order = np.argsort(-lengths, kind="stable")
    budget = TOKEN_BUDGET["cpu" if model.device.type == "cpu" else "accelerator"]
    with evaluating(model):
        if model not in READS_ALIKE:
            refuse_what_padding_changes("The model", model, tolerance=0.05)
        known, positions = len(torch.as_tensor(model.get_input_embeddings().weight)), positions_of(model)
        pad = pad_id_of(model, tokenizer)
        for row, ids in enumerate(input_ids):
            if len(ids) > positions or not 0 <= min(ids) <= max(*ids, pad) < known:
                found = f"{where}[{row}] has {len(ids)} tokens, with padding up to id {max(*ids, pad)}"
                advice = "Use its own tokenizer; for added tokens call model.resize_token_embeddings(len(tokenizer))."
                can = f"the model reads {min(positions, UNLIMITED)}, and knows {known}"
                raise CheckpointError(f"{found}; {can}. {advice}")
    with tqdm(total=len(order), unit="text", delay=2, disable=not progress) as bar:
        while len(order):
            rows, order = np.split(order, [batch_size or max(1, budget // lengths[order[0]])])
            batch = pad_sequence([torch.tensor(input_ids[row]) for row in rows], batch_first=True, padding_value=pad)
            mask = (torch.arange(batch.shape[1]) < torch.tensor(lengths[rows])[:, None]).long().to(model.device)
            with evaluating(model), torch.inference_mode():
                output = model(input_ids=batch.to(model.device), attention_mask=mask)
            yield rows, output, mask  # while nothing is held: who takes it may fail
            bar.update(len(rows))
