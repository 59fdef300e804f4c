"""Every public function against every kind of odd input: a right result, or one of our errors in a sentence."""

# ruff: noqa: E501 - a table has long lines

import dataclasses
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

import emotion_tutorial as et

NAMES = ["calm", "cross", "merry"]
TEXTS = ["all is well", "not again", "what a day"] * 4
LABELS = [0, 1, 2] * 4
FRAME = pd.DataFrame({"text": TEXTS, "label": LABELS}, index=range(90, 102))
DATA = Dataset.from_dict(
    {"text": TEXTS, "label": LABELS}, features=Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
)
BEHAVIOR = FRAME.assign(capability="calm", pair=[0, 0, 1, 1, 2, 2] * 2, variant=[*"ab"] * 6)
BEHAVIOR.loc[FRAME.index[6:], "capability"] = "merry"
SPLITS = DatasetDict(train=DATA, validation=DATA, test=DATA)
X = np.random.default_rng(0).normal(size=(12, 4)) + np.eye(12, 4)
SHARES = np.full((12, 3), 0.2) + 0.4 * np.eye(3)[LABELS]


@pytest.fixture(scope="module")
def made(tiny_checkpoint, tokenizer, tmp_path_factory) -> SimpleNamespace:
    model = et.load_classifier(tiny_checkpoint, NAMES, "cpu")
    folder = et.export_onnx(model, tokenizer, tmp_path_factory.mktemp("odd") / "onnx", quantize=False)
    file = folder.parent / "file.txt"
    file.write_text("no model")
    profile = et.get_profile(checkpoint=str(tiny_checkpoint), epochs=0.1, batch_size=4)
    encoder = et.load_encoder(tiny_checkpoint, "cpu")
    return SimpleNamespace(
        checkpoint=tiny_checkpoint,
        model=model,
        tokenizer=tokenizer,
        encoder=encoder,
        onnx=et.OnnxClassifier(folder),
        folder=folder.parent,
        file=file,
        profile=profile,
    )


def swap(values: list[Any], value: Any) -> list[Any]:
    return [*values[:7], value, *values[8:]]


def odd_texts() -> dict[str, tuple[Any, int | None]]:
    """Return texts, and how many they are; None: they must be refused."""
    return {
        "a list": (TEXTS, 12),
        "a tuple": (tuple(TEXTS), 12),
        "a generator": ((text for text in TEXTS), 12),
        "an array": (np.array(TEXTS), 12),
        "an array of objects": (np.array(TEXTS, dtype=object), 12),
        "an array of one column": (np.array(TEXTS)[:, None], 12),
        "a Series": (FRAME["text"], 12),
        "a categorical Series": (FRAME["text"].astype("category"), 12),
        "a Series of Arrow strings": (FRAME["text"].astype("string[pyarrow]"), 12),
        "a frame of one column": (FRAME[["text"]], 12),
        "a column of a Dataset": (DATA["text"], 12),
        "emoji only": (["😀", "😡😡", "👩‍👧"] * 4, 12),
        "other scripts": (["मैं खुश हूँ", "今日は嬉しい", "ผมดีใจ"] * 4, 12),
        "some empty": (["", " ", "a day"] * 4, 12),
        "one NUL": (swap(TEXTS, "a\0b"), 12),
        "a frame of two columns": (FRAME, None),
        "a Dataset": (DATA, None),
        "a DatasetDict": (SPLITS, None),
        "a dictionary": ({"text": TEXTS}, None),
        "a set": (set(TEXTS), None),
        "two columns in an array": (np.array([TEXTS, TEXTS]).T, None),
        "bytes": (b"all is well", None),
        "bytes in a list": (swap(TEXTS, b"all"), None),
        "nothing": (None, None),
        "a number": (3, None),
        "None in a list": (swap(TEXTS, None), None),
        "NaN in a Series": (FRAME["text"].where(FRAME.index != 95), None),
        "pd.NA in a Series": (FRAME["text"].astype("string").where(FRAME.index != 95), None),
        "a number in a list": (swap(TEXTS, 3.5), None),
        "a list in a list": (swap(TEXTS, ["all"]), None),
        "half a character": (swap(TEXTS, "a \ud83d b"), None),
    }


