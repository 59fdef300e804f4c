"""What is wrong or odd in the data: copies, contradictions, leaks, empty and over-long texts, rare classes."""

import unicodedata
import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Value

from emotion_tutorial.exceptions import DataError, DataWarning

COLUMNS = ["finding", "split", "row", "text", "label", "other_split", "other_row", "other_label", "detail"]
KEPT = "LMNS"
"""Unicode categories that tell texts apart: letters, marks, digits; symbols too, as emoji are of them."""


def audit(splits: DatasetDict, *, max_words: int = 380, min_class_rows: int = 10) -> pd.DataFrame:
    """List what is wrong or odd in the data, for a person to decide on.

    Texts are the same if they are equal exactly, or after normalization: Unicode NFKC, lower case, and one space for
    all that is no letter, mark, digit or symbol. Emoji are symbols and count, but `:)` does not. A text of punctuation
    only is compared as it is.

    Every copy is compared with the first row that has the text, and gets one of the first four findings: `leak` if
    that row is in an earlier split, even if its own split has the text twice. A duplicate costs little, a leak makes
    scores too good; after `drop_leaks` an audit shows the duplicate.

    Parameters
    ----------
    splits
        As `load_splits` returns them. Their order says which split is the earlier one.
    max_words
        Texts of more words are over-long. About 380 English words fill an encoder of 512 tokens. Words are what stands
        between white space: in scripts without it this finds nothing.
    min_class_rows
        A label with fewer texts in a split is a rare class.

    Returns
    -------
    DataFrame
        A row per finding, in the order of the data, rare classes last. Columns `finding` (below), `split`, `row`,
        `text`, `label` (a name), `other_split`, `other_row`, `other_label` (of the first row that has the text),
        `detail`. What does not apply is `<NA>` or an empty string.

        - `leak`: an earlier split has the text; `detail`: under the same label? exactly that text?
        - `conflicting label`: the first row is in the same split, under another label
        - `duplicate`, `near duplicate`: the first row is in the same split, under the same label; the text is exactly
          that, or only after normalization
        - `empty`: white space at most; never one of the above
        - `over-long`; `detail` has the number of words
        - `rare class`; `label` is the class, `detail` has the number of texts

    Raises
    ------
    DataError
        If a split lacks a `text` of strings or a `label` with names, or a label is missing or not
        one of the names.
    """
    rows = _stack(splits)
    empty = rows[rows["key"] == ""].assign(finding="empty")
    words = pd.Series([len(text.split()) for text in rows["text"]], index=rows.index)
    long = rows.assign(finding="over-long", detail=words.astype(str) + " words")[words > max_words]
    found = pd.concat([_find_copies(rows), empty, long]).sort_index(kind="stable")
    found = pd.concat([found, _find_rare_classes(splits, rows, min_class_rows)], ignore_index=True)
    found = found.reindex(columns=COLUMNS).fillna(dict.fromkeys(("text", "other_split", "other_label", "detail"), ""))
    return found.astype({"row": "Int64", "other_row": "Int64"})


def drop_leaks(splits: DatasetDict) -> DatasetDict:
    """Remove the training rows whose text is also in another split; `audit` says which texts are the same.

    Only `train` changes, so that scores stay comparable: leaks between other splits stay.

    Parameters
    ----------
    splits
        As `load_splits` returns them.

    Returns
    -------
    DatasetDict
        Without leaks, `splits` itself. Otherwise with a smaller `train`, and a `DataWarning` says how many rows were
        left out, and how many of them because of each split.

    Raises
    ------
    DataError
        If there is no `train`, or nothing would be left of it, and as `audit` does.
    """
    if "train" not in splits:
        raise DataError(f"There is no split 'train', only {', '.join(map(repr, splits)) or 'nothing'}.")
    rows = _stack(splits)
    keys = {split: rows.loc[rows["split"] == split, "key"] for split in splits}
    train = keys.pop("train")
    hits = {split: train.isin(held_out) & (train != "") for split, held_out in keys.items()}
    leaked = pd.DataFrame(hits, index=train.index).any(axis=1).to_numpy(dtype=bool)
    if not leaked.any():
        return splits
    counts = ", ".join(f"{hit.sum()} in {split!r}" for split, hit in hits.items())
    if leaked.all():
        raise DataError(f"All {len(train)} training texts stand in another split too ({counts}): none is left.")
    message = f"Left out {leaked.sum()} of {len(train)} training rows, whose text is also in another split: {counts}."
    warnings.warn(message, DataWarning, stacklevel=2)
    return DatasetDict({**splits, "train": splits["train"].select(np.flatnonzero(~leaked))})


def _stack(splits: DatasetDict) -> pd.DataFrame:
    rows = pd.concat([_read(split, dataset) for split, dataset in splits.items()], ignore_index=True)
    return rows.assign(key=_text_keys(rows["text"]))


def _read(split: str, dataset: Dataset) -> pd.DataFrame:
    text, label = map(dataset.features.get, ("text", "label"))
    if text not in (Value("string"), Value("large_string")) or not isinstance(label, ClassLabel):
        needed = "needs a column 'text' of strings, and a ClassLabel 'label'"
        raise DataError(f"Split {split!r} {needed}; it has {dict(dataset.features)}. Load it with load_splits().")
    frame = dataset.select_columns(["text", "label"]).to_pandas()
    labels = frame["label"].map(dict(enumerate(label.names)))
    if labels.isna().any():
        row = int(np.argmax(labels.isna()))
        known = f"0 to {label.num_classes - 1}"
        raise DataError(f"Split {split!r}, row {row}: the label is {frame['label'][row]}, not {known}. Leave it out.")
    return pd.DataFrame({"split": split, "row": range(len(frame)), "text": frame["text"].fillna(""), "label": labels})


def _text_keys(texts: Iterable[str]) -> list[str]:
    # Lower case may take characters apart again, hence the second NFKC.
    alike = [unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()) for text in texts]
    kept = {ord(c): c if unicodedata.category(c)[0] in KEPT else " " for c in set("".join(alike))}
    return [" ".join(words.translate(kept).split()) or text.strip() for words, text in zip(alike, texts, strict=True)]


def _find_copies(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows[rows["key"] != ""]
    codes = pd.factorize(rows["key"])[0]
    first = np.unique(codes, return_index=True)[1][codes]
    copy = first != np.arange(len(rows))
    copies, others = rows[copy], rows.iloc[first[copy]].set_axis(rows.index[copy])
    same_split, same_label, same_text = (copies[column] == others[column] for column in ("split", "label", "text"))
    kinds = ["leak", "conflicting label", "duplicate"]
    labels, texts = np.where(same_label, "same", "other"), np.where(same_text, "exact", "normalized")
    return copies.join(others[["split", "row", "label"]].add_prefix("other_")).assign(
        finding=np.select([~same_split, ~same_label, same_text], kinds, "near duplicate"),
        detail=[f"{label} label, {text} text" for label, text in zip(labels, texts, strict=True)],
    )


def _find_rare_classes(splits: DatasetDict, rows: pd.DataFrame, minimum: int) -> pd.DataFrame:
    counts = rows.groupby(["split", "label"]).size().to_dict()
    classes = [(split, name) for split, dataset in splits.items() for name in dataset.features["label"].names]
    rare = [(*key, f"{counts.get(key, 0)} texts") for key in classes if counts.get(key, 0) < minimum]
    return pd.DataFrame(rare, columns=["split", "label", "detail"]).assign(finding="rare class")
