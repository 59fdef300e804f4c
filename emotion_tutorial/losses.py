"""Where a classifier is wrong: the loss of each text."""

import pandas as pd
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.inference import labeled_texts, predict_logits
from emotion_tutorial.models import label_names_of


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
    texts, ids = labeled_texts(dataset, "dataset=", model)
    names = label_names_of(model.config)
    logits = torch.from_numpy(predict_logits(texts, model, tokenizer, batch_size, progress))
    # In double precision: in single, a loss under 1e-7 would be rounded to 0.
    losses = cross_entropy(logits.double(), torch.from_numpy(ids), reduction="none")
    frame = pd.DataFrame({"text": texts, "label": [names[label] for label in ids]})
    return frame.assign(predicted_label=[names[label] for label in logits.argmax(dim=1)], loss=losses.numpy())
