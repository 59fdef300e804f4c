"""The service, in this process; test_benchmarks.py runs it over HTTP."""

import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from emotion_tutorial import OnnxClassifier, create_app, export_onnx, load_classifier, serving

NAMES = ["calm", "cross", "merry"]
SECRET = "marmalade"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tokenizer, tmp_path_factory) -> Path:
    model = load_classifier(tiny_checkpoint, NAMES, "cpu")
    return export_onnx(model, tokenizer, tmp_path_factory.mktemp("served"), quantize=False)


@pytest.fixture
def client(folder) -> TestClient:
    return TestClient(create_app(folder), base_url="http://127.0.0.1")


@pytest.fixture
def mounted(folder) -> TestClient:
    """Mount the service in another application, so that its lifespan never runs."""
    outer = FastAPI()
    outer.mount("/moods", create_app(folder))
    return TestClient(outer, base_url="http://127.0.0.1")


def test_one_text_or_a_list_also_mounted_in_another_app(folder, client, mounted):
    texts = ["what a day", SECRET, "a third text that is somewhat longer"]
    expected = OnnxClassifier(folder).predict_proba(texts)
    for ask, path in ((client, "/predict"), (mounted, "/moods/predict")):
        predictions = ask.post(path, json={"texts": texts}).json()["predictions"]
        assert [list(p["probabilities"]) for p in predictions] == [NAMES] * 3
        found = [list(p["probabilities"].values()) for p in predictions]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert [p["label"] for p in predictions] == list(expected.idxmax(axis=1))
        [one] = ask.post(path, json={"texts": texts[0]}).json()["predictions"]
        assert one["probabilities"] == pytest.approx(predictions[0]["probabilities"], abs=1e-5)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (SECRET.encode(), 422),
        *((b"\xff\xfe", 422), (b'["marmalade"]', 422), (b'{"texts": []}', 422), (b'{"texts": ""}', 422)),
        *((b'{"texts": ["marmalade", null]}', 422), (b'{"texts": {"marmalade": 1}}', 422)),
        *((b'{"texts": "marmalade \\ud800"}', 422), (b'{"texts": ["marmalade", "\\ud800"]}', 422)),
        (json.dumps({"texts": [SECRET] * 64}).encode(), 200),
        (json.dumps({"texts": [SECRET] * 65}).encode(), 422),
        (json.dumps({"texts": ("marmalade " * 500)[:4991] + "!" * 9}).encode(), 200),
        (json.dumps({"texts": "marmalade " * 501}).encode(), 422),
        (b" " * 2_000_001, 413),
        ([b" " * 10_000] * 201, 413),  # of a length that is not said
    ],
)
@pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.DataWarning")  # that a text was cut
def test_limits_and_errors_that_never_repeat_the_text(client, body, status):
    answer = client.post("/predict", content=body, headers=JSON)
    assert answer.status_code == status
    assert SECRET not in answer.text


def test_unknown_host_is_refused(client):
    assert client.get("/health").json()["labels"] == NAMES
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400


def test_documents_itself_without_a_network(client, mounted):
    for ask, prefix in ((client, ""), (mounted, "/moods")):
        page = ask.get(f"{prefix}/")
        assert page.status_code == 200
        assert page.url.path == f"{prefix}/docs"
        links = re.findall(r"(?:src|href|url:)\s*=?\s*[\"']([^\"']+)[\"']", page.text)
        assert len(links) >= 3
        for path in links:
            assert path.startswith("/")
            assert ask.get(path).status_code == 200, path


def test_too_many_waiting_requests_are_told_to_come_back(client, monkeypatch):
    free, started, compute = threading.Event(), threading.Semaphore(0), OnnxClassifier.predict_proba

    def wait_and_compute(self, texts):
        started.release()
        free.wait(60)
        return compute(self, texts)

    monkeypatch.setattr(OnnxClassifier, "predict_proba", wait_and_compute)
    monkeypatch.setattr(serving, "MAX_WAITING", 2)
    with client, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.post, "/predict", json={"texts": "a day"}) for _ in range(2)]
        assert all(started.acquire(timeout=60) for _ in waiting)
        refused = client.post("/predict", json={"texts": "a day"})
        healthy = client.get("/health")
        free.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
        assert client.post("/predict", json={"texts": "a day"}).status_code == 200
    assert (refused.status_code, refused.headers["Retry-After"], healthy.status_code) == (503, "1", 200)


@pytest.mark.parametrize(
    ("package", "name", "extra"), [("fastapi", "create_app", "serve"), ("onnxruntime", "OnnxClassifier", "onnx")]
)
def test_missing_extra_is_named(package, name, extra):
    code = f"import sys; sys.modules[{package!r}] = None; import emotion_tutorial; emotion_tutorial.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f'MissingExtraError: {package} is not installed. Run: pip install "emotion-tutorial[{extra}]"' in done.stderr
