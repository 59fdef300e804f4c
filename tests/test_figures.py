import re
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import emotion_tutorial as et

FRAME = pd.DataFrame(
    {"text": ["one", "two words", "three words here", "a b c d"], "label_name": ["rare", "often", "often", "often"]}
)
SCORES = pd.DataFrame({"value": [0.9, 0.5], "low": [0.8, 0.4], "high": [0.95, 0.6]}, index=["good", "poor"])
ODD = ["$ 1", "$ 2 $", "\\frac{ 100% _a_", "漢字 مفاجأة आशा 🤔", ""]
ODD += [f"a label that is much too long for one line of any figure, number {i}" for i in range(4)]


def rows(ax) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def explanation(words, attributions) -> pd.DataFrame:
    return pd.DataFrame({"word": words, "attribution": attributions, "label": "joy"}, index=range(len(words)))


def test_class_distribution_and_text_lengths_have_the_commonest_on_top():
    ax = et.plot_class_distribution(FRAME)
    assert rows(ax) == ["rare", "often"]
    assert [bar.get_width() for bar in ax.patches] == [1, 3]
    assert [text.get_text() for text in ax.texts] == ["1  (25%)", "3  (75%)"]
    ax = et.plot_text_lengths(FRAME, limit=7)
    assert rows(ax) == ["rare", "often"]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linewidth() == 2] == [1, 3]  # medians
    assert list(ax.lines[-1].get_xdata()) == [7, 7]


@pytest.mark.parametrize("classes", [1, 3, 7])
def test_hexbins_have_a_panel_per_label_on_one_scale(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(1, classes - 1), 50)  # the last label of several has no text
    points = pd.DataFrame(rng.normal(size=(50, 2)), columns=["X", "Y"])
    figure = et.plot_hexbins(points, labels, list("abcdefg")[:classes])
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == [f"{name} ({(labels == i).sum()})" for i, name in enumerate("abcdefg"[:classes])]
    panels = [ax.collections[1] for ax in figure.axes if ax.get_title() and len(ax.collections) == 2]
    assert len({panel.get_clim() for panel in panels}) == 1
    assert all(panel.get_array().sum() == pytest.approx(100) for panel in panels)


def test_confusion_matrix_rows_are_shares_of_the_true_label():
    ax = et.plot_confusion_matrix(y_true=[0, 0, 1, 1], y_pred=[0, 1, 1, 1], label_names=["a", "b", "c"])
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])
    assert rows(ax) == [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted label", "true label")


@pytest.mark.parametrize(("sort", "order"), [(True, ["fear", "love", "joy"]), (False, ["fear", "joy", "love"])])
def test_class_probabilities_keep_their_labels(sort, order):
    scores = {"love": 0.2, "joy": 0.7, "fear": 0.1}
    ax = et.plot_class_probabilities(scores, title="a text", sort=sort)
    assert rows(ax) == order  # from the bottom
    assert [bar.get_width() for bar in ax.patches] == [scores[name] for name in order]
    assert [text.get_text() for text in ax.texts] == [f"{scores[name]:.1%}" for name in order]


def test_learning_curve_marks_the_best_epoch():
    log = [{"epoch": epoch, "loss": loss} for epoch, loss in ((1, 1.0), (2, 0.5))]
    log += [{"epoch": 1, "eval_loss": 0.8, "eval_accuracy": 0.9}, {"epoch": 2, "eval_loss": 0.7, "eval_accuracy": 0.8}]
    loss, accuracy = et.plot_learning_curve(log).axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0, 0.5], [0.8, 0.7]]
    assert [line.get_xydata().tolist() for line in accuracy.lines] == [[[1, 0.9], [2, 0.8]], [[1, 0.9]]]


def test_scores_have_their_intervals_with_the_best_on_top():
    ax = et.plot_scores(SCORES, title="t", xlabel="x")
    assert rows(ax) == ["poor", "good"]
    assert [text.get_text() for text in ax.texts] == ["50.0%", "90.0%"]
    bars = [segment[:, 0] for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose(bars, [[0.4, 0.6], [0.8, 0.95]])


def test_explanation_is_read_from_the_top():
    ax = et.plot_explanation(explanation(["so", "$happy$", "so", "sad"], [0.1, 0.5, 0.0, -0.3]))
    assert rows(ax) == ["so", "$happy$", "so", "sad"]
    assert ax.yaxis_inverted()
    assert [bar.get_width() for bar in ax.patches] == [0.1, 0.5, 0.0, -0.3]
    colors = [bar.get_facecolor() for bar in ax.patches]
    assert colors[0] == colors[1] != colors[3]
    strengths = [(-1) ** i * (i * 7 % 40) / 100 for i in range(40)]  # of many words, only the strongest are shown
    ax = et.plot_explanation(explanation([f"w{i}" for i in range(40)], strengths), bars=10)
    assert rows(ax) == [f"w{i}" for i in range(40) if abs(strengths[i]) >= 0.3]
    assert re.findall(r"\d+", ax.get_title()) == ["10", "40"]


ONE_PANEL = {
    "class distribution": lambda names, ax: et.plot_class_distribution(pd.DataFrame({"label_name": names}), ax=ax),
    "text lengths": lambda names, ax: et.plot_text_lengths(pd.DataFrame({"text": "a b", "label_name": names}), ax=ax),
    "confusion matrix": lambda names, ax: et.plot_confusion_matrix(y_true=[0], y_pred=[1], label_names=names, ax=ax),
    "probabilities": lambda names, ax: et.plot_class_probabilities(dict.fromkeys(names, 0.1), title=names[0], ax=ax),
    "scores": lambda names, ax: et.plot_scores(SCORES.iloc[[1] * 9].set_axis(names), title="", xlabel="", ax=ax),
    "explanation": lambda names, ax: et.plot_explanation(explanation(names, [0.1] * len(names)), ax=ax),
}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("draw", ONE_PANEL.values(), ids=ONE_PANEL)
def test_given_axes_are_used_and_any_label_is_drawn(draw):
    figure, ax = plt.subplots(figsize=(7, 6))
    assert draw(ODD, ax) is ax
    figure.canvas.draw()  # a dollar sign that is read as a formula fails here
    if len(rows(ax)) == len(ODD):
        boxes = sorted((label.get_window_extent() for label in ax.get_yticklabels()), key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 2 for low, high in pairwise(boxes))  # none covers another


REFUSED = {
    "no column": (lambda: et.plot_class_distribution(pd.DataFrame({"a": [1]})), "'label_name'"),
    "no texts": (lambda: et.plot_text_lengths(pd.DataFrame({"label_name": ["a"]})), "'text'"),
    "no map": (lambda: et.plot_hexbins(pd.DataFrame({"x": [1]}), [0], ["a"]), "'X', 'Y'"),
    "no interval": (lambda: et.plot_scores(SCORES[["value"]], title="", xlabel=""), "'low', 'high'"),
    "no attribution": (lambda: et.plot_explanation(pd.DataFrame({"word": ["a"]})), "'attribution'"),
    "no evaluation": (lambda: et.plot_learning_curve([]), "'eval_loss'"),
    "no name": (lambda: et.plot_confusion_matrix(y_true=[0, 2], y_pred=[0, 0], label_names=["a"]), r"\[2\]"),
}


@pytest.mark.parametrize(("call", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_drawn_is_refused(call, said):
    with pytest.raises(et.DataError, match=said):
        call()
