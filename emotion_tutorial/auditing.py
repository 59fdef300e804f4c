"""Find what is wrong or odd in the data: copies, contradictions, leaks, empty and over-long texts, doubtful labels."""

import unicodedata
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import regex
from datasets import DatasetDict

from emotion_tutorial.exceptions import DataError, DataWarning
from emotion_tutorial.texts import require_labeled, require_number, shorten
from emotion_tutorial.words import word_spans

COLUMNS = ["finding", "split", "row", "text", "label", "other_split", "other_row", "other_label", "detail"]
KEPT = "LMNS"
"""Unicode categories that tell texts apart: letters, marks, digits; symbols too, as emoji are among them."""
INVISIBLE = regex.compile(r"[\p{Cf}\p{Default_Ignorable_Code_Point}]")
"""Characters that cannot be seen, such as a zero-width space, a byte order mark or a variation selector."""


def audit(splits: DatasetDict, *, max_words: int = 380, min_class_rows: int = 10) -> pd.DataFrame:
    """List what is wrong or odd in the data, for a person to decide on.

    Two texts are the same if they are equal exactly, or after normalization: Unicode NFKC, lower case, no invisible
    characters, and one space for everything that is not a letter, mark, digit or symbol. Emoji are symbols and count,
    but `:)` does not. A text that consists of punctuation is compared as it is.

    Every copy is compared with the first row that has the text, and gets one of the first four findings. It is a
    `leak` if that row is in an earlier split, even if its own split has the text twice. A duplicate costs little,
    while a leak makes scores too good; after `drop_leaks` an audit shows the duplicate.

    Parameters
    ----------
    splits
        Splits as `load_splits` returns them. Their order says which split is the earlier one.
    max_words
        The number of words above which a text is over-long. About 380 English words fill an encoder of 512 tokens.
        Words are counted as `emotion_tutorial.words.word_spans` finds them: between white space, or one for each
        character in scripts that have no spaces, such as Chinese. It names the scripts that are not supported.
    min_class_rows
        The number of texts below which a label in a split is a rare class.

    Returns
    -------
    DataFrame
        One row per finding about a text, in the order of the data, followed by the findings about labels. Columns are
        `finding` (see below), `split`, `row`, `text`, `label` (a name), `other_split`, `other_row`, `other_label` (all
        three of the first row that has the text) and `detail`. A value that does not apply is `<NA>` or an empty
        string. These are the findings:

        - `leak`: an earlier split has the text; `detail` says whether under the same label, and exactly this text
        - `conflicting label`: the first row is in the same split, under another label
        - `duplicate`, `near duplicate`: the first row is in the same split, under the same label; the text is exactly
          the same, or only after normalization
        - `empty`: nothing but white space and invisible characters; never one of the above
        - `over-long`: `detail` has the number of words
        - `similar label`: `label` looks like `other_label`, because they differ only in upper and lower case, in how
          Unicode writes them, in white space or in invisible characters; `detail` shows the difference
        - `rare class`: `label` is the class, and `detail` has the number of texts

    Raises
    ------
    DataError
        If a split does not have a `text` of strings and a `label` with names, or a label is missing or is not one of
        the names.
    SettingsError
        If `max_words` or `min_class_rows` is not a whole number.
    """
    require_number(0, max_words=max_words, min_class_rows=min_class_rows)
    rows = _stack(splits)
    empty = rows[rows["key"] == ""].assign(finding="empty")
    # A text has at least as many characters as words.
    words = rows["text"].map(lambda text: len(word_spans(text)) if len(text) > max_words else 0)
    long = rows.assign(finding="over-long", detail=words.astype(str) + " words")[words > max_words]
    found = pd.concat([_find_copies(rows), empty, long]).sort_index(kind="stable")
    parts = [found, _find_similar_labels(splits), _find_rare_classes(splits, rows, min_class_rows)]
    found = pd.concat(parts, ignore_index=True).reindex(columns=COLUMNS).astype({"row": "Int64", "other_row": "Int64"})
    return found.fillna(dict.fromkeys(("split", "text", "other_split", "other_label", "detail"), ""))


