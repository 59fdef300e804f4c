"""docs/results.json, and the tables that are made from it."""

import json
import sys
from pathlib import Path

import pytest

import emotion_tutorial as et
from emotion_tutorial.caching import digest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from results import RESULTS, fit_cheap, tables  # noqa: E402
from tables import pages, refresh, write_tables  # noqa: E402


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_tables_show_what_was_measured(path, results):
    assert refresh(path, tables(results)) == path.read_text(encoding="utf-8"), "run python benchmarks/results.py"


def test_numbers_are_of_the_bundled_texts_as_they_are(results, corpus):
    assert results["bundled"]["digest"] == digest(*corpus.values())
    assert tables(results)["test"] in (ROOT / "README.md").read_text(encoding="utf-8")
    profile = et.get_profile("quick")
    assert results["bundled"]["settings"] == profile.hyperparameters
    assert results["real"]["settings"] == et.get_profile("real").hyperparameters


def test_what_is_cheap_is_measured_again(results, corpus):
    for name, classifier in fit_cheap(corpus).items():
        for split in ("validation", "test"):
            found = classifier.score(corpus[split]["text"][:], corpus[split]["label"][:])
            assert found == pytest.approx(results["bundled"][split][name]["accuracy"], abs=0.005), (name, split)


def test_a_table_is_replaced_and_the_text_around_it_stays():
    text = "before\n<!-- results: one -->\nold\n\nolder\n<!-- end of results -->\nafter <!-- results: two"
    found = write_tables(text, {"one": "| new |"})
    assert found == "before\n<!-- results: one -->\n| new |\n<!-- end of results -->\nafter <!-- results: two"
