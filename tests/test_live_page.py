"""The page that classifies in a browser, served from this machine to a real one."""

import http.server
import json
import re
import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

import emotion_tutorial as et
from emotion_tutorial import live_page
from emotion_tutorial.__main__ import main
from emotion_tutorial.live_page import write_page

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / ".venv" / "js" / "node_modules"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_packages = pytest.mark.skipif(not PACKAGES.is_dir(), reason="needs what `make test` fetches with npm")
needs_browser = pytest.mark.skipif(not (BROWSER and PACKAGES.is_dir()), reason="needs chromium and Node.js")
EXAMPLES = ["What a day!", '<img src=x onerror="alert(1)">', "Never again."]
ODD = [
    "¡Qué sorpresa! 🤔",
    "愛している",
    "naïve coöperation\u0301",
    "a\tb\nc\u00a0d",
    "it's [SEP] here [MASK]",
    "\ufb01nally ½ ©",
    "x" * 300,
    "ΣΑΣ ΟΔΟΣ",  # JavaScript has a letter of its own for the last sigma of a word
    "a\U00020000b",  # a Han character beyond the first 65,536 characters
    "[CLS] [CLS] " + "hello " * 600,  # cut, after what looks like the beginning
    "words " * 3000 + "at the end",
]


@pytest.fixture(scope="module")
def export(corpus, tmp_path_factory) -> Path:
    """Fine-tune the bundled encoder for a few steps, enough for labels that differ, and export it."""
    folder = tmp_path_factory.mktemp("live")
    splits = et.load_splits("embedded")
    splits["train"] = splits["train"].select(range(256))
    splits["validation"] = splits["validation"].select(range(32))
    settings = {"learning_rate": 5e-4, "epochs": 1, "batch_size": 32}
    trainer = et.build_trainer(splits, "embedded", output_dir=folder / "training", use_cpu=True, **settings)
    trainer.train()
    return et.export_onnx(trainer.model, trainer.processing_class, folder / "onnx")


