"""docs/results.json, the predictions that it is computed from, and the tables that are made from it."""

import json
import sys
from pathlib import Path

import pytest

import emotion_tutorial as et
from emotion_tutorial.caching import digest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from results import PARTS, RESULTS, cheap_classifiers, summarize  # noqa: E402
from tables import pages, refresh, tables, write_tables  # noqa: E402


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_tables_show_what_was_measured(path, results):
    assert refresh(path, tables(results)) == path.read_text(encoding="utf-8"), "run python benchmarks/tables.py"


def test_numbers_follow_from_the_predictions(results):
    assert summarize(results) == results


def test_numbers_are_of_the_texts_and_settings_as_they_are(results, corpus):
    assert results["parts"].keys() == PARTS.keys()
    for name, part in results["parts"].items():
        profile = et.get_profile("real" if "tweets" in name else "quick")
        assert part["settings"].items() >= (profile.hyperparameters | {"seed": part["settings"]["seed"]}).items()
        if "tweets" not in name:
            assert part["data"] == digest(*corpus.values())


def test_the_readme_shows_the_test_split(results):
    assert tables(results)["test"] in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_is_cheap_is_measured_again(results, corpus):
    for name, classifier in cheap_classifiers(corpus).items():
        for split in ("validation", "test"):
            found = sum(classifier.predict(corpus[split]["text"][:]) == corpus[split]["label"][:]) / len(corpus[split])
            assert found == pytest.approx(results["scores"]["bundled"][split][name]["value"], abs=0.005), (name, split)


def test_a_table_is_replaced_and_the_text_around_it_stays():
    text = "before\n<!-- results: one -->\nold\n\nolder\n<!-- end of results -->\nafter <!-- results: two"
    found = write_tables(text, {"one": "| new |"})
    assert found == "before\n<!-- results: one -->\n| new |\n<!-- end of results -->\nafter <!-- results: two"
