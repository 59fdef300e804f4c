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
ODD = ["$ 1 $ \ud83d", "$ 2 $", "\\frac{ 100% _a_\n_b_", "漢字 مفاجأة आशा 🤔", ""]
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


LOSSES = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}]
EVALUATIONS = [
    {"epoch": epoch, "eval_loss": loss, "eval_accuracy": accuracy, "eval_mcc": accuracy - 1}
    for epoch, loss, accuracy in ((1, 0.8, 0.7), (2, 0.6, 0.9), (3, 0.7, 0.9))
]


@pytest.mark.xfail(strict=True)
def test_learning_curve_marks_the_first_of_the_best_epochs_as_the_trainer_keeps_it():
    loss, accuracy = et.plot_learning_curve([*LOSSES, *EVALUATIONS]).axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0, 0.5], [0.8, 0.6, 0.7]]
    assert accuracy.lines[1].get_xydata().tolist() == [[2, 0.9]]
    assert [text.get_text() for text in accuracy.get_legend().texts] == ["validation", "best accuracy"]
    _, other = et.plot_learning_curve(EVALUATIONS, metric="mcc").axes
    assert other.lines[1].get_xydata().tolist() == [[2, pytest.approx(-0.1)]]
    assert other.get_ylim()[0] < -0.3
    assert other.get_legend().texts[1].get_text() == "best mcc"


@pytest.mark.xfail(strict=True)
@pytest.mark.parametrize(
    ("log", "lines"),
    [(EVALUATIONS, [1, 2]), (LOSSES, [1]), ([{"epoch": 0, "eval_accuracy": 0}], [2]), ([LOSSES[0], {"epoch": 1}], [1])],
)
def test_learning_curve_draws_what_there_is(log, lines):
    assert [len(ax.lines) for ax in et.plot_learning_curve(log).axes] == lines


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


def confusion_matrix(names, ax):
    return et.plot_confusion_matrix(y_true=[0], y_pred=[1], label_names=names, title=names[0], ax=ax)


ONE_PANEL = {
    "class distribution": lambda names, ax: et.plot_class_distribution(pd.DataFrame({"label_name": names}), ax=ax),
    "text lengths": lambda names, ax: et.plot_text_lengths(pd.DataFrame({"text": "a b", "label_name": names}), ax=ax),
    "confusion matrix": confusion_matrix,
    "probabilities": lambda names, ax: et.plot_class_probabilities(dict.fromkeys(names, 0.1), title=names[0], ax=ax),
    "scores": lambda names, ax: et.plot_scores(
        SCORES.iloc[[1] * len(names)].set_axis(names), title=names[0], xlabel=names[1], ax=ax
    ),
    "explanation": lambda names, ax: et.plot_explanation(explanation(names, [0.1] * len(names)), ax=ax),
}


@pytest.mark.xfail
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("draw", ONE_PANEL.values(), ids=ONE_PANEL)
def test_given_axes_are_used_and_any_label_is_drawn(draw):
    figure, ax = plt.subplots(figsize=(7, 6))
    assert draw(ODD, ax) is ax
    figure.canvas.draw()  # a dollar sign that is read as a formula fails here
    if len(rows(ax)) == len(ODD):
        boxes = sorted((label.get_window_extent() for label in ax.get_yticklabels()), key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 2 for low, high in pairwise(boxes))  # none covers another


@pytest.mark.xfail(strict=True)
@pytest.mark.parametrize("draw", [draw for kind, draw in ONE_PANEL.items() if kind != "explanation"])
def test_a_thousand_labels_fit_on_a_page(draw, tmp_path):
    ax = draw([f"label {i}" for i in range(1000)], None)
    figure = ax.figure
    assert max(figure.get_size_inches()) <= 25
    assert len(rows(ax)) <= 60
    assert len(ax.texts) <= 60
    figure.savefig(tmp_path / "figure.png", dpi=200)


@pytest.mark.xfail
@pytest.mark.parametrize(("classes", "numbers"), [(12, 144), (30, 900), (31, 0)])
def test_confusion_matrix_has_numbers_while_they_can_be_read(classes, numbers):
    ax = et.plot_confusion_matrix(y_true=[0], y_pred=[1], label_names=range(classes))
    assert len(ax.texts) == numbers
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts[:classes]]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert max(ax.figure.get_size_inches()) <= 16


