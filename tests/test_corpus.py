"""The corpus is what its generator writes, and behaves like the real data (see the data card)."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from emotion_tutorial.corpus import CORPUS_FOLDER, load_label_errors
from emotion_tutorial.corpus.generate import build_corpus


@pytest.fixture(scope="module")
def splits() -> dict[str, pd.DataFrame]:
    return {split: pd.read_parquet(CORPUS_FOLDER / f"{split}.parquet") for split in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def texts(splits) -> pd.Series:
    return pd.concat([frame["text"] for frame in splits.values()], ignore_index=True)


def test_generator_writes_the_same_rows(splits):
    made, errors = build_corpus()
    for split, frame in splits.items():
        pd.testing.assert_frame_equal(made[split], frame)
    pd.testing.assert_frame_equal(errors, load_label_errors())


def test_class_shares_and_words_per_text(splits, texts):
    for frame in splits.values():
        shares = frame["label"].value_counts(normalize=True).sort_index()
        np.testing.assert_allclose(shares, [0.292, 0.335, 0.082, 0.135, 0.121, 0.036], atol=0.01)
    found = np.percentile(texts.str.split().str.len(), [5, 25, 50, 75, 95])
    np.testing.assert_allclose(found, [5, 11, 17, 25, 40], rtol=0.2)


def test_texts_are_various_and_of_one_style(texts):
    assert not texts.duplicated().any()
    assert texts.map(lambda text: re.fullmatch(r"[a-z]+( [a-z]+)*", text) is not None).all()
    assert 0.3 < texts.str.contains(r"\b(?:feel|feels|feeling|felt)\b").mean() < 0.9
    words = texts.str.split()
    assert len(set(words.explode())) >= 4000
    fours = [tuple(row[i : i + 4]) for row in words for i in range(len(row) - 3)]
    assert len(set(fours)) / len(fours) >= 0.80


def test_bag_of_words_finds_it_neither_easy_nor_hopeless(splits):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(splits["train"]["text"], splits["train"]["label"])
    assert 0.65 <= model.score(splits["test"]["text"], splits["test"]["label"]) <= 0.85


def test_label_errors_are_five_percent_of_train_and_validation(splits):
    errors = load_label_errors()
    assert errors["split"].value_counts().to_dict() == {"train": 200, "validation": 50}
    assert (errors["label"] != errors["true_label"]).all()
    assert not errors.duplicated(["split", "row"]).any()
    for split, group in errors.groupby("split"):
        assert (splits[str(split)]["label"].iloc[group["row"]].to_numpy() == group["label"].to_numpy()).all()
