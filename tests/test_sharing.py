"""Saving and the model card; pushing is tested against the Hub on loopback in test_hub.py."""

import copy
import errno
import json
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
from huggingface_hub import EvalResult, ModelCard, metadata_load
from markdown_it import MarkdownIt
from transformers import pipeline, set_seed

from emotion_tutorial import evaluate, load_classifier, load_tokenizer, predict_proba, save_model
from emotion_tutorial.corpus import EMOTIONS
from emotion_tutorial.exceptions import DataError, DataWarning, TutorialError

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


@pytest.fixture
def other(model):
    """Return a model with other weights and other names."""
    other = copy.deepcopy(model)
    other.config.id2label = dict(enumerate(["non", "oui", "si"]))
    other.classifier.weight.data += 1
    return other


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


def test_label_names_in_a_list_can_be_loaded_again(other, tokenizer, tmp_path):
    other.config.id2label = NAMES
    loaded = load_classifier(save_model(other, tokenizer, tmp_path), device="cpu")
    assert loaded.config.id2label == dict(enumerate(NAMES))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hyperparameters": [1]}, r"hyperparameters= is \[1\]\. Give a dictionary"),
        ({"metrics": {"accuracy": 1}}, "metrics= has no column 'name'.*what evaluate returns"),
        ({"metrics": evaluate([0, 1], [0, 1], ["x", "yes"])}, "labels {'x'}, which are not the model's: .*'no', 'yes'"),
    ],
)
def test_what_the_card_cannot_say_is_refused(model, tokenizer, tmp_path, options, said):
    with pytest.raises(TutorialError, match=said):
        save_model(model, tokenizer, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_saved_tokenizer_does_not_remember_its_last_call(model, tokenizer, tmp_path):
    used = copy.deepcopy(tokenizer)
    used(TEXTS, truncation=True, max_length=3, padding=True)
    backend = load_tokenizer(save_model(model, used, tmp_path)).backend_tokenizer
    assert (backend.truncation, backend.padding) == (None, None)
    assert used.backend_tokenizer.truncation["max_length"] == 3  # the caller's own is left as it was


def test_saving_deletes_nothing(model, tokenizer, tmp_path):
    (tmp_path / "onnx").mkdir()
    others = [tmp_path / "notes.txt", tmp_path / "onnx" / "model.onnx"]
    for path in (*others, tmp_path / "config.json"):
        path.write_text("{}")
    for _ in range(2):
        save_model(model, tokenizer, tmp_path)
        assert [path.read_text() for path in others] == ["{}", "{}"]
        assert list(load_classifier(tmp_path, device="cpu").config.id2label.values()) == NAMES


@pytest.mark.parametrize("failing", ["write", "move"])
def test_save_that_fails_leaves_the_old_model_whole(model, tokenizer, tmp_path, monkeypatch, failing):
    """On Windows, another program may have the weights mapped into its memory."""
    folder = save_model(model, tokenizer, tmp_path, limits=["first"])
    before, refused = contents(folder), Mock(side_effect=PermissionError(errno.EACCES, "denied"))
    monkeypatch.setattr(*((tokenizer, "save_pretrained") if failing == "write" else (os, "replace")), refused)
    with pytest.raises(PermissionError, match="denied"):
        save_model(model, tokenizer, folder, limits=["second"])
    assert contents(folder) == before
    assert len(list(folder.iterdir())) == len(before)  # nothing is left of the new one


def test_killed_save_leaves_the_old_model_or_the_new_one(model, other, tokenizer, tmp_path):
    """A signal may come before and after each move of a file; never are new names above old weights."""
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


def test_readers_and_savers_wait_for_each_other(model, other, tokenizer, tmp_path):
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


ODD = ["a | b", "`code`", "one\n---\ntwo", "<script>alert(1)</script>", "[x](javascript:y)", "# *big*", "{{ 7 * 7 }}"]
ODD += ["&lt;", ""]


def test_card_shows_odd_names_as_they_are(tiny_checkpoint, tokenizer, tmp_path):
    names = [*ODD, "snake_case", "plain"]
    odd = load_classifier(tiny_checkpoint, names, "cpu")
    row = {"name": ODD[0], "metric": "f1", "value": 0.9, "low": 0.8, "high": 1.0, "support": 50}
    metrics = pd.DataFrame([row | {"name": name} for name in names])
    given = {"name": ODD[2], "data": ODD[2], "metrics": metrics, "hyperparameters": {ODD[0]: ODD[3]}}
    text = card_of(odd, tokenizer, tmp_path, **given)
    assert ModelCard(text).data.model_name == ODD[2]
    html = MarkdownIt("commonmark").enable("table").render(ModelCard(text).text)
    shown = re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)
    assert not re.findall(r"<(?!/?(?:h\d|p|pre|table|thead|tbody|tr|td|th|ul|li)\b)", shown)
    cells = [unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", shown)]
    for name in names:
        assert " ".join(name.split()) in cells
    assert len(cells) == 5 * len(names) + 2


@pytest.fixture(scope="module")
def metrics() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, 200)
    return evaluate(y_true, np.where(rng.random(200) < 0.8, y_true, 0), NAMES)


