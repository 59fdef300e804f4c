"""A model and many texts: batches, logits, class probabilities."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import softmax
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.models import label_names_of
from emotion_tutorial.tokenization import encode, warn_of_truncation

TOKEN_BUDGET = {"cpu": 2048, "accelerator": 65536}
"""Tokens in a batch, padding included."""


def predict_proba(
    texts: str | Sequence[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> pd.DataFrame:
    """Return how probable the model finds each label for each text.

    Parameters
    ----------
    texts
        One text, or any number of them. An empty text is a text without words. One that is longer
        than the model's context is cut there, and a `DataWarning` says so.
    model, tokenizer
        Of one fine-tuned checkpoint. The model computes where it is, in its own precision, without dropout.

    Returns
    -------
    DataFrame
        One row per text, in the order given; one float64 column per label name, in label-id order. A row sums to 1:
        it is the softmax of the logits.

    Raises
    ------
    DataError
        If something is not a string.
    """
    logits = predict_logits([texts] if isinstance(texts, str) else texts, model, tokenizer)
    return pd.DataFrame(softmax(logits.astype(np.float64), axis=1), columns=label_names_of(model.config))


def predict_logits(
    texts: Sequence[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> npt.NDArray[np.float32]:
    """Return the logits, (texts, labels) float32, in the order of the texts; see `predict_proba`."""
    texts = list(texts)
    ids = encode(texts, tokenizer)
    warn_of_truncation(texts, ids, tokenizer, "the list", stacklevel=4)
    logits = np.empty((len(texts), len(label_names_of(model.config))), dtype=np.float32)
    for rows, output, _ in forward_in_batches(model, ids, tokenizer, "predict"):
        logits[rows] = output.logits.float().cpu().numpy()
    return logits


def forward_in_batches(
    model: PreTrainedModel, input_ids: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, description: str
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
        For its padding token.
    description
        For the progress bar.

    Yields
    ------
    tuple
        The rows of the batch, (batch,) int; the model's output; the attention mask, (batch, tokens) int.
    """
    lengths = np.array([len(ids) for ids in input_ids])
    order = np.argsort(-lengths, kind="stable")
    budget = TOKEN_BUDGET["cpu" if model.device.type == "cpu" else "accelerator"]
    was_training = model.training
    model.eval()
    try:
        with tqdm(total=len(order), desc=description, unit="text", delay=2) as progress:
            while len(order):
                rows, order = np.split(order, [max(1, budget // lengths[order[0]])])
                ids = {"input_ids": [list(input_ids[row]) for row in rows]}
                batch = tokenizer.pad(ids, padding_side="right", return_tensors="pt").to(model.device)
                with torch.inference_mode():
                    output = model(**batch)
                yield rows, output, batch["attention_mask"]
                progress.update(len(rows))
    finally:
        model.train(was_training)
