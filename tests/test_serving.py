"""The service, in this process; test_benchmarks.py runs it over HTTP."""

import asyncio
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import httpx
import onnxruntime
import pandas as pd
import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from emotion_tutorial import OnnxClassifier, create_app, export_onnx, load_classifier, serving

NAMES = ["calm", "cross", "merry"]
SECRET = "marmalade"
JSON = {"Content-Type": "application/json"}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tokenizer, tmp_path_factory) -> Path:
    model = load_classifier(tiny_checkpoint, NAMES, "cpu")
    return export_onnx(model, tokenizer, tmp_path_factory.mktemp("served"), quantize=False)


@pytest.fixture
def client(folder) -> TestClient:
    return TestClient(create_app(folder), base_url="http://127.0.0.1")


@pytest.mark.parametrize("prefix", ["", "/moods"])
def test_one_text_or_a_list_also_mounted_in_another_app_and_documents_itself_without_a_network(folder, prefix):
    texts = ["what a day", SECRET, "a third text that is somewhat longer"]
    expected = OnnxClassifier(folder).predict_proba(texts)
    outer = FastAPI(openapi_url=None)  # without documentation of its own
    outer.mount(prefix, create_app(folder))  # its lifespan never runs
    client = TestClient(outer, base_url="http://127.0.0.1")
    predictions = client.post(f"{prefix}/predict", json={"texts": texts}).json()["predictions"]
    found = pd.DataFrame([p["probabilities"] for p in predictions])
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)
    assert [p["label"] for p in predictions] == list(expected.idxmax(axis=1))
    [one] = client.post(f"{prefix}/predict", json={"texts": texts[0]}).json()["predictions"]
    assert one["probabilities"] == pytest.approx(predictions[0]["probabilities"], abs=1e-5)
    page = client.get(f"{prefix}/")
    assert (page.status_code, page.url.path) == (200, f"{prefix}/docs")
    links = re.findall(r"(?:src|href|url:)\s*=?\s*[\"']([^\"']+)[\"']", page.text)
    assert len(links) >= 3
    assert [client.get(path).status_code for path in links if path.startswith("/")] == [200] * len(links)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *((SECRET.encode(), 422), (b"\xff\xfe", 422), (b'["marmalade"]', 422), (b'{"texts": []}', 422)),
        *((b'{"texts": ["marmalade", null]}', 422), (b'{"texts": ""}', 422)),
        *((b'{"texts": "marmalade \\ud800"}', 422), (b'{"texts": ["marmalade", "\\ud800"]}', 422)),
        (json.dumps({"texts": [SECRET] * 64}).encode(), 200),
        (json.dumps({"texts": [SECRET] * 65}).encode(), 422),
        (json.dumps({"texts": ("marmalade " * 500)}).encode(), 200),
        (json.dumps({"texts": "marmalade " * 501}).encode(), 422),
        (b" " * 2_000_001, 413),
        ([b" " * 10_000] * 201, 413),  # of a length that is not said
    ],
    ids=range(14),
)
def test_limits_and_errors_that_never_repeat_the_text(client, body, status):
    answer = client.post("/predict", content=body, headers=JSON)
    assert answer.status_code == status
    assert SECRET not in answer.text
    documented = client.app.openapi()["paths"]["/predict"]["post"]["responses"][str(status)]["content"]
    assert answer.headers["Content-Type"].split(";")[0] in documented


def test_unknown_host_is_refused(folder, client):
    assert client.get("/health").json()["labels"] == NAMES
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400
    app = create_app(folder, allowed_hosts="*.example.com")
    for name, status in (("api.example.com", 200), ("evil.org", 400)):
        assert TestClient(app, base_url=f"http://{name}").get("/health").status_code == status


def test_requests_that_do_not_arrive_are_given_up(folder, monkeypatch):
    monkeypatch.setattr(serving, "MAX_SECONDS", 0.1)
    monkeypatch.setattr(serving, "MAX_WAITING", 2)

    async def never():
        yield b"{"
        await asyncio.sleep(60)

    async def ask() -> list[int]:
        """A body that does not belong to its method is not waited for."""
        transport = httpx.ASGITransport(create_app(folder))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            stuck = await asyncio.gather(*(client.post("/predict", content=never(), headers=JSON) for _ in range(2)))
            answered = await client.post("/predict", json={"texts": "a day"})
            put = await client.put("/predict", content=never(), headers=JSON)
        return [answer.status_code for answer in [*stuck, answered, put]]

    assert asyncio.run(ask()) == [408, 408, 200, 405]


def test_too_many_waiting_requests_are_told_to_come_back(folder, monkeypatch):
    """Also those that have not sent their bodies yet count."""
    monkeypatch.setattr(serving, "MAX_WAITING", 2)

    async def ask() -> tuple[list[int], httpx.Response]:
        free, started = asyncio.Event(), asyncio.Semaphore(0)

        async def late():
            started.release()
            await free.wait()
            yield b'{"texts": "a day"}'

        transport = httpx.ASGITransport(create_app(folder))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            tasks = [asyncio.create_task(client.post("/predict", content=late(), headers=JSON)) for _ in range(2)]
            await asyncio.gather(started.acquire(), started.acquire())
            refused = await client.post("/predict", json={"texts": "a day"})
            healthy = await client.get("/health")
            free.set()
            answers = [*await asyncio.gather(*tasks), healthy, await client.post("/predict", json={"texts": "a day"})]
            return [answer.status_code for answer in answers], refused

    statuses, refused = asyncio.run(ask())
    assert statuses == [200] * 4
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")


