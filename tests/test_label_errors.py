"""Wrong labels that are found."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from transformers import Trainer

import emotion_tutorial as et
from emotion_tutorial import features

NAMES = ["sun", "rain", "wind"]
WORDS = {"sun": ["warm", "bright", "light"], "rain": ["wet", "gray", "cold"], "wind": ["loud", "gusts", "blows"]}


@pytest.fixture(scope="module")
def weather() -> tuple[list[str], list[int], np.ndarray]:
    """Texts whose words give the label away, and a tenth of the labels wrong."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    texts = [" ".join(rng.choice([*WORDS[NAMES[label]], "day", "it"], 6)) for label in truth]
    wrong = np.isin(np.arange(300), rng.choice(300, 30, replace=False))
    return texts, np.where(wrong, (truth + rng.integers(1, 3, 300)) % 3, truth).tolist(), wrong


@pytest.fixture
def fine_tuned(tiny_checkpoint, tmp_path, monkeypatch) -> dict[str, object]:
    """Return options for a short training on the CPU, with artifacts of this test alone."""
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path))
    profile = et.get_profile("quick", checkpoint=str(tiny_checkpoint), learning_rate=5e-3, epochs=6, batch_size=16)
    return {"method": "fine_tuned", "profile": profile, "use_cpu": True, "disable_tqdm": True}


def by_row(found: pd.DataFrame) -> np.ndarray:
    return found["score"].sort_index().to_numpy()


def test_planted_errors_come_first_by_each_method(weather, fine_tuned):
    texts, labels, wrong = weather
    scores = {}
    for method, least in {"bag_of_words": 0.9, "probe": 0.8, "fine_tuned": 0.5, "combined": 0.8}.items():
        found = et.find_label_errors(texts, labels, NAMES, **fine_tuned | {"method": method, "folds": 2})
        assert found["score"].is_monotonic_decreasing
        assert found["score"].between(0, 1).all()
        assert found["label"].tolist() == [NAMES[labels[row]] for row in found.index]
        assert average_precision_score(wrong[found.index], found["score"]) > least
        assert found["likely_error"].dtype == bool
        assert (found["label"] != found["suggested_label"])[found["likely_error"]].all()
        if method != "fine_tuned":  # which learns little in so short a training
            assert 20 <= found["likely_error"].sum() <= 40
            assert wrong[found.index[found["likely_error"]]].mean() > 0.7
        scores[method] = by_row(found)
    np.testing.assert_allclose(scores["combined"], (scores["bag_of_words"] + scores["fine_tuned"]) / 2, atol=1e-6)


def test_scores_are_out_of_sample():
    """Of labels without any relation to the texts nothing can be known; in sample they are learned."""
    labels = np.random.default_rng(1).integers(0, 2, 200).tolist()
    found = et.find_label_errors([f"word{i} other{i} third{i}" for i in range(200)], labels, ["a", "b"])
    assert found["score"].mean() > 0.4


def test_scores_are_kept(weather, fine_tuned, monkeypatch):
    texts, labels, _ = weather
    options = fine_tuned | {"epochs": 1}
    found = et.find_label_errors(texts, labels, NAMES, **options)
    monkeypatch.setattr(Trainer, "train", lambda *args, **options: 1 / 0)
    for same in ({}, {"run_name": "again"}):
        pd.testing.assert_frame_equal(et.find_label_errors(texts, labels, NAMES, **options | same), found)
    others = [{"cache": False}, {"seed": 1}, {"epochs": 2}, {"folds": 3}, {"class_weights": [1, 2, 3]}]
    for other in [*others, {"eval_strategy": "epoch", "save_strategy": "epoch"}]:  # which keeps its best epoch
        with pytest.raises(ZeroDivisionError):
            et.find_label_errors(texts, labels, NAMES, **options | other)