@pytest.fixture(scope="module")
def page(export, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "new"
    return write_page(export, folder, title="A & <b>", examples=EXAMPLES, packages=PACKAGES)


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Page, list[str]]]:
    """Serve a folder, and open its page in a browser; give it, and what it requests or complains about."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin, noticed = f"http://127.0.0.1:{server.server_port}/", []
    expect.set_options(timeout=60_000)  # milliseconds: a busy machine is slow to answer
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        shown = browser.new_page()
        shown.on("request", lambda request: request.url.startswith(origin) or noticed.append(request.url))
        shown.on("pageerror", lambda error: noticed.append(str(error)))
        shown.on("dialog", lambda dialog: noticed.append(dialog.message))
        shown.goto(origin)
        yield shown, noticed
        browser.close()
    server.shutdown()


def ask(shown: Page, text: str, names: list[str]) -> list[float]:
    """Type a text, and return the probabilities that the page shows, in label-id order."""
    shown.get_by_label("Your text").fill(text)
    shown.keyboard.press("Enter")
    expect(shown.locator(".answer")).to_be_visible()
    bars = shown.locator("[data-probability]").evaluate_all("all => all.map(one => one.dataset.probability)")
    shown_names = shown.locator(".bars dt").all_text_contents()
    found = dict(zip(shown_names, map(float, bars), strict=True))
    return [found[name] for name in names]


def compared(page: Path, texts: list[str]) -> None:
    """Check that a browser gives the label and the probabilities that `OnnxClassifier` gives."""
    with warnings.catch_warnings(action="ignore", category=et.DataWarning):  # some texts are cut
        expected = et.OnnxClassifier(page / "model").predict_proba(texts)
    with opened(page) as (shown, noticed):
        found = np.array([ask(shown, text, [*expected]) for text in texts])
    assert noticed == []
    assert abs(found - expected.to_numpy()).max() < 0.01
    assert (found.argmax(axis=1) == expected.to_numpy().argmax(axis=1)).all()
    assert len(set(found.argmax(axis=1))) > 1


@needs_browser
def test_browser_answers_as_the_classifier_does(page, corpus):
    compared(page, corpus["validation"]["text"][:20] + ODD)


@pytest.mark.slow
@needs_browser
def test_browser_answers_as_the_classifier_does_on_many_texts(page, corpus):
    compared(page, corpus["validation"]["text"][:200])


@needs_packages
def test_the_page_is_small_and_follows_the_export(page, export, corpus):
    assert sum(path.stat().st_size for path in page.rglob("*") if path.is_file()) < 45e6
    texts = corpus["validation"]["text"][:100]
    labels = [et.OnnxClassifier(folder).predict_proba(texts).idxmax(axis=1) for folder in (export, page / "model")]
    assert (labels[0] == labels[1]).mean() >= 0.9  # which rounds activations, and which does not
    notices = (page / "NOTICES.txt").read_text(encoding="utf-8")
    assert "Apache License" in notices
    assert "Microsoft" in notices
    assert "<h1>A &amp; &lt;b></h1>" in (page / "index.html").read_text(encoding="utf-8")


@needs_browser
def test_the_keyboard_is_enough(page):
    with opened(page) as (shown, noticed):
        expect(shown.get_by_label("Your text")).to_be_visible()
        shown.keyboard.press("Tab")  # the text
        shown.keyboard.type("What a day!")
        shown.keyboard.press("Tab")
        shown.keyboard.press("Enter")  # the button
        expect(shown.locator(".answer")).to_be_visible()
        words = shown.locator(".words mark")
        expect(words).to_have_text(["What", "a", "day"])
        assert all(-1 <= float(value) <= 1 for value in words.evaluate_all("all => all.map(one => one.dataset.effect)"))
        expect(shown.locator(".tokens code").first).to_have_text("[CLS]")
        shown.keyboard.press("Tab")
        shown.keyboard.press("Tab")
        shown.keyboard.press("Space")  # the second example, which is shown as text
        expect(shown.locator(".words")).to_contain_text("onerror")
    assert noticed == []


@needs_browser
def test_nothing_typed_too_long_and_the_newest_text_wins(page):
    with opened(page) as (shown, noticed):
        shown.get_by_role("button", name="Classify").click()
        expect(shown.get_by_role("status")).to_have_text("Please type a text first.")
        long = "what a day " * 400
        ask(shown, long, [])
        expect(shown.get_by_role("status")).to_contain_text("cut at 512 tokens")
        ask(shown, "Never again.", [])
        expect(shown.locator(".words mark")).to_have_text(["Never", "again"])
        shown.wait_for_timeout(500)
        expect(shown.locator(".words mark")).to_have_text(["Never", "again"])
    assert noticed == []


@needs_browser
def test_below_the_threshold_the_page_would_rather_not_say(export, tmp_path):
    with opened(write_page(export, tmp_path / "page", threshold=1.0, packages=PACKAGES)) as (shown, _):
        shown.get_by_label("Your text").fill("What a day!")
        shown.keyboard.press("Enter")
        expect(shown.locator(".answer")).to_have_text("I would rather not say.")
        expect(shown.get_by_text("is my best guess")).to_be_visible()


@needs_browser
def test_a_file_that_is_missing_is_named(page, tmp_path):
    broken = shutil.copytree(page, tmp_path / "page")
    (broken / "model" / "model.onnx").unlink()
    with opened(broken) as (shown, _):
        shown.get_by_label("Your text").fill("What a day!")
        shown.keyboard.press("Enter")
        expect(shown.get_by_role("status")).to_contain_text("model/model.onnx could not be loaded (404)")


@needs_browser
def test_a_page_that_was_replaced_while_it_was_open_says_so(page, export, tmp_path):
    folder = shutil.copytree(page, tmp_path / "page")
    with opened(folder) as (shown, _):
        expect(shown.get_by_label("Your text")).to_be_visible()
        write_page(export, folder, threshold=0.5, packages=PACKAGES)
        shown.get_by_label("Your text").fill("What a day!")
        shown.keyboard.press("Enter")
        expect(shown.get_by_role("status")).to_contain_text("the page has changed since it was opened")


@needs_packages
def test_layers_that_share_weights_and_tokenizers_that_browsers_cut_otherwise(export, tmp_path):
    model = onnx.load(export / "model.onnx")
    products = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    same = [node for node in products if node.input[1] != products[0].input[1]]
    shapes = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    same = [node for node in same if shapes[node.input[1]] == shapes[products[0].input[1]]]
    same[0].input[1], same[0].input[3] = products[0].input[1], products[0].input[3]
    shared = shutil.copytree(export, tmp_path / "shared")
    onnx.save(model, shared / "model.onnx")
    page = write_page(shared, tmp_path / "page", packages=PACKAGES)
    found, expected = (et.OnnxClassifier(folder).predict_proba(EXAMPLES) for folder in (page / "model", shared))
    assert abs(found - expected).to_numpy().max() < 0.3  # which rounds activations, and which does not
    rules = json.loads((shared / "tokenizer.json").read_text(encoding="utf-8"))
    rules["model"] = {"type": "Unigram", "unk_id": 0, "vocab": [["[UNK]", 0.0], ["[PAD]", 0.0]]}
    (shared / "tokenizer.json").write_text(json.dumps(rules), encoding="utf-8")
    before = (page / "page.json").read_bytes()
    with pytest.raises(et.CheckpointError, match="unigram"):
        write_page(shared, page, packages=PACKAGES)
    assert (page / "page.json").read_bytes() == before


@needs_packages
def test_command_writes_the_page(export, tmp_path, capsys):
    choices = ["--title", "Which mood?", "--example", "What a day!", "--threshold", "0.5", "--packages", str(PACKAGES)]
    main(["page", str(export), str(tmp_path / "page"), *choices])
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(tmp_path / "page")
    settings = json.loads((tmp_path / "page" / "page.json").read_text(encoding="utf-8"))
    assert settings["examples"] == ["What a day!"]
    assert settings["threshold"] == 0.5
    assert not list((tmp_path / "page").rglob("package.json"))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"threshold": 76}, et.SettingsError, "threshold= is 76"),
        ({"examples": [3]}, et.DataError, "examples="),
        ({"title": " "}, et.SettingsError, "title="),
        ({"limits": None}, et.SettingsError, "limits="),
        ({"packages": "nowhere"}, et.NotFoundError, "nowhere has no onnxruntime-web"),
    ],
)
def test_settings_that_are_none_are_refused(settings, error, message, export, tmp_path):
    with pytest.raises(error, match=message):
        write_page(export, tmp_path / "page", **settings)
    assert not list((tmp_path / "page").glob("*.html"))


def test_no_export_no_npm_and_other_scripts_are_refused(export, tmp_path, monkeypatch):
    with pytest.raises(et.CheckpointError, match=r"is no export: it has no model\.onnx"):
        write_page(tmp_path, tmp_path / "page")
    with pytest.raises(et.SettingsError, match="holds the model"):
        write_page(export, export, packages=PACKAGES)
    monkeypatch.setattr(live_page.shutil, "which", lambda name: None)
    with pytest.raises(et.NotFoundError, match="npm is not installed"):
        write_page(export, tmp_path / "page")
    for path in live_page.COPIED:
        (tmp_path / "js" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "js" / path).write_text("another version")
    with pytest.raises(et.DataError, match=r"is not that of .*onnxruntime-web 1\.30\.0"):
        write_page(export, tmp_path / "page", packages=tmp_path / "js")


def test_scripts_and_pages_name_no_other_host():
    for path in (ROOT / "emotion_tutorial" / "live").iterdir():
        assert not re.search(r"https?://", path.read_text(encoding="utf-8")), path