def test_card_says_what_was_given(model, tokenizer, tmp_path, metrics):
    given = {"name": "mine", "metrics": metrics, "hyperparameters": {"learning_rate": 2e-4, "seed": 3}}
    text = card_of(model, tokenizer, tmp_path, limits=["Tested on English only."], **given)
    accuracy = metrics.loc[("overall", "accuracy")]
    measured = f"{accuracy['value']:.3f} | {accuracy['low']:.3f} to {accuracy['high']:.3f} | 200 |"
    for line in ("one of 3 labels: no, yes, a\\|b.", f"| overall | accuracy | {measured}", r"| a\|b | f1 |",
                 "at most 512 tokens", "- Tested on English only.", "| learning_rate | 0.0002 |",
                 "| seed | 3 |"):  # fmt: skip
        assert line in text
    read = given | {"metrics": metrics.reset_index()}  # as from a file
    assert card_of(model, tokenizer, tmp_path, limits=["Tested on English only."], **read) == text


@pytest.mark.parametrize(
    "odd", ["mine", *ODD[:-1], "no", "2024", "--- #", "a: b", "\U0001f642 \u2028\ufeff", "\ud800", np.str_("x")]
)
def test_header_reads_back_as_it_was_given(model, tokenizer, tmp_path, metrics, odd):
    given = {"name": odd, "data": "someone/reviews", "metrics": metrics, "metrics_split": odd, "license": "cc0-1.0"}
    path = save_model(model, tokenizer, tmp_path, checkpoint="embedded", language="no", **given) / "README.md"
    header = ModelCard.load(path).data  # as the Hub reads it
    assert (header.library_name, header.pipeline_tag) == ("transformers", "text-classification")
    assert (header.base_model, header.datasets) == ("sentence-transformers/all-MiniLM-L6-v2", "someone/reviews")
    assert (header.license, header.language, header.model_name) == ("cc0-1.0", "no", odd)
    expected = metrics.reset_index().query("name == 'overall'")
    kinds = {"accuracy": "accuracy", "macro_f1": "f1", "weighted_f1": "f1"}
    assert header.eval_results == [
        EvalResult("text-classification", "someone/reviews", "someone/reviews", kinds[row.metric], round(row.value, 4),
                   dataset_split=odd, metric_name=row.metric.replace("_", " "))
        for row in expected.itertuples()
    ]  # fmt: skip
    assert metadata_load(path) == header.to_dict()


def test_card_knows_the_data_of_the_course(model, tiny_checkpoint, tokenizer, tmp_path):
    """What a model of emotions is trained on and must not be used for; and for tweets there is no free license."""
    emotions = load_classifier(tiny_checkpoint, EMOTIONS, "cpu")
    texts = [card_of(emotions, tokenizer, tmp_path, data=data) for data in ("embedded", "hub", "mine.csv")]
    assert "5% of the training labels\nare wrong on purpose" in texts[0]
    assert "not a free license" in texts[1]
    headers = [ModelCard(text).data for text in texts]
    assert [header.datasets for header in headers] == [None, "dair-ai/emotion", None]
    assert [header.language for header in headers] == ["en", "en", None]
    assert [header.license for header in headers] == [None] * 3
    assert all("must not be used to judge, rank, monitor, hire,\ninsure or diagnose anyone" in text for text in texts)
    other = card_of(model, tokenizer, tmp_path, data="my reviews")
    assert "must not decide about a person on its own" in other
    assert "feel" not in other


