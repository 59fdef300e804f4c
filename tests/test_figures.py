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
ODD = ["$ 1 $", "$ 2 $", "\\frac{ 100% _a_\n_b_", "漢字 مفاجأة आशा 🤔", ""]
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
    ax = et.plot_text_lengths(FRAME)
    assert rows(ax) == ["rare", "often"]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linewidth() == 2] == [1, 3]  # medians


@pytest.mark.parametrize("classes", [1, 7])
def test_a_projection_has_a_panel_per_label_with_its_texts_over_all(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(1, classes - 1), 50)  # the last label of several has no text
    points = pd.DataFrame(rng.normal(size=(50, 2)), columns=["X", "Y"])
    figure = et.plot_projection(points, labels, list("abcdefg")[:classes])
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title()[0] for ax in panels] == list("abcdefg")[:classes]
    for label, ax in enumerate(panels):
        everything, own = (dots.get_offsets() for dots in ax.collections)
        np.testing.assert_allclose(everything, points)
        np.testing.assert_allclose(own, points[labels == label])
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1


def test_scores_have_the_colors_of_their_methods():
    scores = pd.DataFrame({"value": [0.5, 0.6], "low": 0.4, "high": 0.7}, index=["probe on the mean", "mine"])
    ax = et.plot_scores(scores, title="t", xlabel="x")
    colors = [bar.lines[0].get_color() for bar in ax.containers]
    assert colors[0] == et.METHOD_COLORS["probe"]
    assert colors[1] not in {et.METHOD_COLORS["probe"], et.METHOD_COLORS["majority"]}


def test_confusion_matrix_rows_are_shares_of_the_true_label():
    ax = et.plot_confusion_matrix(y_true=[0, 0, 1, 1], y_pred=[0, 1, 1, 1], label_names=["a", "b", "c"])
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])
    assert rows(ax) == [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Predicted label", "True label")


def test_class_probabilities_keep_their_labels():
    scores = {"love": 0.2, "joy": 0.7, "fear": 0.1}
    for sort, order in ((True, ["fear", "love", "joy"]), (False, ["fear", "joy", "love"])):
        ax = et.plot_class_probabilities(scores, title="a text", sort=sort)
        assert rows(ax) == order  # from the bottom
        assert [bar.get_width() for bar in ax.patches] == [scores[name] for name in order]
        assert [text.get_text() for text in ax.texts] == [f"{scores[name]:.1%}" for name in order]


LOSSES = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}]
EVALUATIONS = [
    {"epoch": epoch, "eval_loss": loss, "eval_accuracy": accuracy, "eval_mcc": accuracy - 1}
    for epoch, loss, accuracy in ((1, 0.8, 0.7), (2, 0.6, 0.9), (3, 0.7, 0.9))
]


def test_learning_curve_marks_the_first_of_the_best_epochs_as_the_trainer_keeps_it():
    loss, accuracy = et.plot_learning_curve([*LOSSES, *EVALUATIONS]).axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0, 0.5], [0.8, 0.6, 0.7]]
    assert accuracy.lines[1].get_xydata().tolist() == [[2, 0.9]]
    assert [text.get_text() for text in accuracy.get_legend().texts] == ["validation", "best accuracy"]
    _, other = et.plot_learning_curve(EVALUATIONS, metric="mcc").axes
    assert other.lines[1].get_xydata().tolist() == [[2, pytest.approx(-0.1)]]
    assert other.get_ylim()[0] < -0.3


def test_learning_curve_ends_with_the_training_and_draws_what_there_is():
    later = {"epoch": 3, "eval_loss": 0.1, "eval_accuracy": 1.0}  # as trainer.evaluate(test) adds
    figure = et.plot_learning_curve([*EVALUATIONS, {"epoch": 3, "train_runtime": 9.0, "train_loss": 1.0}, later])
    assert figure.axes[1].lines[1].get_xydata().tolist() == [[2, 0.9]]
    assert [len(line.get_ydata()) for ax in figure.axes for line in ax.lines] == [3, 3, 1]
    for log, lines in ((LOSSES, [1]), ([{"epoch": 0, "eval_accuracy": 0}], [2]), ([LOSSES[0], {"loss": np.nan}], [1])):
        assert [len(ax.lines) for ax in et.plot_learning_curve(log).axes] == lines


def test_scores_have_their_intervals_with_the_best_on_top():
    ax = et.plot_scores(SCORES, title="t", xlabel="x")
    assert rows(ax) == ["poor", "good"]
    assert [text.get_text() for text in ax.texts] == ["50.0%", "90.0%"]
    bars = [bar.get_segments()[0][:, 0] for bar in ax.collections]
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


def confusion_matrix(names, ax):
    return et.plot_confusion_matrix(y_true=[0], y_pred=[1], label_names=names, title=names[0], ax=ax)


