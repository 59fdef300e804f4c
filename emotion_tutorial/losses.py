"""Where a classifier is wrong: the loss of each text."""

import pandas as pd
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import DataError
from emotion_tutorial.inference import predict_logits
from emotion_tutorial.models import label_names_of
from emotion_tutorial.texts import as_texts, require_labeled


def loss_frame(
    dataset: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the loss of each text: how surprised the model is by its label.

    Parameters
    ----------
    dataset
        A split with `text` and `label`, as `load_splits` returns it, whose labels are the model's.
    model, tokenizer, batch_size, progress
        As in `predict_proba`.

    Returns
    -------
    DataFrame
        `text`, `label` and `predicted_label` (names), and `loss` (cross-entropy in nats: minus the
        logarithm of the label's probability). The index is the row in the split: it stays with the
        text when the frame is sorted.

    Raises
    ------
    DataError
        If a text or a label is missing, or the labels of the data and of the model are not the same.
    CheckpointError
        As in `predict_proba`.
    """
    names = require_labeled(dataset, "dataset=")
    if names != (own := label_names_of(getattr(model, "config", None))):
        found = f"the labels {', '.join(names)}, and the model {', '.join(own)}"
        raise DataError(f"The data have {found}. Take the model of these labels, or its label_names= for the data.")
    columns = dataset.with_format(None).select_columns(["text", "label"])[:]
    texts, labels = as_texts(columns["text"], "dataset['text']")[0], torch.tensor(columns["label"], dtype=torch.long)
    logits = torch.from_numpy(predict_logits(texts, model, tokenizer, batch_size, progress))
    # In double precision: in single, a loss under 1e-7 would be rounded to 0.
    losses = cross_entropy(logits.double(), labels, reduction="none")
    frame = pd.DataFrame({"text": texts, "label": [names[label] for label in labels]})
    return frame.assign(predicted_label=[names[label] for label in logits.argmax(dim=1)], loss=losses.numpy())