def points(**columns) -> pd.DataFrame:
    return pd.DataFrame({"X": [0.0, 1], "Y": [0.0, 1]} | columns)


def text_frame(**columns) -> pd.DataFrame:
    return pd.DataFrame({"text": ["a", "b"], "label_name": ["x", "y"]} | columns, index=[5, 5])


MATRIX = {"y_true": [0, 1], "y_pred": [0, 0], "label_names": ["a", "b"]}
CURVE, PROBABILITIES, DISTRIBUTION = et.plot_learning_curve, et.plot_class_probabilities, et.plot_class_distribution
REFUSED = {
    "no column": (lambda: DISTRIBUTION(pd.DataFrame({"a": [1]})), "'label_name'"),
    "no rows": (lambda: DISTRIBUTION(text_frame()[:0]), "no rows"),
    "two columns": (lambda: DISTRIBUTION(pd.DataFrame([["a", "b"]], columns=["label_name"] * 2)), "'label_name'"),
    "missing label": (
        lambda: DISTRIBUTION(text_frame(label_name=["a", None])),
        r"label_name\[1\] \(index 5\) is missing",
    ),
    "no frame": (lambda: DISTRIBUTION(["a"]), "DataFrame"),
    "no texts": (lambda: et.plot_text_lengths(pd.DataFrame({"label_name": ["a"]})), "'text'"),
    "missing text": (lambda: et.plot_text_lengths(text_frame(text=["a", np.nan])), r"text\[1\] \(index 5\) is missing"),
    "no map": (lambda: et.plot_hexbins(pd.DataFrame({"x": [1]}), [0], ["a"]), "'X', 'Y'"),
    "not on the map": (lambda: et.plot_hexbins(points(X=[0, np.nan]), [0, 0], ["a"]), r"\[1\]"),
    "unknown id on the map": (lambda: et.plot_hexbins(points(), [0, 1], ["a"]), r"labels\[1\] is 1"),
    "too many maps": (lambda: et.plot_hexbins(points(), [0, 0], [*"ab"] * 40), "80 labels"),
    "no interval": (lambda: et.plot_scores(SCORES[["value"]], title="", xlabel=""), "'low', 'high'"),
    "no score": (lambda: et.plot_scores(SCORES.replace(0.5, np.nan), title="", xlabel=""), r"\[1\]"),
    "turned interval": (lambda: et.plot_scores(SCORES.assign(high=0), title="", xlabel=""), "low"),
    "no attribution": (lambda: et.plot_explanation(pd.DataFrame({"word": ["a"]})), "'attribution'"),
    "attribution of NaN": (lambda: et.plot_explanation(explanation(["a", "b"], [1, np.nan])), r"\[1\]"),
    "no bars": (lambda: et.plot_explanation(explanation(["a"], [1]), bars=0), "bars"),
    "no evaluation": (lambda: CURVE([]), "eval_loss"),
    "no such metric": (lambda: CURVE(EVALUATIONS, metric="f1"), "eval_f1.*eval_mcc"),
    "diverged": (lambda: CURVE([*LOSSES, {"epoch": 3, "loss": np.nan}]), "loss is nan at epoch 3"),
    "a trainer": (lambda: CURVE(object()), "log_history"),
    "no probabilities": (lambda: PROBABILITIES({}), "iloc"),
    "a frame": (lambda: PROBABILITIES(pd.DataFrame({"a": [0.5]})), "iloc"),
    "a logit": (lambda: PROBABILITIES({"a": 0.2, "b": 4.5}), "'b' is 4.5"),
    "no number": (lambda: PROBABILITIES({"a": np.nan}), "'a' is nan"),
    "no name": (lambda: et.plot_confusion_matrix(**MATRIX | {"y_true": [0, 2]}), r"y_true\[1\] is 2"),
    "another length": (lambda: et.plot_confusion_matrix(**MATRIX | {"y_true": [0]}), "1 texts and 2"),
}


@pytest.mark.xfail
@pytest.mark.parametrize(("call", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_drawn_is_refused(call, said):
    with pytest.raises((et.DataError, et.SettingsError), match=said):
        call()


@pytest.mark.xfail
@pytest.mark.parametrize("distance", [0, 1e-12, 1e9])
def test_points_in_one_place_are_drawn(distance):
    et.plot_hexbins(points(X=[3, 3 + distance], Y=[3, 3]), [0, 1], ["a", "b"]).canvas.draw()