def test_hidden_states_are_computed_once_and_those_of_other_encoders_anew(
    weather, fine_tuned, tiny_distilbert, monkeypatch
):
    texts, labels, _ = weather
    options = fine_tuned | {"method": "probe"}
    found = et.find_label_errors(texts, labels, NAMES, **options)
    monkeypatch.setattr(features, "_hidden_states", lambda *args: 1 / 0)
    pd.testing.assert_frame_equal(et.find_label_errors(texts, labels, NAMES, **options | {"learning_rate": 1}), found)
    for other in ({"folds": 3}, {"seed": 1}):
        assert not np.allclose(by_row(et.find_label_errors(texts, labels, NAMES, **options | other)), by_row(found))
    profile = et.get_profile("quick", checkpoint=str(tiny_distilbert))
    with pytest.raises(ZeroDivisionError):
        et.find_label_errors(texts, labels, NAMES, **options | {"profile": profile})


def test_rows_keep_their_index(weather):
    texts, labels, _ = weather
    frame = pd.DataFrame({"text": texts, "label": labels}).sample(frac=1, random_state=0).add_prefix("text-", axis=0)
    found = et.find_label_errors(frame["text"], frame["label"], NAMES)
    pd.testing.assert_series_equal(found["text"].loc[frame.index], frame["text"], check_dtype=False)
    frame["score"] = found["score"]
    top = frame["score"].sort_values(ascending=False, kind="stable")
    np.testing.assert_array_equal(top, found["score"])


def test_numbers_that_are_names_are_no_ids_and_other_scripts_are_names(weather):
    for labels, expected in (([1, 2, 3, 5.0], "1235"), ([0, 1, 2, 3], "1234"), (list("1234"), "1234")):
        found = et.find_label_errors(["bad", "poor", "fine", "good"] * 4, labels * 4, list("12345"), folds=2)
        assert found.sort_index()["label"].tolist() == [*expected] * 4
    assert set(et.find_label_errors(["bad", "good"] * 4, [1.0, 2.0] * 4, folds=2)["label"]) == {"1", "2"}
    texts, labels, _ = weather
    names = ["снег", "солнце", "雨", "💨"]  # there is no text of the first, which is never suggested
    by_id = et.find_label_errors(texts, [label + 1 for label in labels], names)
    by_name = et.find_label_errors(texts, [names[label + 1] for label in labels])
    assert set(by_id["label"]) == set(by_id["suggested_label"]) == set(by_name["label"]) == set(names[1:])
    np.testing.assert_allclose(by_row(by_id), by_row(by_name), atol=1e-3)


@pytest.mark.parametrize(
    ("texts", "labels", "options", "error", "said"),
    [
        (["a"], [0, 1], {}, et.DataError, "1 texts and 2 labels"),
        (["a", None] * 5, [0, 1] * 5, {}, et.DataError, r"texts\[1\] is missing"),
        (["a", "b"], [0, None], {}, et.DataError, r"labels\[1\] is missing"),
        (["a", "b"], [0, "b"], {}, et.DataError, "names and numbers"),
        (["a", "b"], [0, 2], {"label_names": ["x", "y"]}, et.DataError, r"labels\[1\] is 2; known are .*'y'"),
        (["a", "b"], [1, 2], {"label_names": ["1", "2", "3"]}, et.DataError, "may be ids or names"),
        (["a", "b"], [0, 1], {"label_names": ["x", "x"]}, et.DataError, "label_names"),
        (["a", "b", "c"], [0, 0, 1], {"folds": 2}, et.DataError, "'1': 1"),
        (["a", "b"], [0, 0], {"folds": 2}, et.DataError, "two labels"),
        (["a", "b"], [0, 1], {"folds": 1}, et.SettingsError, "folds"),
        (["a", "b"], [0, 1], {"method": "magic"}, et.SettingsError, "bag_of_words, probe, fine_tuned, combined"),
        (["a", "b"], [0, 1], {"fold": 3}, et.SettingsError, "fold"),
    ],
)
def test_what_is_refused(texts, labels, options, error, said):
    with pytest.raises(error, match=said):
        et.find_label_errors(texts, labels, **options)