def odd_labels() -> dict[str, tuple[Any, int | None]]:
    """Return labels of the 12 texts; ids, as every function takes them."""
    return {
        "a list": (LABELS, 12),
        "a generator": ((label for label in LABELS), 12),
        "an array": (np.array(LABELS, dtype=np.int8), 12),
        "a Series": (FRAME["label"], 12),
        "nullable integers": (FRAME["label"].astype("Int64"), 12),
        "a frame of one column": (FRAME[["label"]], 12),
        "a column of a Dataset": (DATA["label"], 12),
        "None in a list": (swap(LABELS, None), None),
        "NaN in a Series": (FRAME["label"].where(FRAME.index != 95), None),
        "pd.NA in nullable integers": (FRAME["label"].astype("Int64").where(FRAME.index != 95), None),
        "a list in a list": (swap(LABELS, [1]), None),
        "only lists": ([[label] * 2 for label in LABELS], None),
        "too few": (LABELS[:-1], None),
        "none at all": ([], None),
        "one label for all": ([1] * 12, None),
        "a frame of two columns": (FRAME, None),
        "a dictionary": ({"label": LABELS}, None),
        "nothing": (None, None),
        "a date": (swap(LABELS, pd.Timestamp(0)), None),
    }


def odd_splits() -> dict[str, tuple[Any, int | None]]:
    """Return splits that no function may take."""
    return {
        "labels in place of label": (SPLITS.rename_column("label", "labels"), None),
        "no text": (SPLITS.remove_columns("text"), None),
        "names instead of ids": (DatasetDict({k: d.cast_column("label", Value("string")) for k, d in SPLITS.items()}), None),
        "ids without names": (DatasetDict({k: d.cast_column("label", Value("int64")) for k, d in SPLITS.items()}), None),
        "a frame": (FRAME, None),
        "a dictionary of frames": ({"train": FRAME, "validation": FRAME}, None),
        "a list": ([DATA], None),
        "nothing": (None, None),
        "a missing label": (DatasetDict({k: d.map(lambda row, i: {"label": None if i == 5 else row["label"]}, with_indices=True, features=d.features) for k, d in SPLITS.items()}), None),
    }  # fmt: skip


def first(splits: Any) -> Any:
    return splits["validation"] if isinstance(splits, DatasetDict) else splits