def drop_leaks(splits: DatasetDict) -> DatasetDict:
    """Remove the training rows whose text is also in another split; `audit` says which texts are the same.

    Only `train` changes, so that scores stay comparable: leaks between other splits stay.

    Parameters
    ----------
    splits
        Splits as `load_splits` returns them.

    Returns
    -------
    DatasetDict
        The argument itself if there are no leaks. Otherwise the splits with a smaller `train`, and a `DataWarning`
        says how many rows were left out, and how many of them because of each split.

    Raises
    ------
    DataError
        If there is no `train` or nothing would be left of it, and in the cases of `audit`.
    """
    rows = _stack(splits)
    if "train" not in splits:
        raise DataError(f"There is no split 'train', only {', '.join(map(repr, splits))}.")
    keys = {split: {*rows.loc[rows["split"] == split, "key"]} - {""} for split in splits}
    train = rows.loc[rows["split"] == "train", "key"]
    hits = pd.DataFrame({split: train.isin(keys[split]) for split in splits if split != "train"}, train.index)
    leaked = hits.any(axis=1).to_numpy(dtype=bool)
    if not leaked.any():
        return splits
    counts = ", ".join(f"{count} in {split!r}" for split, count in hits.sum().items())
    if leaked.all():
        raise DataError(f"All {len(train)} training texts stand in another split too ({counts}): none is left.")
    message = f"Left out {leaked.sum()} of {len(train)} training rows, whose text is also in another split: {counts}."
    warnings.warn(message, DataWarning, stacklevel=2)
    return DatasetDict({**splits, "train": splits["train"].select(np.flatnonzero(~leaked))})


def _stack(splits: DatasetDict) -> pd.DataFrame:
    if not isinstance(splits, Mapping) or not splits:
        raise DataError(f"splits= is {shorten(splits)}, not a data set for each split. Take it from load_splits().")
    frames = []
    for split, dataset in splits.items():
        names = dict(enumerate(require_labeled(dataset, f"Split {split!r}")))
        frame = dataset.select_columns(["text", "label"]).to_pandas()
        frames.append(frame.assign(split=split, row=range(len(frame)), label=frame["label"].map(names)))
    rows = pd.concat(frames, ignore_index=True).fillna({"text": ""})
    return rows.assign(key=_text_keys(rows["text"]))


def _fold(text: str) -> str:
    # Lower case may take characters apart again, hence the second NFKC.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _text_keys(texts: Iterable[str]) -> list[str]:
    alike = [_fold(INVISIBLE.sub("", text)) for text in texts]
    kept = {ord(c): c if unicodedata.category(c)[0] in KEPT else " " for c in set("".join(alike))}
    return [" ".join(text.translate(kept).split()) or text.strip() for text in alike]


def _find_copies(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows[rows["key"] != ""]
    first = rows.groupby("key")[["split", "row", "label", "text"]].transform("first")
    same = rows[first.columns] == first
    labels, texts = np.where(same["label"], "same", "other"), np.where(same["text"], "exact", "normalized")
    kinds = {"leak": ~same["split"], "conflicting label": ~same["label"], "duplicate": same["text"]}
    found = rows.join(first[["split", "row", "label"]].add_prefix("other_")).assign(
        finding=np.select([*kinds.values()], [*kinds], "near duplicate"),
        detail=[f"{label} label, {text} text" for label, text in zip(labels, texts, strict=True)],
    )
    return found[~(same["split"] & same["row"])]


def _find_similar_labels(splits: DatasetDict) -> pd.DataFrame:
    names = dict.fromkeys(name for dataset in splits.values() for name in dataset.features["label"].names)
    first: dict[str, str] = {}
    others = [first.setdefault(" ".join(_fold(INVISIBLE.sub("", name)).split()), name) for name in names]
    similar = [(one, other, f"{one!a}, {other!a}") for one, other in zip(names, others, strict=True) if one != other]
    return pd.DataFrame(similar, columns=["label", "other_label", "detail"]).assign(finding="similar label")


def _find_rare_classes(splits: DatasetDict, rows: pd.DataFrame, minimum: int) -> pd.DataFrame:
    counts = rows.groupby(["split", "label"]).size().to_dict()
    classes = [(split, name) for split, dataset in splits.items() for name in dataset.features["label"].names]
    rare = [(*key, f"{counts.get(key, 0)} texts") for key in classes if counts.get(key, 0) < minimum]
    return pd.DataFrame(rare, columns=["split", "label", "detail"]).assign(finding="rare class")
