"""The bundled corpus is what its script writes, and what its data card says."""

import sys
from pathlib import Path

import pandas as pd
import pytest

import emotion_tutorial as et
from emotion_tutorial.corpus import CORPUS_FOLDER, EMOTIONS

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from build_corpus import main
from measure_corpus import count_last_feelings

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
    assert notes.groupby("split")["planted"].sum().to_dict() == {"train": 200, "validation": 0, "test": 0}
    planted = splits["train"]["label"].iloc[notes.query("split == 'train' and planted")["row"]]
    assert planted.value_counts(normalize=True).between(0.05, 0.35).all()  # spread over all labels
    assert planted.nunique() == 6
    for split, frame in splits.items():
        of_split = notes[notes["split"] == split]
        assert of_split["row"].tolist() == list(range(len(frame)))
        wrong = frame["label"].to_numpy() != of_split["true_label"].to_numpy()
        assert (wrong == of_split["planted"].to_numpy()).all()


def test_behavior_pairs_have_one_label_or_two_and_are_no_texts_of_the_corpus(splits):
    pairs = et.load_behavior_pairs()
    assert list(pairs.columns) == ["capability", "pair", "variant", "label", "text"]
    assert set(pairs["label"]) == set(EMOTIONS)
    assert (pairs.groupby(["capability", "pair"])["variant"].agg("".join) == "ab").all()
    labels = pairs.pivot_table("label", "pair", "capability", aggfunc="nunique")
    assert labels.shape == (30, 8)
    same = ["order", "names", "typing", "strength"]
    assert (labels[same] == 1).all(axis=None)
    assert (labels.drop(columns=same) == 2).all(axis=None)
    texts = pd.concat([pairs["text"], *(frame["text"] for frame in splits.values())]).str.casefold()
    assert not texts.duplicated().any()


def test_data_card_tells_how_often_the_last_feeling_is_that_of_the_label():
    card = " ".join((CORPUS_FOLDER / "README.md").read_text(encoding="utf-8").split())
    counts = count_last_feelings()
    texts, several, last = counts.loc["contrast texts"]
    assert f"in {several} of the {texts} contrast texts, and in {last} of these {several}" in card
    then_now, whose = (counts.loc[[f"{name} a", f"{name} b"]].sum() for name in ("then_now", "whose"))
    assert f"in {then_now.iloc[1]} texts of `then_now` and in {whose.iloc[1]} of `whose`" in card
    assert (then_now.iloc[1], whose.iloc[1]) == (then_now.iloc[2], whose.iloc[2])
    a, b = (counts.loc[f"order {variant}"] for variant in "ab")
    assert a.iloc[1] == a.iloc[2]
    assert b.iloc[2] == 0
    assert f"in all {a.iloc[1]} such texts of variant `a`, and in none of {b.iloc[1]} in `b`" in card