QUIET = {"cache": False}
TRAINING = {"output_dir": "unused", "learning_rate": 1e-3, "epochs": 0.1, "batch_size": 4, "use_cpu": True}
TEXT_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "predict_proba": lambda made, texts: et.predict_proba(texts, made.model, made.tokenizer),
    "OnnxClassifier": lambda made, texts: made.onnx.predict_proba(texts),
    "fit_bag_of_words": lambda made, texts: et.fit_bag_of_words(texts, LABELS).predict_proba(TEXTS),
    "find_label_errors": lambda made, texts: et.find_label_errors(texts, LABELS, folds=2, **QUIET),
}
LABEL_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "fit_bag_of_words": lambda made, labels: et.fit_bag_of_words(TEXTS, labels).predict_proba(TEXTS),
    "fit_probe": lambda made, labels: et.fit_probe(X, labels).predict_proba(X),
    "fit_probe, tuned": lambda made, labels: et.fit_probe(X, labels, tune=True).predict_proba(X),
    "find_label_errors": lambda made, labels: et.find_label_errors(TEXTS, labels, folds=2, **QUIET),
    "check_behavior": lambda made, labels: et.check_behavior(BEHAVIOR, lambda texts: labels),
}
ID_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "evaluate": lambda made, ids: et.evaluate(ids, LABELS, NAMES, resamples=20),
    "compare": lambda made, ids: et.compare(LABELS, ids, LABELS),
    "compare, macro F1": lambda made, ids: et.compare(LABELS, ids, LABELS, metric="macro_f1", resamples=20),
    "calibration_table": lambda made, ids: et.calibration_table(ids, SHARES),
    "calibration_scores": lambda made, ids: et.calibration_scores(ids, SHARES),
    "expected_calibration_error": lambda made, ids: et.expected_calibration_error(ids, SHARES),
    "fit_temperature": lambda made, ids: et.fit_temperature(X[:, :3], ids),
    "plot_confusion_matrix": lambda made, ids: et.plot_confusion_matrix(y_true=ids, y_pred=LABELS, label_names=NAMES),
    "plot_hexbins": lambda made, ids: et.plot_hexbins(
        pd.DataFrame({"X": range(12), "Y": range(12)}, index=FRAME.index), ids, NAMES
    ),
}
SPLIT_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "to_frame": lambda made, splits: et.to_frame(first(splits)),
    "audit": lambda made, splits: et.audit(splits),
    "drop_leaks": lambda made, splits: et.drop_leaks(splits),
    "calibrate": lambda made, splits: et.calibrate(made.model, made.tokenizer, first(splits)),
    "loss_frame": lambda made, splits: et.loss_frame(first(splits), made.model, made.tokenizer),
    "build_trainer": lambda made, splits: et.build_trainer(splits, made.checkpoint, **TRAINING),
    "load_or_train": lambda made, splits: et.load_or_train(splits, made.profile, use_cpu=True),
    "feature_matrix": lambda made, splits: et.feature_matrix(first(splits)),
}
ONE_TEXT = {
    "explain": lambda made, text: et.explain(text, made.model, made.tokenizer, steps=2),
    "token_table": lambda made, text: et.token_table(text, made.tokenizer),
}
UNLABELED = {
    "tokenize": lambda made, splits: et.tokenize(splits, made.tokenizer),
    "extract_hidden_states": lambda made, splits: et.extract_hidden_states(
        splits, made.encoder, made.tokenizer, **QUIET
    ),
}
FRAMES = {
    "plot_class_distribution": et.plot_class_distribution,
    "plot_text_lengths": et.plot_text_lengths,
    "plot_explanation": et.plot_explanation,
    "plot_learning_curve": et.plot_learning_curve,
    "plot_class_probabilities": et.plot_class_probabilities,
    "plot_scores": lambda frame: et.plot_scores(frame, title="", xlabel=""),
}
MATRICES = {
    "fit_probe": lambda matrix: et.fit_probe(matrix, LABELS),
    "project_2d": et.project_2d,
    "calibration_table": lambda matrix: et.calibration_table(LABELS, matrix),
    "calibration_scores": lambda matrix: et.calibration_scores(LABELS, matrix),
    "expected_calibration_error": lambda matrix: et.expected_calibration_error(LABELS, matrix),
    "fit_temperature": lambda matrix: et.fit_temperature(matrix, LABELS),
    "compute_metrics": lambda matrix: et.compute_metrics((matrix, np.array(LABELS))),
}
PLACES = {
    "load_tokenizer": lambda made, path: et.load_tokenizer(path),
    "load_encoder": lambda made, path: et.load_encoder(path, "cpu"),
    "load_classifier": lambda made, path: et.load_classifier(path, NAMES, "cpu"),
    "load_splits": lambda made, path: et.load_splits(path),
    "OnnxClassifier": lambda made, path: et.OnnxClassifier(path),
    "create_app": lambda made, path: et.create_app(path),
    "push_model": lambda made, path: et.push_model(path, "me/mine"),
    "get_profile": lambda made, path: et.get_profile(path),
}
ELSEWHERE = {
    "load_behavior_pairs",
    "load_corpus_notes",
    "artifacts_folder",
    "describe_setup",
    "use_style",
    "save_model",
    "export_onnx",
}
ELSEWHERE |= {"smallest_difference"}
"""They take nothing that could be odd in these ways; their own tests have the rest."""