def plot_scores(names, ax):
    scores = SCORES.iloc[[1] * len(names)].set_axis(names)
    return et.plot_scores(scores, title=names[0], xlabel=names[1], ax=ax)


ONE_PANEL = {
    "class distribution": lambda names, ax: et.plot_class_distribution(pd.DataFrame({"label_name": names}), ax=ax),
    "text lengths": lambda names, ax: et.plot_text_lengths(pd.DataFrame({"text": "a b", "label_name": names}), ax=ax),
    "confusion matrix": confusion_matrix,
    "probabilities": lambda names, ax: et.plot_class_probabilities(dict.fromkeys(names, 0.1), title=names[0], ax=ax),
    "scores": plot_scores,
    "explanation": lambda names, ax: et.plot_explanation(explanation(names, [0.1] * len(names)), ax=ax),
}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("draw", ONE_PANEL.values(), ids=ONE_PANEL)
def test_given_axes_are_used_and_any_label_is_drawn(draw):
    with pytest.raises(et.SettingsError, match=r"ax= is a ndarray.*axes\[0\]"):
        draw(ODD, np.array([None, None]))
    figure, ax = plt.subplots(figsize=(7, 6))
    assert draw(ODD, ax) is ax
    figure.canvas.draw()  # a dollar sign that is read as a formula fails here
    if len(rows(ax)) == len(ODD):
        boxes = sorted((label.get_window_extent() for label in ax.get_yticklabels()), key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 2 for low, high in pairwise(boxes))  # none covers another


@pytest.mark.parametrize("draw", [draw for kind, draw in ONE_PANEL.items() if kind != "explanation"])
def test_a_thousand_labels_fit_on_a_page(draw, tmp_path):
    ax = draw([f"label {i}" for i in range(1000)], None)
    assert max(ax.figure.get_size_inches()) <= 25
    assert len(rows(ax)) <= 60
    assert len(ax.texts) <= 60
    ax.figure.canvas.draw()


NAMED = pd.DataFrame({"text": ["a", "b"], "label_name": ["x", None]}, index=[5, 5])
POINTS = pd.DataFrame({"X": [3.0, 3], "Y": [0.0, 0]})
SCORE = {"title": "", "xlabel": ""}
REFUSED = [
    (lambda: et.plot_text_lengths(pd.DataFrame({"label_name": ["a"]})), "text, label_name"),
    (lambda: et.plot_class_distribution(NAMED[:0]), "0 rows"),
    (lambda: et.plot_class_distribution(NAMED[["label_name"] * 2]), "one column label_name"),
    (lambda: et.plot_class_distribution(NAMED), r"label_name\[1\] \(index 5\) is missing"),
    (lambda: et.plot_projection(POINTS.assign(X=[0, np.inf]), [0, 0], ["a"]), r"\[1\]"),
    (lambda: et.plot_projection(POINTS, [0, 1], ["a"]), r"labels\[1\] is 1"),
    (lambda: et.plot_projection(POINTS, [0, 0], range(80)), "80 labels"),
    (lambda: et.plot_scores(SCORES[["value"]], **SCORE), "low, high"),
    (lambda: et.plot_scores(SCORES * 100, **SCORE), "from 50 to 90. Give shares"),
    (lambda: et.plot_scores(SCORES.assign(low=np.nan), **SCORE), r"scores\[0\]"),
    (lambda: et.plot_explanation(explanation(["a", "b"], [1, np.nan])), r"\[1\]"),
    (lambda: et.plot_explanation(explanation(["a"], [1]), bars=0), "bars"),
    (lambda: et.plot_learning_curve(EVALUATIONS, metric="f1"), "eval_f1.*eval_mcc"),
    (lambda: et.plot_class_probabilities({"a": 0.2, "b": 4.5}), "4.5"),
    (lambda: et.plot_class_probabilities({"a": np.nan}), "nan"),
    (lambda: et.plot_confusion_matrix(y_true=[0, 2], y_pred=[0, 0], label_names=["a"]), r"y_true\[1\] is 2"),
]


@pytest.mark.parametrize(("call", "said"), REFUSED)
def test_what_cannot_be_drawn_is_refused(call, said):
    with pytest.raises((et.DataError, et.SettingsError), match=said):
        call()


def test_points_in_one_place_are_drawn():
    for distance in (0, 1e-12, 1e9):
        et.plot_projection(POINTS.assign(X=[3, 3 + distance]), [0, 1], ["a", "b"]).canvas.draw()


def test_methods_have_colors_of_their_own():
    assert len({*et.METHOD_COLORS.values()}) == len(et.METHOD_COLORS)
    assert {"majority", "bag of words", "probe", "fine-tuned"} <= et.METHOD_COLORS.keys()
