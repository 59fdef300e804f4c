"""The bundled corpus is what its script writes, and what its data card says."""

import sys
from pathlib import Path

import pandas as pd
import pytest

import emotion_tutorial as et
from emotion_tutorial.corpus import CORPUS_FOLDER

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from build_corpus import main

KINDS = {"explicit": 0.45, "situation": 0.30, "contrast": 0.15, "irony": 0.10}


@pytest.fixture(scope="module")
def splits() -> dict[str, pd.DataFrame]:
    return {split: pd.read_parquet(CORPUS_FOLDER / f"{split}.parquet") for split in ("train", "validation", "test")}


def test_script_writes_the_same_rows(splits, tmp_path):
    main(tmp_path)
    for name in (*splits, "notes"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(tmp_path / f"{name}.parquet"), pd.read_parquet(CORPUS_FOLDER / f"{name}.parquet")
        )


def test_splits_have_the_same_shares_of_labels_and_kinds(splits):
    assert [len(frame) for frame in splits.values()] == [4000, 1000, 1000]
    notes = et.load_corpus_notes()
    groups = pd.crosstab([notes["true_label"], notes["kind"]], notes["split"])
    for split, share in {"train": 4 / 6, "validation": 1 / 6, "test": 1 / 6}.items():
        assert ((groups[split] - share * groups.sum(axis=1)).abs() <= 2).all()
    for kind, share in KINDS.items():
        assert (notes["kind"] == kind).mean() == pytest.approx(share, abs=0.01)


def test_texts_are_distinct_and_none_is_empty_or_long(splits):
    texts = pd.concat(splits.values())["text"]
    assert not texts.str.casefold().duplicated().any()
    assert texts.str.split().str.len().between(2, 60).all()
    assert et.audit(et.load_splits("embedded"))["finding"].isin(["rare class"]).sum() == 0


def test_notes_tell_which_labels_are_wrong_on_purpose(splits):
    notes = et.load_corpus_notes()
    assert notes.groupby("split")["planted"].sum().to_dict() == {"train": 200, "validation": 50, "test": 0}
    planted = splits["train"]["label"].iloc[notes.query("split == 'train' and planted")["row"]]
    assert planted.value_counts(normalize=True).between(0.05, 0.35).all()  # spread over all labels
    assert planted.nunique() == 6
    for split, frame in splits.items():
        of_split = notes[notes["split"] == split]
        assert of_split["row"].tolist() == list(range(len(frame)))
        wrong = frame["label"].to_numpy() != of_split["true_label"].to_numpy()
        assert (wrong == of_split["planted"].to_numpy()).all()