def test_one_batch_at_a_time_and_requests_take_turns(client, folder, monkeypatch):
    """However many requests there are, one batch is in memory, and a small request waits for one of each other."""
    running, batches, sizes = 0, [], []
    compute, run = OnnxClassifier.compute_logits, onnxruntime.InferenceSession.run

    def record(self, texts):
        nonlocal running
        running += 1
        batches.append((running, texts[0][0]))
        found = compute(self, texts)
        running -= 1
        return found

    def record_size(self, outputs, inputs):
        sizes.append(inputs["input_ids"].size)
        return run(self, outputs, inputs)

    monkeypatch.setattr(OnnxClassifier, "compute_logits", record)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", record_size)
    with client, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.post, "/predict", json={"texts": [name + " a" * 2000] * 64}) for name in "abc"]
        predictions = [future.result().json()["predictions"] for future in asked]
    assert {len(found) for found in predictions} == {64}
    assert all(one["truncated"] for found in predictions for one in found)
    assert max(number for number, _ in batches) == 1
    assert max(sizes) <= 2048
    assert [name for _, name in batches] != sorted(name for _, name in batches)
    assert not client.post("/predict", json={"texts": "a day"}).json()["predictions"][0]["truncated"]


@pytest.fixture
def described(folder, request):
    request.node._nodeid = request.node.nodeid  # schemathesis 4.32 reads this, and pytest 9.2 no longer has it
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(folder, allowed_hosts="testserver"))


@pytest.mark.slow
@schemathesis.pytest.from_fixture("described").parametrize()
@settings(max_examples=200, deadline=None)
def test_answers_are_as_documented_whatever_is_sent(case):
    wanted = [checks.not_a_server_error, openapi_checks.status_code_conformance]
    wanted += [openapi_checks.content_type_conformance, openapi_checks.response_schema_conformance]
    wanted += [openapi_checks.unsupported_method, openapi_checks.negative_data_rejection]
    case.call_and_validate(checks=wanted)


SERVE = """
import asyncio, json, sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

async def ask(app):
    async def receive():
        return {{"type": "http.request", "body": json.dumps({{"texts": "a day"}}).encode()}}
    async def send(message):
        print(message.get("body", b"").decode(), end="")
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {{"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}}
    await app(scope, receive, send)

sys.meta_path.insert(0, Absent)
import uvicorn
from emotion_tutorial.__main__ import main
uvicorn.run = lambda app, **settings: asyncio.run(ask(app))
try: main(["serve", {folder!r}])
finally: print("", *{{name.partition(".")[0] for name in sys.modules}}, sep="\\n")
"""


def distributions_for(*wanted: str) -> set[str]:
    """Return the names of distributions, and of all that they depend on here."""
    left, found = [Requirement(line) for line in wanted], set()
    while left:
        one = left.pop()
        for extra in {"", *one.extras} - {extra for name, extra in found if name == canonicalize_name(one.name)}:
            found.add((canonicalize_name(one.name), extra))
            needed = map(Requirement, metadata.requires(one.name) or [])
            left += [other for other in needed if not other.marker or other.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def serve_in_the_image():
    """Return a function that serves a folder in a process that can import only what the image has, and asks it."""
    lines = (ROOT / "docker" / "requirements.txt").read_text().splitlines()
    listed = {canonicalize_name(line) for line in lines if not line.startswith("#")}
    there = distributions_for(*listed) | {"emotion-tutorial"}
    owners = {module: {*map(canonicalize_name, names)} for module, names in metadata.packages_distributions().items()}
    absent = {module for module, names in owners.items() if not names & there} - sys.stdlib_module_names
    assert {"torch", "transformers", "datasets", "sklearn", "pyarrow", "onnx", "httpx"} <= absent

    def serve(folder: Path) -> tuple[subprocess.CompletedProcess, set[str], set[str]]:
        code = SERVE.format(absent=absent, folder=str(folder))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        _, *loaded = done.stdout.splitlines()
        return done, listed, set().union(*(owners.get(module, set()) for module in loaded))

    return serve


def test_service_runs_with_nothing_but_what_the_image_has_and_needs_all_of_it(folder, serve_in_the_image):
    done, listed, loaded = serve_in_the_image(folder)
    assert done.returncode == 0, done.stderr
    [prediction] = json.loads(done.stdout.splitlines()[0])["predictions"]
    assert set(prediction["probabilities"]) == set(NAMES)
    assert listed <= loaded


def test_image_says_what_it_lacks_to_serve_a_model_that_was_not_exported(tiny_checkpoint, serve_in_the_image):
    done, *_ = serve_in_the_image(tiny_checkpoint)
    assert done.stderr == 'MissingExtraError: torch is not installed. Run: pip install "emotion-tutorial[onnx]".\n'


MISSING = """
import sys
sys.modules.update(dict.fromkeys({packages}))
import emotion_tutorial as et
from emotion_tutorial import *
assert all(hasattr(et, name) for name in et.__all__)
try: {call}
except et.MissingExtraError as error: print(error)
"""


@pytest.mark.parametrize(
    ("packages", "call", "extra"),
    [(["fastapi", "starlette"], "create_app('x')", "serve"), (["onnxruntime"], "OnnxClassifier('x')", "onnx")],
)
def test_missing_extra_is_named_when_it_is_used_and_not_before(packages, call, extra):
    code = MISSING.format(packages=packages, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(packages[0])
    assert f'pip install "emotion-tutorial[{extra}]"' in done.stdout
