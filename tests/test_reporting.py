"""The report on one's own data: one command, one file."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from playwright.sync_api import sync_playwright

import emotion_tutorial as et
from emotion_tutorial import reporting
from emotion_tutorial.__main__ import main
from emotion_tutorial.reporting import write_report

ROOT = Path(__file__).parents[1]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def reviews(rows: int = 300, labels: int = 2) -> pd.DataFrame:
    """Return reviews with another column for slices, a cruel text, and a label that is wrong."""
    words = ["awful", "lovely", *(f"word{number}" for number in range(labels))][:labels]
    kinds = [(3 * i) % labels for i in range(rows)]
    texts = [f"the {('room', 'film', 'meal')[i % 3]} was {words[kinds[i]]}, we paid {i} coins" for i in range(rows)]
    frame = pd.DataFrame({"Review": texts, "stars": [f"{kind + 1} of {labels}" for kind in kinds]})
    frame["shop"] = ["north", "south"] * (rows // 2)
    frame["stars"] = frame["stars"].replace({"2 of 2": "<b>2</b>"})
    frame.loc[4, "Review"] = "<script>alert('awful')</script> and $x^2$ awful"
    return frame


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    reviews().to_csv(folder / "reviews.csv", index=False)
    columns = ["--text-column", "Review", "--label-column", "stars"]
    main(["report", str(folder / "reviews.csv"), *columns, "--output", str(folder / "new" / "report.html"), "--fast"])
    return folder / "new" / "report.html"


def test_fast_report_has_its_parts_and_no_code_of_ours_or_of_the_data(report):
    page = report.read_text(encoding="utf-8")
    for part in (
        "What is in the data",
        "What may cause trouble",
        "Which differences are real?",
        "In short, and what to do next",
    ):
        assert f">{part}" in page
    assert "bag of words minus majority:" in page
    assert page.index("In short") < page.index("What is in the data")  # though it is computed last
    assert "temperature" not in page  # of the transformer, which was left out
    assert "The smallest difference" in page or "They disagree too rarely" in page
    assert re.search(r"Slices by: .*shop", page)
    assert "DataWarning" in page
    assert "row in file" in page
    assert not re.search(r"<script|<link|https?://(?!arxiv\.org)", page)
    assert "import " not in page
    assert "<b>2</b>" not in page
    assert "&lt;b&gt;2&lt;/b&gt;" in page


def test_the_notebook_comes_with_it_and_knows_the_data(report):
    notebook = nbformat.read(report.with_suffix(".ipynb"), as_version=4)
    [parameters] = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    settings: dict[str, object] = {}
    exec(parameters, settings)
    assert settings["DATA"] == str(report.parents[1].resolve() / "reviews.csv")
    assert (settings["TEXT"], settings["LABEL"], settings["FAST"]) == ("Review", "stars", True)
    assert (settings["MAX_TEXTS"], settings["MAX_TOKENS"]) == (4000, 128)
    assert any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.skipif(not BROWSER, reason="needs chromium")
def test_it_opens_without_a_network(report):
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: asked.append(message.text))
        page.goto(report.as_uri())
        widths = page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
        alternatives = page.locator("img").evaluate_all("all => all.map(one => one.alt)")
        formula = page.locator("math").first.bounding_box()
        browser.close()
    assert len(widths) >= 5
    assert all(width > 0 for width in widths)
    assert all(len(text) > 20 for text in alternatives)
    assert formula is not None
    assert formula["height"] > 20
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []


def test_a_report_that_is_there_stays(report):
    before = report.stat().st_mtime_ns
    with pytest.raises(et.SettingsError, match=r"report\.html is there already.*--overwrite"):
        write_report(report.parents[1] / "reviews.csv", report, text_column="Review", label_column="stars")
    assert report.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (reviews(150), r"has 150 texts; a report needs 200 to 20,000\. Add more"),
        (reviews(200).assign(stars="good"), "1 class"),
        (reviews(606, 101), r"has 101 labels; a report needs 2 to 100\. Draw some"),
        (reviews(300).assign(stars=["a", "b"] * 149 + ["c", "a"]), "Only 1 text is left with the label 'c'"),
        (reviews(300).rename(columns={"stars": "rating"}), "no column 'stars'"),
    ],
)
def test_data_that_make_no_report_are_refused_at_once(frame, message, tmp_path, monkeypatch):
    frame.to_csv(tmp_path / "reviews.csv", index=False)
    monkeypatch.setattr(reporting, "_execute", lambda *_: pytest.fail("nothing may be executed"))
    with pytest.raises(et.DataError, match=message):
        write_report(tmp_path / "reviews.csv", tmp_path / "r.html", text_column="Review", label_column="stars")
    assert not list(tmp_path.glob("r.*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "report.pdf"}, r"report\.pdf has another suffix"),
        ({"output": "report"}, r"Name it report\.html"),
        ({"max_texts": 10}, "max_texts= is 10"),
        ({"max_tokens": 1000}, "max_tokens= is 1000"),
    ],
)
def test_settings_that_are_none_are_refused(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reviews().to_csv("reviews.csv", index=False)
    with pytest.raises(et.SettingsError, match=message):
        write_report(
            "reviews.csv", **({"output": "r.html", "text_column": "Review", "label_column": "stars"} | settings)
        )


def test_what_fails_in_the_notebook_is_said_and_what_it_found_is_kept(tmp_path, monkeypatch):
    reviews().to_csv(tmp_path / "reviews.csv", index=False)
    notebook = nbformat.read(reporting.NOTEBOOK, as_version=4)
    place = next(place for place, cell in enumerate(notebook.cells) if cell.source.startswith("findings = "))
    notebook.cells[place].source = "raise et.DataError('these texts are odd')"
    nbformat.write(notebook, tmp_path / "own.ipynb")
    monkeypatch.setattr(reporting, "NOTEBOOK", tmp_path / "own.ipynb")
    given = {"text_column": "Review", "label_column": "stars", "fast": True}
    with pytest.raises(et.DataError, match=r"^these texts are odd$"):
        write_report(tmp_path / "reviews.csv", tmp_path / "r.html", **given)
    kept = nbformat.read(tmp_path / "r.ipynb", as_version=4)
    assert any(cell.get("outputs") for cell in kept.cells[:place])
    notebook.cells[place].source = "1 / 0"
    nbformat.write(notebook, tmp_path / "own.ipynb")
    with pytest.raises(et.TutorialError, match=r"'What may cause trouble'.*ZeroDivisionError: division by zero"):
        write_report(tmp_path / "reviews.csv", tmp_path / "r.html", overwrite=True, **given)


def test_the_example_is_the_notebook_that_ships():
    shipped, example = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (reporting.NOTEBOOK, ROOT / "examples" / "own_data.ipynb")
    )
    assert shipped == example
