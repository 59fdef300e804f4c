"""What the guides in docs/ show, as it stands on the page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import emotion_tutorial as et
from emotion_tutorial.__main__ import main

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for its_language, block in found if its_language == language]


JOB = yaml.safe_load(blocks("guide_ci", "yaml")[0])["jobs"]["notebooks"]
OUTPUTS = '"outputs": [{"output_type": "stream", "name": "stdout", "text": "left over"}]'


def test_notebook_of_the_guide_runs_as_a_test_and_fails_as_shown(tmp_path):
    """Save what the guide says is to be saved, and beside it a copy whose claim does not hold and that has outputs."""
    [notebook], [test], [shown] = (blocks("guide_ci", language) for language in ("json", "python", ""))
    broken = notebook.replace("> 0.9", "> 0.99").replace('"outputs": []', OUTPUTS, 1)
    files = {"notebooks/accuracy.ipynb": notebook, "notebooks/broken.ipynb": broken, "tests/test_notebooks.py": test}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    command = [sys.executable, *JOB["steps"][-1]["run"].split()[1:], "-rA", "-p", "no:cacheprovider"]
    options = "-p nbmake.pytest_plugin -p xdist.plugin"  # those that the guide installs: the others take seconds
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": options}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    outcomes = re.findall(r"^(PASSED|FAILED) \S*(accuracy|broken)\.ipynb", done.stdout, re.MULTILINE)
    assert sorted(outcomes) == [("FAILED", "broken")] * 2 + [("PASSED", "accuracy")] * 2, done.stdout + done.stderr
    said, expected = (
        re.sub(r"(?<=Error: 0.9)\d+", "", re.sub(r"\x1b\[[0-9;]*m", "", text)).splitlines()
        for text in (done.stdout, shown)
    )
    lines = iter(said)
    assert all(line in lines for line in expected)  # in this order


def test_workflow_of_the_guide_is_pinned_as_ours():
    ours = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    used = [step["uses"] for step in JOB["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in used)
    assert [action for action in used if action not in ours] == [used[-1]]  # the cache, which we have no need for


def test_lines_of_the_guide_to_own_data_run_and_its_table_is_what_they_print(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{['good', 'bad', 'fair'][i % 3]} number {i},{i % 3}" for i in range(300)]
    (tmp_path / "reviews.csv").write_text("\n".join(["review,stars", *rows]))
    names: dict = {}
    with pytest.warns(et.DataWarning, match="30 stratified rows"):  # a tenth, as the guide says
        exec("".join(blocks("guide_own_data", "python")), names)
    assert names["scores"].loc[("overall", "accuracy"), "value"] == 1
    printed = [line.split() for line in capsys.readouterr().out.splitlines()[-4:]]
    page = (ROOT / "docs" / "guide_own_data.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([\d,]+) \| ([\d.]+)(?: points)? \| ([\d.]+)(?: points)? \|$", page, re.MULTILINE)
    assert [[texts.replace(",", ""), *points] for texts, *points in table] == printed
    differences = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))["differences"]
    for data, texts, share in (("bundled", 1000, 0.31), ("tweets", 2000, 0.09)):
        found = differences[data]["test"]["fine-tuned - bag of words"]
        assert round((found["only_a_right"] + found["only_b_right"]) / texts, 2) == share


def test_command_of_the_guide_to_own_data_has_the_options_that_the_guide_names(capsys):
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    page = (ROOT / "docs" / "guide_own_data.md").read_text(encoding="utf-8").partition("## The notebooks on")[0]
    assert {"--text-column", "--output"} < set(re.findall(r"--[a-z-]+", page.partition("## One command")[2])) <= options
