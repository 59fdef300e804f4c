"""The service over real HTTP, and its page in a browser."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import numpy as np
import psutil
import pytest

from emotion_tutorial import OnnxClassifier, export_onnx, load_classifier, save_model
from emotion_tutorial.__main__ import main

NAMES = ["calm", "cross", "merry"]
SECRET = "xylophone marmalade"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tokenizer, tmp_path_factory) -> Path:
    """Save a classifier with an export in it."""
    model = load_classifier(tiny_checkpoint, NAMES, "cpu").eval()
    folder = save_model(model, tokenizer, tmp_path_factory.mktemp("served") / "model")
    export_onnx(model, tokenizer, folder / "onnx")
    return folder


@contextlib.contextmanager
def serving(folder: Path, log: Path) -> Iterator[tuple[str, int]]:
    """Start the service on a free port; give its address and process id."""
    command = [sys.executable, "-m", "emotion_tutorial", "serve", str(folder), "--port", "0"]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            deadline = time.monotonic() + 120
            while not (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield found[1], process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.fixture(scope="module")
def service(folder, tmp_path_factory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with serving(folder, log) as (address, _):
        yield address
    assert "marmalade" not in log.read_text()
    assert "Traceback" not in log.read_text()


def post(service: str, body: object, path: str = "predict") -> httpx.Response:
    return httpx.post(f"{service}/{path}", json=body, timeout=60)


def test_one_text_or_a_list(service, folder):
    texts = ["what a day", SECRET, "a third text that is somewhat longer"]
    expected = OnnxClassifier(folder / "onnx").predict_proba(texts)
    answer = post(service, {"texts": texts})
    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    assert [list(p["probabilities"]) for p in predictions] == [NAMES] * 3
    found = np.array([list(p["probabilities"].values()) for p in predictions])
    assert found == pytest.approx(expected, abs=1e-3)
    assert [p["label"] for p in predictions] == [NAMES[i] for i in found.argmax(axis=1)]
    for body in ({"texts": texts[0]}, {"text": texts[0]}):
        [one] = post(service, body).json()["predictions"]
        assert one["probabilities"] == pytest.approx(predictions[0]["probabilities"], abs=1e-3)


def test_explains_words(service):
    health = httpx.get(f"{service}/health").json()
    assert (health["status"], health["labels"], health["explains"]) == ("ok", NAMES, True)
    answer = post(service, {"text": f"a day of {SECRET}"}, "explain").json()
    assert [word["word"] for word in answer["words"]] == ["a", "day", "of", *SECRET.split()]
    assert answer["label"] in NAMES
    assert any(word["attribution"] for word in answer["words"])


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"marmalade", 422, "The body is not JSON"),
        (b"", 422, "Send JSON such as"),
        (b"[]", 422, "Send JSON such as"),
        (b"{}", 422, "Send JSON such as"),
        (b"\xff\xfe", 422, "not JSON|Send JSON such as|not UTF-8"),
        (b'{"texts": []}', 422, "texts is an empty list"),
        (b'{"texts": 3}', 422, "texts is of the JSON type of int, not a string"),
        (b'{"texts": ["marmalade", null]}', 422, r"texts\[1\] is of the JSON type of NoneType"),
        (b'{"texts": "  "}', 422, "texts has no words"),
        (b'{"texts": "marmalade\\u0000"}', 422, r"control character '\\x00' at 9"),
        (b'{"texts": ["a", "\\ud800"]}', 422, r"texts\[1\] has the control character"),
        (json.dumps({"texts": ["a"] * 65}).encode(), 413, "65 texts; at most 64"),
        (json.dumps({"texts": "marmalade " * 501}).encode(), 413, r"texts\[0\] has 5,010 characters; at most 5,000"),
    ],
)
def test_refuses_with_one_sentence(service, body, status, message):
    answer = httpx.post(f"{service}/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert re.search(message, answer.json()["detail"])
    assert "marmalade" not in answer.text


def test_refuses_bodies_too_large(service):
    assert post(service, {"texts": "a" * 3_000_000}).status_code == 413

    def pieces() -> Iterator[bytes]:  # of unknown length
        yield b'{"texts": "'
        for _ in range(300):
            yield b"a" * 10_000

    with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):  # it hangs up when it has had enough
        answer = httpx.post(f"{service}/predict", content=pieces(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
    assert post(service, {"texts": "still there"}).status_code == 200


def test_refuses_other_names_and_forms_of_other_sites(service):
    assert httpx.get(f"{service}/health", headers={"Host": "evil.example"}).status_code == 400
    form = httpx.post(f"{service}/predict", content=b'{"texts": "a"}', headers={"Content-Type": "text/plain"})
    assert form.status_code == 422


def test_documents_itself_without_a_network(service):
    schema = httpx.get(f"{service}/openapi.json").json()
    assert {"/predict", "/explain", "/health"} == set(schema["paths"])
    page = httpx.get(f"{service}/docs").text
    assert not re.search(r"(?:src|href)=\"https?://", page)
    for path in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", page):
        assert httpx.get(service + path).status_code == 200


def test_listens_on_this_machine_only(service):
    port = int(service.rpartition(":")[2])
    addresses = {c.laddr.ip for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == "LISTEN"}
    assert addresses == {"127.0.0.1"}


def test_needs_no_torch(folder, tmp_path):
    """Nor does it import it, where the folder has an export only."""
    with serving(folder / "onnx", tmp_path / "log.txt") as (address, pid):
        assert post(address, {"texts": "what a day"}).status_code == 200
        assert httpx.get(f"{address}/health").json()["explains"] is False
        answer = post(address, {"text": "what a day"}, "explain")
        assert answer.status_code == 404
        assert "has no torch model" in answer.json()["detail"]
        if sys.platform.startswith("linux"):
            assert not [m.path for m in psutil.Process(pid).memory_maps() if "torch" in Path(m.path).name]


async def _hammer(service: str, clients: int, requests: int) -> None:
    """Send requests of one text from so many clients at once; each wants an answer."""
    left = iter(range(requests))

    async def client(session: aiohttp.ClientSession) -> None:
        for i in left:
            async with session.post("/predict", json={"texts": f"text number {i} of {SECRET}"}) as answer:
                assert answer.status == 200, await answer.text()
                assert len((await answer.json())["predictions"]) == 1

    async with aiohttp.ClientSession(service) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))


def test_memory_stays_flat(folder, tmp_path):
    """And many clients at once all get an answer."""
    with serving(folder / "onnx", tmp_path / "log.txt") as (address, pid):
        asyncio.run(_hammer(address, clients=50, requests=2000))
        before = psutil.Process(pid).memory_info().rss
        asyncio.run(_hammer(address, clients=50, requests=10_000))
        assert psutil.Process(pid).memory_info().rss - before < 20e6
    assert "marmalade" not in (tmp_path / "log.txt").read_text()


def test_page_works_with_the_keyboard_and_says_what_it_shows(service):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"No browser: none of {', '.join(BROWSERS)} is installed.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.goto(service)
        assert page.evaluate("document.activeElement.id") == "text"
        page.keyboard.type("<b>what</b> a day")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "button"
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text=re.compile(rf"({'|'.join(NAMES)}), \d+\.\d %")).wait_for()
        assert set(page.get_by_role("rowheader").all_inner_texts()) == set(NAMES)
        shown = [float(cell.split()[0]) for cell in page.locator("td.percent").all_inner_texts()]
        assert shown == sorted(shown, reverse=True)
        assert sum(shown) == pytest.approx(100, abs=0.2)
        page.get_by_role("status").filter(has_text="Most telling").wait_for()
        assert page.locator("mark").all_inner_texts() == ["<b>what</b>", "a", "day"]  # as text
        page.get_by_label("Your text").fill("\u0001")
        page.keyboard.press("Control+Enter")
        page.get_by_role("alert").filter(has_text="control character").wait_for()
        assert not page.get_by_role("table").is_visible()
        assert [problem for problem in problems if "422" not in problem and "favicon" not in problem] == []
        chromium.close()


def test_folder_without_an_export_is_refused_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^CheckpointError: .* is not an export"):
        main(["serve", str(tmp_path)])


def test_missing_extra_is_named(tmp_path):
    code = "import sys; sys.modules['fastapi'] = None; import emotion_tutorial; emotion_tutorial.create_app"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert 'MissingExtraError: fastapi is not installed. Run: pip install "emotion-tutorial[serve]"' in done.stderr


def test_export_from_the_command_line(folder, tmp_path, capsys):
    main(["export", str(folder), "--output", str(tmp_path / "made"), "--float32"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["folder"] == str(tmp_path / "made")
    assert said["largest_difference"] < 1e-3
    assert OnnxClassifier(tmp_path / "made").label_names == NAMES
