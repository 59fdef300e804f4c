import dataclasses

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import emotion_tutorial as et
from emotion_tutorial import find_label_errors, label_errors
from emotion_tutorial.exceptions import DataError

WORDS = {"sun": ["warm", "bright", "light"], "rain": ["wet", "grey", "cold"], "wind": ["loud", "gusts", "blows"]}
CPU = {"use_cpu": True, "disable_tqdm": True}


@pytest.fixture(scope="module")
def weather() -> tuple[list[str], list[int], np.ndarray]:
    """Texts whose words give the label away, and a tenth of the labels wrong."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    texts = [" ".join(rng.choice([*WORDS[list(WORDS)[label]], "day", "it"], 6)) for label in truth]
    wrong = np.isin(np.arange(300), rng.choice(300, 30, replace=False))
    return texts, np.where(wrong, (truth + rng.integers(1, 3, 300)) % 3, truth).tolist(), wrong


@pytest.fixture
def profile(tiny_checkpoint):
    return dataclasses.replace(
        et.get_profile("quick"), checkpoint=str(tiny_checkpoint), learning_rate=5e-3, epochs=6, batch_size=16
    )


def test_wrong_labels_come_first_with_the_true_ones(weather):
    texts, labels, wrong = weather
    found = find_label_errors(texts, labels, list(WORDS))
    assert list(found.columns) == ["row", "text", "label", "suggested_label", "score"]
    assert sorted(found["row"]) == list(range(300))
    assert found["score"].is_monotonic_decreasing
    assert found["score"].between(0, 1).all()
    assert found["text"].tolist() == [texts[row] for row in found["row"]]
    assert found["label"].tolist() == [list(WORDS)[labels[row]] for row in found["row"]]
    assert average_precision_score(wrong[found["row"]], found["score"]) > 0.9
    first = found.head(25)
    truth = [max(WORDS, key=lambda name: sum(word in WORDS[name] for word in text.split())) for text in first["text"]]
    assert (first["suggested_label"] == truth).mean() > 0.8


def test_scores_are_out_of_sample(weather):
    """Of labels without any relation to the texts nothing can be known out of sample; in sample they are learned."""
    rng = np.random.default_rng(1)
    texts = [f"word{i} other{i} third{i}" for i in range(200)]
    labels = rng.integers(0, 2, 200)
    found = find_label_errors(texts, labels.tolist(), ["a", "b"]).set_index("row")["score"].sort_index()
    assert found.mean() > 0.4


def test_fine_tuned_and_combined(weather, profile):
    texts, labels, wrong = weather
    found = {
        method: find_label_errors(texts, labels, list(WORDS), method=method, profile=profile, folds=2, **CPU)
        for method in ("bag_of_words", "fine_tuned", "combined")
    }
    assert average_precision_score(wrong[found["fine_tuned"]["row"]], found["fine_tuned"]["score"]) > 0.5
    scores = {method: frame.set_index("row")["score"].sort_index() for method, frame in found.items()}
    np.testing.assert_allclose(scores["combined"], (scores["bag_of_words"] + scores["fine_tuned"]) / 2, atol=1e-9)


def test_finished_folds_are_kept(weather, profile, tmp_path, monkeypatch):
    texts, labels, _ = weather
    trained = []

    def build(*arguments, **options):
        trained.append(1)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return et.build_trainer(*arguments, **options)

    def find(labels=labels, **options):
        short = dataclasses.replace(profile, epochs=1)
        return find_label_errors(texts, labels, list(WORDS), method="fine_tuned", profile=short, **CPU, **options)

    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(label_errors, "build_trainer", build)
    with pytest.raises(KeyboardInterrupt):
        find()
    found = find()
    assert len(trained) == 3  # the first fold was there
    assert found.equals(find())
    assert len(trained) == 3
    assert found.equals(find(cache=False))
    find([1 - labels[0] % 2, *labels[1:]])  # other labels, other folds
    assert len(trained) == 3 + 2 + 2


def test_labels_may_be_names_in_any_script(weather):
    texts, labels, _ = weather
    names = ["солнце", "雨", "💨"]
    by_name = find_label_errors(texts, [names[i] for i in labels])
    by_id = find_label_errors(texts, labels, names)
    assert set(by_name["label"]) == set(names)
    np.testing.assert_allclose(
        by_name.set_index("row")["score"].sort_index(), by_id.set_index("row")["score"].sort_index(), atol=1e-3
    )


def test_a_name_without_texts_is_never_suggested(weather):
    texts, labels, _ = weather
    found = find_label_errors(texts, labels, [*WORDS, "snow"])
    assert set(found["suggested_label"]) == set(WORDS)
    assert found["score"].max() < 1


@pytest.mark.parametrize(
    ("texts", "labels", "options", "error", "said"),
    [
        (["a"], [0, 1], {}, ValueError, "1 texts and 2 labels"),
        ([], [], {}, ValueError, "0 texts"),
        (["a", None], [0, 1], {}, DataError, r"texts\[1\] is None"),
        (["a", "b"], [0, None], {}, DataError, r"labels\[1\] is None"),
        (["a", "b"], [0, float("nan")], {}, DataError, r"labels\[1\] is nan"),
        (["a", "b"], [0, 2], {"label_names": ["x", "y"]}, DataError, r"labels\[1\] is 2; known are x, y"),
        (["a", "b"], ["x", "z"], {"label_names": ["x", "y"]}, DataError, r"labels\[1\] is 'z'"),
        (["a", "b"], [1, 1], {}, DataError, "All labels are 1"),
        (["a", "b", "c"], [0, 0, 1], {"folds": 2}, DataError, "Label id 1 has 1 texts, and 2 folds"),
        (["a", "b"], [0, 1], {"folds": 1}, ValueError, "two folds or more"),
        (["a", "b"], [0, 1], {"method": "magic"}, ValueError, "bag_of_words, fine_tuned, combined"),
    ],
)
def test_what_is_refused(texts, labels, options, error, said):
    with pytest.raises(error, match=said):
        find_label_errors(texts, labels, **options)