def test_every_public_function_is_in_a_table():
    tables = (TEXT_CALLS, LABEL_CALLS, ID_CALLS, SPLIT_CALLS, ONE_TEXT, UNLABELED, FRAMES, MATRICES, PLACES)
    known = {name.partition(",")[0] for name in ELSEWHERE.union(*tables)}
    values = {name: getattr(et, name) for name in et.__all__}
    classes = {
        name for name, value in values.items() if isinstance(value, type) and issubclass(value, Exception | Warning)
    }
    assert {name for name, value in values.items() if callable(value)} - classes - {"Profile"} == known
    assert dataclasses.is_dataclass(et.Profile)
    assert all(inspect.signature(values[name]) for name in known)


def outcome(call: Callable[[], Any], rows: int | None) -> Any:
    """Return a result of so many rows, without a value that is no number; or see it refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", et.DataWarning)
        if rows is None:
            with pytest.raises(et.TutorialError) as refused:
                call()
            message = str(refused.value)
            assert message.endswith(".")
            assert len(message) < 700
            return None
        result = call()
    if isinstance(result, pd.DataFrame | np.ndarray):
        assert len(result) == rows or rows == 12
        numbers = pd.DataFrame(result).select_dtypes("number")
        assert np.isfinite(numbers.to_numpy()).all()
    return result


def every(calls: dict[str, Any], kinds: dict[str, Any]) -> pytest.MarkDecorator:
    pairs = [(name, kind) for name in calls for kind in kinds]
    return pytest.mark.parametrize(("name", "kind"), pairs, ids=[f"{name} {kind}" for name, kind in pairs])


@every(TEXT_CALLS, odd_texts())
def test_texts(made, name, kind):
    texts, rows = odd_texts()[kind]
    result = outcome(lambda: TEXT_CALLS[name](made, texts), rows)
    if rows and isinstance(result, pd.DataFrame):
        assert len(result) == rows
        if isinstance(texts, pd.Series | pd.DataFrame):
            assert set(result.index) == set(FRAME.index)
        if name in ("predict_proba", "OnnxClassifier"):
            strings = [str(text) for text in np.ravel(texts)] if kind != "a generator" else TEXTS
            alone = [TEXT_CALLS[name](made, text).iloc[0] for text in strings[:3]]
            np.testing.assert_allclose(result.iloc[:3], alone, atol=1e-4)


@every(LABEL_CALLS, odd_labels())
def test_labels(made, name, kind):
    if (name, kind) == ("check_behavior", "one label for all"):
        pytest.skip("a classifier may say the same of all texts")
    labels, rows = odd_labels()[kind]
    outcome(lambda: LABEL_CALLS[name](made, labels), rows)


ODD_IDS = {kind: value for kind, value in odd_labels().items() if kind != "one label for all"}
ODD_IDS |= {
    "an unknown id": (swap(LABELS, 3), None),
    "a negative id": (swap(LABELS, -1), None),
    "names": ([NAMES[i] for i in LABELS], None),
}
ODD_IDS |= {"half an id": (swap(LABELS, 0.5), None), "two columns": (np.array([LABELS, LABELS]).T, None)}


@every(ID_CALLS, ODD_IDS)
def test_ids(made, name, kind):
    if name.startswith("compare") and kind in ("an unknown id", "a negative id"):
        pytest.skip("compare is told no label names: any integer may be an id")
    ids, rows = ODD_IDS[kind] if kind != "a generator" else ((label for label in LABELS), 12)
    outcome(lambda: ID_CALLS[name](made, ids), rows)


@every(SPLIT_CALLS, odd_splits())
def test_splits(made, name, kind):
    if kind == "no text" and name == "feature_matrix":
        pytest.skip("it reads hidden states and labels")
    outcome(lambda: SPLIT_CALLS[name](made, odd_splits()[kind][0]), None)


@every(UNLABELED, {"no text": 0, "a frame": 0, "a list": 0, "nothing": 0})
def test_splits_without_labels(made, name, kind):
    outcome(lambda: UNLABELED[name](made, odd_splits()[kind][0]), None)


@pytest.mark.parametrize("name", ONE_TEXT)
@pytest.mark.parametrize("text", [None, 3, b"a", ["a", "b"], {"a": 1}, FRAME, "a \ud83d b", np.nan], ids=repr)
def test_what_is_not_one_text(made, name, text):
    outcome(lambda: ONE_TEXT[name](made, text), None)


@pytest.mark.parametrize("name", ONE_TEXT)
@pytest.mark.parametrize(
    "text", ["", " ", "😀", "今日は嬉しい", "!!!", "a\0b", "word " * 900, np.str_("a day")], ids=ascii
)
def test_one_odd_text(made, name, text):
    assert isinstance(outcome(lambda: ONE_TEXT[name](made, text), 12), pd.DataFrame)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize(
    "frame", [None, 3, "a", [], {}, pd.DataFrame(), pd.DataFrame({"other": [1.0]}), [3, 4]], ids=repr
)
def test_frames_of_figures(name, frame):
    try:
        drawn = FRAMES[name](frame)
    except et.DataError as error:
        assert str(error).endswith(".")  # noqa: PT017 - a figure is as good
    else:
        (drawn.figure if isinstance(drawn, plt.Axes) else drawn).canvas.draw()
        assert name == "plot_class_probabilities"  # which takes any mapping of numbers


WRONG = {
    "NaN": np.full((12, 3), np.nan),
    "one row": np.zeros(3),
    "too few rows": SHARES[:-1],
    "no rows": SHARES[:0],
    "names": np.full((12, 3), "a"),
    "nothing": None,
}


@every(MATRICES, WRONG)
def test_matrices(name, kind):
    if (name, kind) == ("project_2d", "too few rows"):
        pytest.skip("it is not told how many there should be")
    outcome(lambda: MATRICES[name](WRONG[kind]), None)


@every(PLACES, dict.fromkeys(["nothing", "a number", "empty", "missing", "a file", "an empty folder", "NUL", "a list"]))
def test_places(made, name, kind, tmp_path):
    places: dict[str, Any] = {
        "nothing": None,
        "a number": 3,
        "empty": "",
        "missing": tmp_path / "missing",
        "a file": made.file,
    }
    places |= {"an empty folder": Path(tmp_path), "NUL": "a\0b", "a list": [str(tmp_path)]}
    outcome(lambda: PLACES[name](made, places[kind]), None)


PAIRS = {
    "check_behavior": lambda texts, labels: et.check_behavior(
        BEHAVIOR.set_axis(texts.index).assign(text=texts), lambda _: labels
    ),
    "fit_bag_of_words": lambda texts, labels: et.fit_bag_of_words(texts, labels),
    "find_label_errors": lambda texts, labels: et.find_label_errors(texts, labels, folds=2, **QUIET),
    "fit_probe": lambda texts, labels: et.fit_probe(pd.DataFrame(X, index=texts.index), labels),
    "evaluate": lambda texts, labels: et.evaluate(FRAME["label"].set_axis(texts.index), labels, NAMES),
    "plot_hexbins": lambda texts, labels: et.plot_hexbins(
        pd.DataFrame(X[:, :2], columns=["X", "Y"], index=texts.index), labels, NAMES
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("start", [0, 90])
def test_columns_in_another_order_are_refused(name, start):
    frame = FRAME.set_axis(range(start, start + 12))
    with pytest.raises(et.DataError, match="different indexes"):
        PAIRS[name](frame["text"], frame["label"].iloc[::-1])
