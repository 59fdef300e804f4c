"""Where a classifier is wrong: the loss of each text, and the labels that it confuses."""

import pandas as pd
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import DataError
from emotion_tutorial.inference import predict_logits
from emotion_tutorial.models import label_names_of


def loss_frame(dataset: Dataset, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """Return the loss of each text: how surprised the model is by its label.

    Parameters
    ----------
    dataset
        A split with `text` and `label`, as of `load_splits`, whose labels are the model's.
    model, tokenizer
        Of one fine-tuned checkpoint.

    Returns
    -------
    DataFrame
        `text`, `label` and `predicted_label` (names), and `loss` (cross-entropy in nats: minus the
        logarithm of the label's probability). The index is the row in the split: it stays with the
        text when the frame is sorted.

    Raises
    ------
    DataError
        If the labels of the data and of the model are not the same.
    """
    names = dataset.features["label"].names
    if names != label_names_of(model.config):
        raise DataError(
            f"The data have the labels {', '.join(names)}, and the model {', '.join(label_names_of(model.config))}. "
            "Take the model that was trained on these labels, or load the data with its label_names=."
        )
    frame = dataset.select_columns(["text", "label"]).to_pandas()
    if (unknown := ~frame["label"].between(0, len(names) - 1)).any():
        row = int(unknown.idxmax())
        raise DataError(f"Row {row} has the label id {frame['label'][row]}, known are 0 to {len(names) - 1}.")
    logits = torch.from_numpy(predict_logits(frame["text"].tolist(), model, tokenizer))
    # In double precision: in single, a loss under 1e-7 would be rounded to 0.
    losses = cross_entropy(logits.double(), torch.tensor(frame["label"].tolist(), dtype=torch.long), reduction="none")
    return pd.DataFrame(
        {
            "text": frame["text"],
            "label": [names[label] for label in frame["label"]],
            "predicted_label": [names[label] for label in logits.argmax(dim=1).tolist()],
            "loss": losses.numpy(),
        },
        index=frame.index,
    )


def confused_pairs(losses: pd.DataFrame) -> pd.DataFrame:
    """Count which label was taken for which, with the text of each pair that has the median loss.

    Parameters
    ----------
    losses
        As of `loss_frame`.

    Returns
    -------
    DataFrame
        `label`, `predicted_label`, `texts` (how many), `share` (of all texts of the label) and
        `example`; the commonest pair first. The index is the example's row in the split.

    Raises
    ------
    DataError
        If a column of `loss_frame` is missing.
    """
    columns = ["text", "label", "predicted_label", "loss"]
    if missing := [column for column in columns if column not in losses.columns]:
        raise DataError(f"Missing column {', '.join(map(repr, missing))}; expected a frame of loss_frame.")
    totals = losses["label"].value_counts().to_dict()
    rows = []
    wrong = losses[losses["label"] != losses["predicted_label"]].sort_values("loss", kind="stable")
    for pair in wrong[["label", "predicted_label"]].drop_duplicates().itertuples(index=False):
        group = wrong[(wrong["label"] == pair[0]) & (wrong["predicted_label"] == pair[1])]
        middle = group.index[len(group) // 2]
        rows.append((middle, *pair, len(group), len(group) / totals[pair[0]], group.loc[middle, "text"]))
    pairs = pd.DataFrame(rows, columns=["row", "label", "predicted_label", "texts", "share", "example"])
    return pairs.set_index("row").rename_axis(None).sort_values("texts", ascending=False, kind="stable")
