"""Predictions for texts: logits and class probabilities."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from tqdm.auto import tqdm
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import NotATextError
from emotion_tutorial.extraction import require_smaller_batch
from emotion_tutorial.tokenization import context_size, warn_of_truncation

BATCH_SIZE = 64


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
        Of one fine-tuned checkpoint. The model computes where it is, in its own precision.

    Returns
    -------
    DataFrame
        A row a text, in the order given; a float64 column a label name, in label-id order. A row sums to 1:
        it is the softmax of the logits.

    Raises
    ------
    NotATextError
        If something is no string.
    OutOfMemoryError
        If the device has no memory for a single text. With too little for a batch, smaller ones are taken, and an
        `OutOfMemoryWarning` says so.
    """
    logits = predict_logits([texts] if isinstance(texts, str) else texts, model, tokenizer)
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return pd.DataFrame(shifted / shifted.sum(axis=1, keepdims=True), columns=label_names_of(model))


def predict_logits(
    texts: Sequence[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> npt.NDArray[np.float32]:
    """Return the logits, (texts, labels) float32, in the order of the texts; see `predict_proba`."""
    texts = list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise NotATextError(f"texts[{row}] is {text!r} ({type(text).__name__}), not a string. Leave it out.")
    logits = np.empty((len(texts), len(label_names_of(model))), dtype=np.float32)
    if not texts:
        return logits
    encoded = tokenizer(texts, truncation=True, max_length=context_size(tokenizer), return_token_type_ids=False)
    warn_of_truncation(texts, encoded["input_ids"], tokenizer, "the list", stacklevel=4)
    collate = DataCollatorWithPadding(tokenizer)
    order = np.argsort([-len(ids) for ids in encoded["input_ids"]], kind="stable")  # longest first
    batch_size = BATCH_SIZE
    was_training = model.training
    model.eval()  # without dropout
    with tqdm(total=len(texts), desc="predict", unit="text", delay=2) as progress, torch.inference_mode():
        while len(order):
            rows = order[:batch_size]
            batch = collate([{name: encoded[name][row] for name in encoded} for row in rows])
            try:
                batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
                # Not model(**batch): a Trainer that used bfloat16 leaves its autocast around that call, and a model
                # in memory would then not give what the same model gives once it is saved and loaded.
                output = type(model).forward(model, **batch)
                logits[rows] = output.logits.float().cpu().numpy()
            except RuntimeError as error:
                require_smaller_batch(len(rows), error)
                batch_size = len(rows) // 2
                continue
            order = order[batch_size:]
            progress.update(len(rows))
    model.train(was_training)
    return logits


def label_names_of(model: PreTrainedModel) -> list[str]:
    """Return the model's label names in id order."""
    names: dict[int, str] = dict(model.config.id2label)  # type: ignore[arg-type]
    return [names[i] for i in sorted(names)]
