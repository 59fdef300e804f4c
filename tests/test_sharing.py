"""Saving and the model card; pushing is tested against the Hub on loopback in test_hub.py."""

import copy
import errno
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from transformers import pipeline, set_seed

from emotion_tutorial import evaluate, load_classifier, load_tokenizer, predict_proba, push_model, save_model
from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning
from emotion_tutorial.replacing import replaced_whole

NAMES = ["no", "yes", "a|b"]
TEXTS = ["I saw a movie today and it was really good.", "", "word " * 30]
KILLED = """
import os, shutil, sys
from pathlib import Path
from emotion_tutorial.replacing import replaced_whole
source, target, moves = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
done, replace, rename = [], os.replace, os.rename
def counted(move):
    return lambda *paths: os._exit(9) if len(done) == moves else (done.append(paths), move(*paths))[1]
os.replace, os.rename = counted(replace), counted(rename)
with replaced_whole(target) as new:
    shutil.copytree(source, new, dirs_exist_ok=True)
"""


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    set_seed(0)
    return load_classifier(tiny_checkpoint, NAMES, "cpu")


def card_of(*arguments, **options) -> str:
    return (save_model(*arguments, **options) / "README.md").read_text(encoding="utf-8")


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_saved_model_predicts_the_same_here_and_in_a_pipeline(model, tokenizer, tmp_path, tiny_checkpoint):
    folder = save_model(model, tokenizer, tmp_path / "saved", checkpoint=str(tiny_checkpoint))
    expected = predict_proba(TEXTS, model, tokenizer)
    again = predict_proba(TEXTS, load_classifier(folder, device="cpu"), load_tokenizer(folder))
    pd.testing.assert_frame_equal(again, expected, check_exact=True)
    scores = pipeline("text-classification", model=str(folder), device="cpu")(TEXTS[0], top_k=None)
    assert {score["label"]: score["score"] for score in scores} == pytest.approx(expected.loc[0].to_dict(), abs=1e-6)
    assert not any(str(tmp_path.parent).encode() in data for data in contents(folder).values())  # no path of ours


def test_saving_deletes_nothing(model, tokenizer, tmp_path):
    (tmp_path / "onnx").mkdir()
    others = [tmp_path / "notes.txt", tmp_path / "onnx" / "model.onnx"]
    for path in (*others, tmp_path / "config.json"):
        path.write_text("{}")
    for _ in range(2):
        save_model(model, tokenizer, tmp_path)
        assert [path.read_text() for path in others] == ["{}", "{}"]
        assert list(load_classifier(tmp_path, device="cpu").config.id2label.values()) == NAMES


def test_interrupted_save_leaves_the_old_model_whole(model, tokenizer, tmp_path, monkeypatch):
    folder = save_model(model, tokenizer, tmp_path, limits=["first"])
    before = contents(folder)
    refusal = PermissionError(errno.EACCES, "denied")
    monkeypatch.setattr(tokenizer, "save_pretrained", Mock(side_effect=refusal))
    with pytest.raises(PermissionError) as caught:
        save_model(model, tokenizer, folder, limits=["second"])
    assert caught.value.args == refusal.args  # said as the system says it
    assert contents(folder) == before
    assert len(list(folder.iterdir())) == len(before)  # nothing is left of the new one


def test_killed_save_leaves_the_old_model_or_the_new_one(model, tokenizer, tmp_path):
    """A signal may come before and after each move of a file; never are new names above old weights."""
    other = copy.deepcopy(model)
    other.config.id2label = dict(enumerate(["non", "oui", "si"]))
    other.classifier.weight.data += 1
    new = save_model(other, tokenizer, tmp_path / "new")
    (new / ".saving.lock").unlink()
    expected = [predict_proba(TEXTS, either, tokenizer) for either in (model, other)]
    seen = []
    for moves in range(20):
        folder = save_model(model, tokenizer, tmp_path / str(moves))
        killed = subprocess.run([sys.executable, "-c", KILLED, str(new), str(folder), str(moves)], check=False)
        found = predict_proba(TEXTS, load_classifier(folder, device="cpu"), load_tokenizer(folder))
        seen.append([frame.equals(found) for frame in expected])
        assert sum(seen[-1]) == 1
        assert list(contents(folder)) == list(contents(save_model(model, tokenizer, folder)))
        assert not [path.name for path in folder.iterdir() if path.is_dir()]  # what was left is gone
        if not killed.returncode:
            break
    assert seen == [[True, False]] + [[False, True]] * moves
    assert moves == len(contents(new)) + 2  # the old configuration leaves the folder first


def test_interrupted_save_does_not_replace_what_was_written_since(model, tokenizer, tmp_path):
    other = copy.deepcopy(model)
    other.classifier.weight.data += 1
    new, folder = save_model(other, tokenizer, tmp_path / "new"), save_model(model, tokenizer, tmp_path / "old")
    (new / ".saving.lock").unlink()
    subprocess.run([sys.executable, "-c", KILLED, str(new), str(folder), "3"], check=False)
    with pytest.raises((OSError, ValueError), match=r"config\.json"):
        pipeline("text-classification", model=str(folder), device="cpu")  # new weights, and no configuration
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with pytest.raises(CheckpointError, match="changed since"):
        load_classifier(folder, device="cpu")
    again = load_classifier(save_model(model, tokenizer, folder), device="cpu")
    assert predict_proba(TEXTS, again, tokenizer).equals(predict_proba(TEXTS, model, tokenizer))
    assert (folder / "interrupted-save-1" / "config.json").is_file()


