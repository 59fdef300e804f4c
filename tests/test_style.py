import matplotlib.pyplot as plt

import emotion_tutorial as et


def test_style_is_applied():
    with plt.rc_context():
        et.use_style()
        assert plt.rcParams["axes.titlelocation"] == "left"


def test_fonts_for_other_scripts_are_those_that_are_installed(monkeypatch):
    monkeypatch.setattr("emotion_tutorial.style.get_font_names", lambda: ["Symbola", "Noto Sans CJK JP", "Arial"])
    with plt.rc_context():
        et.use_style()
        assert plt.rcParams["font.family"] == ["sans-serif", "Noto Sans CJK JP", "Symbola"]


def test_a_font_without_bold_is_no_news(caplog):
    with plt.rc_context():
        et.use_style()
        plt.rcParams["font.family"] = ["sans-serif", "cmtt10"]  # matplotlib's own, in one weight only
        plt.figure().suptitle("one", weight="bold")
        plt.gcf().canvas.draw()
    assert caplog.text == ""
