import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import emotion_tutorial as et
from emotion_tutorial.exceptions import MissingColumnError, UnknownLabelError

LOG = [
    {"epoch": 1.0, "loss": 1.0},
    {"epoch": 1.0, "eval_loss": 0.8, "eval_accuracy": 0.9},
    {"epoch": 2.0, "loss": 0.5},
    {"epoch": 2.0, "eval_loss": 0.7, "eval_accuracy": 0.8},
]


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"text": ["one", "two words", "three words here", "a b c d"], "label_name": ["rare", "often", "often", "often"]}
    )


def test_class_distribution_is_sorted_with_the_commonest_on_top(frame):
    ax = et.plot_class_distribution(frame)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rare", "often"]
    assert [bar.get_width() for bar in ax.patches] == [1, 3]
    assert "3  (75%)" in [text.get_text() for text in ax.texts]


def test_text_lengths_have_a_box_per_label_and_no_outliers(frame):
    ax = et.plot_text_lengths(frame)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rare", "often"]
    medians = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 2]
    assert [float(xs[0]) for xs in medians] == [1, 3]


@pytest.mark.parametrize("classes", [1, 2, 3, 6, 7, 11])
def test_hexbins_have_a_panel_per_label(classes):
    rng = np.random.default_rng(0)
    projection = pd.DataFrame(rng.normal(size=(50, 2)), columns=["X", "Y"])
    labels = rng.integers(0, max(1, classes - 1), 50)  # the last label has no text
    names = [f"label {i}" for i in range(classes)]
    figure = et.plot_hexbins(projection, labels, names)
    titles = [ax.get_title() for ax in figure.axes if ax.axison]
    assert len(titles) == classes
    assert titles[0] == f"label 0 ({(labels == 0).sum()})"


def test_confusion_matrix_rows_are_shares_of_the_true_label():
    ax = et.plot_confusion_matrix(y_true=[0, 0, 1, 1], y_pred=[0, 1, 1, 1], label_names=["a", "b", "c"])
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["0.50", "0.50", "0.00", "0.00", "1.00", "0.00", "", "", ""]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]


def test_confusion_matrix_refuses_an_id_without_a_name():
    with pytest.raises(UnknownLabelError, match=r"\[2\], but label_names has the ids 0 to 1"):
        et.plot_confusion_matrix(y_true=[0, 2], y_pred=[0, 0], label_names=["a", "b"])


@pytest.mark.parametrize(("sort", "order"), [(True, ["joy", "fear", "love"]), (False, ["love", "joy", "fear"])])
def test_class_probabilities_keep_their_labels(sort, order):
    scores = {"love": 0.1, "joy": 0.7, "fear": 0.2}
    ax = et.plot_class_probabilities(scores, title="a text", sort=sort)
    assert [label.get_text() for label in ax.get_xticklabels()] == order
    assert [round(bar.get_height()) for bar in ax.patches] == [round(scores[name] * 100) for name in order]
    assert ax.get_title(loc="left") == "a text" or ax.get_title() == "a text"
    assert "%" in ax.get_ylabel()


def test_class_probabilities_refuse_text():
    with pytest.raises(ValueError, match="could not convert"):
        et.plot_class_probabilities({"joy": "high"})


def test_learning_curve_marks_the_best_epoch():
    figure = et.plot_learning_curve(LOG)
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0, 0.5], [0.8, 0.7]]
    star = accuracy.lines[1]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (1.0, 90.0)


def test_learning_curve_refuses_an_untrained_history():
    with pytest.raises(MissingColumnError, match=r"'epoch'.*no columns"):
        et.plot_learning_curve([])


def test_scores_are_sorted_with_their_intervals():
    scores = pd.DataFrame({"value": [0.9, 0.5], "low": [0.8, 0.4], "high": [0.95, 0.6]}, index=["good", "poor"])
    ax = et.plot_scores(scores, title="t", xlabel="x")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["poor", "good"]
    assert [text.get_text() for text in ax.texts] == ["50.0%", "90.0%"]
    segments = ax.collections[0].get_segments()
    np.testing.assert_allclose(segments[1][:, 0], [0.8, 0.95])