def test_readers_and_savers_wait_for_each_other(model, tokenizer, tmp_path):
    other = copy.deepcopy(model)
    other.classifier.weight.data += 1
    other.config.id2label = dict(enumerate(["non", "oui", "si"]))
    folder = save_model(model, tokenizer, tmp_path)
    expected = [predict_proba(TEXTS, either, tokenizer) for either in (model, other)]
    with ThreadPoolExecutor(1) as pool:
        saving = [pool.submit(save_model, each, tokenizer, folder) for each in (other, model) * 5]
        while not all(save.done() for save in saving):
            found = predict_proba(TEXTS, load_classifier(folder, device="cpu"), tokenizer)
            assert sum(frame.equals(found) for frame in expected) == 1


def test_card_that_was_written_by_hand_is_kept(model, tokenizer, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.warns(DataWarning, match=r"is now called README-1\.md"):
        save_model(model, tokenizer, tmp_path)
    save_model(model, tokenizer, tmp_path)
    assert (tmp_path / "README-1.md").read_text() == "mine"
    assert not (tmp_path / "README-2.md").exists()


def test_save_that_cannot_replace_the_weights_changes_nothing(model, tokenizer, tmp_path, monkeypatch):
    """On Windows, another program may have them mapped into its memory."""
    folder = save_model(model, tokenizer, tmp_path, limits=["first"])
    before = contents(folder)
    monkeypatch.setattr(os, "replace", Mock(side_effect=PermissionError(errno.EACCES, "in use")))
    with pytest.raises(PermissionError):
        save_model(model, tokenizer, folder, limits=["second"])
    assert contents(folder) == before
    assert not [path.name for path in folder.iterdir() if path.is_dir()]


def test_threads_that_save_into_one_folder_do_not_mix(tmp_path):
    def save(number: int) -> None:
        with replaced_whole(tmp_path) as new:
            for name in "abcdef":
                (new / name).write_text(str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(50)))
    assert len({(tmp_path / name).read_text() for name in "abcdef"}) == 1


ODD = [
    "a | b",
    "`code`",
    "one\n---\ntwo",
    "<script>alert(1)</script>",
    "[x](javascript:y)",
    "# *big*",
    "{{ 7 * 7 }}",
    "&lt;",
    "",
]


def test_card_shows_odd_names_as_they_are(tiny_checkpoint, tokenizer, tmp_path):
    names = [*ODD, "snake_case", "plain"]
    odd = load_classifier(tiny_checkpoint, names, "cpu")
    row = {"name": ODD[0], "metric": "f1", "value": 0.9, "low": 0.8, "high": 1.0, "support": 50}
    metrics = pd.DataFrame([row | {"name": name} for name in names])
    text = card_of(
        odd, tokenizer, tmp_path, name=ODD[2], data=ODD[2], metrics=metrics, hyperparameters={ODD[0]: ODD[3]}
    )
    assert ModelCard(text).data.model_name == ODD[2]
    html = MarkdownIt("commonmark").enable("table").render(ModelCard(text).text)
    shown = re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)
    assert not re.findall(r"<(?!/?(?:h\d|p|pre|table|thead|tbody|tr|td|th|ul|li)\b)", shown)
    cells = [unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", shown)]
    for name in names:
        assert " ".join(name.split()) in cells
    assert len(cells) == 5 * len(names) + 2


def test_card_says_what_was_given(model, tokenizer, tmp_path):
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, 200)
    metrics = evaluate(y_true, np.where(rng.random(200) < 0.8, y_true, 0), NAMES)
    given = {"data": "hub", "checkpoint": "embedded", "language": "en", "metrics": metrics}
    given |= {"hyperparameters": {"learning_rate": 2e-4}, "limits": ["Tested on English only."]}
    text = card_of(model, tokenizer, tmp_path, name="mine", **given)
    accuracy = metrics.set_index("metric").loc["accuracy"]
    measured = f"{accuracy['value']:.3f} | {accuracy['low']:.3f} to {accuracy['high']:.3f} | 200 |"
    for line in ("one of 3 labels: no, yes, a\\|b.", f"| overall | accuracy | {measured}", r"| a\|b | f1 |",
                 "at most 512 tokens", "- Tested on English only.", "| learning_rate | 0.0002 |"):  # fmt: skip
        assert line in text
    header = ModelCard(text).data  # as the Hub reads it
    assert header.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert (header.datasets, header.language) == ("dair-ai/emotion", "en")
    values = {result.metric_name: result.metric_value for result in header.eval_results}
    assert values["accuracy"] == round(accuracy["value"], 4)


def test_card_claims_nothing_that_is_not_given(model, tokenizer, tmp_path):
    text = card_of(model, tokenizer, tmp_path)
    assert "Nothing was measured." in text
    assert ModelCard(text).data.eval_results is None
    assert "None" not in text.replace("top_k=None", "")


def test_metrics_may_be_an_accuracy_alone_but_with_its_interval(model, tokenizer, tmp_path):
    row = {"name": "overall", "metric": "accuracy", "value": 0.9, "low": 0.8, "high": 1.0, "support": 50}
    metrics = pd.DataFrame([row])
    assert "| 0.900 | 0.800 to 1.000 | 50 |" in card_of(model, tokenizer, tmp_path, metrics=metrics)
    with pytest.raises(DataError, match="'low', 'high'"):
        save_model(model, tokenizer, tmp_path, metrics=metrics.drop(columns=["low", "high"]))
    with pytest.raises(TypeError, match="acuracy"):
        save_model(model, tokenizer, tmp_path, acuracy=0.9)


def test_push_wants_a_saved_model(tmp_path):
    with pytest.raises(CheckpointError, match="no saved model"):
        push_model(tmp_path, "me/mine")
