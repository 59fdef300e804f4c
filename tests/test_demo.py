"""The page of examples/app.py, built in this process, and served by another one to a browser."""

import contextlib
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import expect, sync_playwright
from transformers import pipeline

from emotion_tutorial import load_classifier

APP = Path(__file__).parents[1] / "examples" / "app.py"
ELSEWHERE = re.compile(r"^(?:https?|wss?)://(?!127\.0\.0\.1[:/]).*")
NAMES = ["calm", "cross", "merry"]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
GUARD = '''
"""Refuse and write down each host that this process looks up or connects to, except itself."""

import os
import sys

HERE = {None, "", "0.0.0.0", "127.0.0.1", "::1", "localhost"}
ASKED = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.connect": 1, "socket.sendto": 1}


def guard(event, arguments):
    if event not in ASKED:
        return
    host = arguments[ASKED[event]]
    host = host[0] if isinstance(host, tuple) else host
    host = host.decode() if isinstance(host, bytes) else host
    if host not in HERE:
        with open(os.environ["ASKED"], "a") as file:
            print(host, file=file)
        raise ConnectionRefusedError(host)


sys.addaudithook(guard)
'''


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tokenizer, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    load_classifier(tiny_checkpoint, NAMES, "cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def demo(folder, monkeypatch) -> gr.Interface:
    monkeypatch.setenv("MODEL", str(folder))
    return runpy.run_path(str(APP))["demo"]


def test_interface_is_built_without_a_server_and_answers_as_the_pipeline_does(demo, folder):
    assert not demo.is_running
    text = "I can't stop smiling today."
    expected = pipeline("text-classification", model=str(folder))(text, top_k=None)
    assert demo.fn(text) == {score["label"]: pytest.approx(score["score"]) for score in expected}
    assert set(demo.fn(text)) == set(NAMES)


@pytest.mark.parametrize("text", ["", " \n ", None])
def test_empty_text_is_met_with_a_message_and_no_prediction(demo, text, capsys):
    assert demo.fn(text) is None
    assert "Please type a text first." in capsys.readouterr().out  # on the page it is a note in the corner


def test_text_beyond_the_context_is_cut(demo):
    scores = demo.fn("what a day " * 1_000)
    assert scores == pytest.approx(demo.fn("what a day " * 2_000))
    assert sum(scores.values()) == pytest.approx(1)


@contextlib.contextmanager
def serving(folder: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Start the page in another process; give its address, and the file of the hosts that the process asks."""
    asked, log = scratch / "asked.txt", scratch / "log.txt"
    asked.touch()
    (scratch / "sitecustomize.py").write_text(GUARD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MODEL": str(folder), "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": str(scratch)}
    environment |= {"ASKED": str(asked), "PYTHONUNBUFFERED": "1"}
    del environment["HF_ENDPOINT"]  # the Hub is where it is for everyone, so that asking it is noticed
    command = [sys.executable, str(APP)]
    with (
        log.open("w") as file,
        subprocess.Popen(command, env=environment, cwd=scratch, stdout=file, stderr=subprocess.STDOUT) as process,
    ):
        try:
            while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield found[0], asked
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="needs chromium")
def test_page_answers_in_a_browser_and_asks_no_other_host(folder, demo, tmp_path):
    text, elsewhere = "Who ate my lunch?", []
    expect.set_options(timeout=60_000)  # milliseconds: a busy machine is slow to answer
    with serving(folder, tmp_path) as (address, asked), sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: elsewhere.extend(ELSEWHERE.findall(request.url)))
        page.route(ELSEWHERE, lambda route: route.abort())
        page.goto(address)
        expect(page.get_by_text("Don't use it to judge")).to_be_visible()
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_text("Please type a text first.")).to_be_visible()
        page.get_by_label("Text", exact=True).fill(text)
        page.get_by_role("button", name="Submit").click()
        scores = demo.fn(text)
        label = page.get_by_test_id("label-output-value")
        expect(label).to_have_text(max(scores, key=scores.get))
        for name in NAMES:
            expect(page.get_by_test_id("label")).to_contain_text(f"{scores[name]:.0%}")
        assert "preconnect" not in page.content()  # which is no request, and reaches the host all the same
        browser.close()
    assert elsewhere == []
    assert asked.read_text() == ""