def test_calibration_of_a_sure_and_right_model_lies_on_the_diagonal():
    confidence = np.repeat([0.25, 0.75], 100)
    correct = np.concatenate([np.arange(100) < 25, np.arange(100) < 75])
    line = et.plot_calibration(correct, confidence).lines[1]
    np.testing.assert_allclose(line.get_xdata(), [25, 75])
    np.testing.assert_allclose(line.get_ydata(), [25, 75])


@pytest.mark.parametrize(("correct", "confidence"), [([], []), ([True], [0.5, 0.6]), ([True], [1.5])])
def test_calibration_refuses(correct, confidence):
    with pytest.raises(ValueError, match=r"equally long|\[0, 1\]"):
        et.plot_calibration(correct, confidence)


@pytest.mark.parametrize(
    "call",
    [
        lambda: et.plot_class_distribution(pd.DataFrame({"a": [1]})),
        lambda: et.plot_text_lengths(pd.DataFrame({"text": ["a"]})),
        lambda: et.plot_hexbins(pd.DataFrame({"x": [1]}), [0], ["a"]),
        lambda: et.plot_scores(pd.DataFrame({"value": [1]}), title="", xlabel=""),
    ],
)
def test_missing_columns_are_named(call):
    with pytest.raises(MissingColumnError, match="Missing column"):
        call()


def test_given_axes_are_used_and_nothing_is_shown(frame, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("show was called"))
    scores = pd.DataFrame({"value": [0.5], "low": [0.4], "high": [0.6]}, index=["a"])
    losses = pd.DataFrame({"label": ["a"], "predicted_label": ["a"], "loss": [0.1]})
    for draw in (
        lambda ax: et.plot_class_distribution(frame, ax=ax),
        lambda ax: et.plot_text_lengths(frame, ax=ax),
        lambda ax: et.plot_confusion_matrix(y_true=[0], y_pred=[0], label_names=["a"], ax=ax),
        lambda ax: et.plot_class_probabilities({"a": 1.0}, ax=ax),
        lambda ax: et.plot_scores(scores, title="", xlabel="", ax=ax),
        lambda ax: et.plot_calibration([True], [0.9], ax=ax),
        lambda ax: et.plot_gains([True, False], ax=ax),
        lambda ax: et.plot_losses(losses, ax=ax),
    ):
        figure, ax = plt.subplots()
        assert draw(ax) is ax
        assert isinstance(ax, Axes)
        figure.canvas.draw()


def test_diagrams_show_what_they_are_given():
    figure = et.draw_classifier(
        ["[CLS]", "hey", "[SEP]"], [101, 4931, 102], layers=3, dim=64, label_names=["no", "yes"]
    )
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "hey" in said
    assert "4931" in said
    assert "64 numbers" in said
    assert "3 layers" in said
    assert isinstance(et.draw_training_modes(), Figure)
    with pytest.raises(ValueError, match="one id per token, got 1 tokens and 2 ids"):
        et.draw_classifier(["a"], [1, 2])


def test_style_is_applied():
    with plt.rc_context():
        et.use_style()
        assert plt.rcParams["axes.titlelocation"] == "left"
    with pytest.raises(TypeError):
        et.use_style("dark")


def test_losses_are_split_by_right_and_wrong():
    losses = pd.DataFrame(
        {"label": ["a", "a", "b"], "predicted_label": ["a", "b", "b"], "loss": [0.0, 3.0, 0.2]}  # 0 has no logarithm
    )
    ax = et.plot_losses(losses)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "predicted as labelled (2)",
        "predicted otherwise (1)",
    ]
    assert ax.get_xscale() == "log"
    assert sum(bar.get_height() for bar in ax.patches) == 3
    with pytest.raises(MissingColumnError, match="'loss'"):
        et.plot_losses(losses.drop(columns="loss"))


def test_gains_count_what_is_found():
    ax = et.plot_gains([True, False, True, False])
    found, best, chance = (line.get_ydata() for line in ax.lines)
    np.testing.assert_allclose(found, [0, 50, 50, 100, 100])
    np.testing.assert_allclose(best, [0, 50, 100, 100, 100])
    np.testing.assert_allclose(chance, [0, 100])
    assert ax.get_ylabel() == "found (% of 2)"
    with pytest.raises(ValueError, match="None of the 3 texts"):
        et.plot_gains([False] * 3)