@pytest.mark.parametrize("data", ["~/secret/mine.csv", "/secret/mine.csv", r"C:\secret\mine.csv", "./secret/mine.csv/"])
def test_card_has_only_the_last_part_of_a_path(model, tokenizer, tmp_path, data):
    text = card_of(model, tokenizer, tmp_path, data=data, checkpoint=data)
    assert "trained on mine.csv." in text
    assert "secret" not in text
    assert ModelCard(text).data.base_model is None


@pytest.mark.parametrize("split", [None, "validation"])
@pytest.mark.parametrize("untouched", [True, False, "no"])
def test_card_says_of_its_numbers_only_what_it_was_told(model, tokenizer, tmp_path, metrics, split, untouched):
    text = card_of(model, tokenizer, tmp_path, metrics=metrics, metrics_split=split, untouched=untouched)
    assert ("200 texts of a split that was not named." in text) == (split is None)
    assert ('200 texts of the split "validation".' in text) == (split == "validation")
    assert ("took part in no decision" in text) == (untouched is True)
    assert {result.dataset_split for result in ModelCard(text).data.eval_results} == {split}


@pytest.mark.parametrize("temperature", [1.25, None, "hot"])
def test_card_says_whether_probabilities_were_calibrated(model, tokenizer, tmp_path, monkeypatch, temperature):
    monkeypatch.setattr(model.config, "calibration_temperature", temperature, raising=False)
    text = card_of(model, tokenizer, tmp_path)
    assert ("calibrated with a temperature of 1.25." in text) == (temperature == 1.25)
    assert ("No calibration was recorded." in text) == (temperature != 1.25)


def test_card_claims_nothing_that_is_not_given(model, tokenizer, tmp_path):
    text = card_of(model, tokenizer, tmp_path, untouched=True)
    assert "Nothing was measured." in text
    assert "no decision" not in text
    assert {*ModelCard(text).data.to_dict()} == {"library_name", "pipeline_tag", "model_name"}
    assert "None" not in text.replace("top_k=None", "").replace("None was given for this model", "")


def test_metrics_may_be_an_accuracy_alone_but_with_its_interval(model, tokenizer, tmp_path):
    row = {"name": "overall", "metric": "accuracy", "value": 0.9, "low": 0.8, "high": 1.0, "support": 50}
    metrics = pd.DataFrame([row])
    assert "| 0.900 | 0.800 to 1.000 | 50 |" in card_of(model, tokenizer, tmp_path, metrics=metrics)
    for odd in (metrics.drop(columns=["low", "high"]), metrics.assign(low=np.nan), metrics.assign(value="high")):
        with pytest.raises(DataError, match="metrics"):
            save_model(model, tokenizer, tmp_path, metrics=odd)


def test_scores_of_a_label_that_is_called_overall_are_not_those_of_the_model(model, tokenizer, tmp_path):
    metrics = evaluate([0, 1, 1], [0, 1, 0], ["overall", "yes"])
    results = ModelCard(card_of(model, tokenizer, tmp_path, metrics=metrics)).data.eval_results
    assert [result.metric_name for result in results] == ["accuracy", "macro f1", "weighted f1"]


def test_tokens_of_an_earlier_version_do_not_win(model, tokenizer, tmp_path):
    """transformers 4 wrote `special_tokens_map.json`; transformers 5 reads it, but writes none."""
    old = dict.fromkeys(("cls_token", "bos_token"), "<s>") | dict.fromkeys(("sep_token", "eos_token"), "</s>")
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(old))
    save_model(model, tokenizer, tmp_path)
    assert load_tokenizer(tmp_path)("what a day")["input_ids"] == tokenizer("what a day")["input_ids"]
