"""Each error on docs/troubleshooting.md is provoked, and says what the page says that it says."""

import re
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch
from pets import build

import emotion_tutorial as et

PAGE = (Path(__file__).parents[1] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SHOWN = {
    title: error
    for section in PAGE.split("\n### ")[1:]
    for title, error in [re.match(r"(.*)\n\n```\n(.*?)```", section, re.DOTALL).groups()]
}
COLUMNS = {"text_column": "review", "label_column": "stars"}
ROWS = [f"text {i},{i % 3}" for i in range(90)]


def write(name: str, *rows: str, header: str = "review,stars", encoding: str = "utf-8") -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("\n".join([header, *rows, ""]), encoding=encoding)


def not_installed(request):
    request.getfixturevalue("monkeypatch").setitem(sys.modules, "onnxruntime", None)
    et.OnnxClassifier("model")


def other_columns(request):
    write("reviews.csv", *ROWS)
    et.load_splits("reviews.csv")


def other_encoding(request):
    write("reviews.csv", *ROWS, "a nice café nearby,2", encoding="cp1252")
    et.load_splits("reviews.csv", **COLUMNS)


def one_text(request):
    write("reviews.csv", *ROWS, "the only one,3")
    et.load_splits("reviews.csv", **COLUMNS)


def no_test_labels(request):
    write("reviews/train.csv", *ROWS)
    write("reviews/test.csv", "good", "bad", header="review")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = et.load_splits("reviews", **COLUMNS)
    assert len(splits["test"]) == 9  # as the page says, a tenth
    raise caught[0].message


def no_network(request):
    request.getfixturevalue("hub").close()
    et.load_splits("hub")


def data_set_script(request):
    hub = request.getfixturevalue("hub")
    hub.add_repo("someone/own", {"own.py": b"print('never')"}, repo_type="dataset")
    et.load_splits("someone/own")


def other_labels(request):
    et.load_classifier("pets", ["cat", "dog"], "cpu").save_pretrained("saved")
    et.load_tokenizer("pets").save_pretrained("saved")
    et.load_classifier("saved", ["bad", "good"], "cpu")


def diverged(request):
    build(request.getfixturevalue("splits"), "pets", Path("out"), learning_rate=1e7).train()


def full_memory(request):
    if sys.platform != "linux":
        pytest.skip("other systems say it in other words")
    torch.empty(2**50)


def no_safetensors(request):
    torch.save(et.load_encoder("pets", "cpu").state_dict(), "pets/pytorch_model.bin")
    Path("pets/model.safetensors").unlink()
    et.load_encoder("pets", "cpu")


def old_export(request):
    model, tokenizer = et.load_classifier("pets", ["cat", "dog"], "cpu"), et.load_tokenizer("pets")
    et.save_model(model, tokenizer, "saved")
    et.export_onnx(model, tokenizer, "saved/onnx", quantize=False)
    model.classifier.weight.data += 1
    et.save_model(model, tokenizer, "saved")
    et.OnnxClassifier("saved")


PROVOKED = {
    "Something is not installed": not_installed,
    "The columns have other names": other_columns,
    "Letters are in another encoding": other_encoding,
    "A label has only one text": one_text,
    "The test texts have no labels": no_test_labels,
    "The Hub can't be reached": no_network,
    "A data set is a program": data_set_script,
    "The checkpoint has other labels": other_labels,
    "The training diverged": diverged,
    "The memory is full": full_memory,
    "A checkpoint has no safetensors": no_safetensors,
    "An export is out of date": old_export,
}


@pytest.mark.parametrize("title", SHOWN)
def test_error_says_what_the_page_shows(title, request, tmp_path, monkeypatch, tiny_checkpoint):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_checkpoint, "pets")
    with pytest.raises((et.TutorialError, et.DataWarning, RuntimeError)) as caught:
        PROVOKED[title](request)
    said = f"{caught.type.__name__}: {caught.value}"
    pattern = ".*".join(map(re.escape, " ".join(SHOWN[title].split()).split("…")))
    assert re.fullmatch(pattern, " ".join(said.split())), said


def test_every_error_is_shown():
    assert PROVOKED.keys() == SHOWN.keys()
