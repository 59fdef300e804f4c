"""Errors of the Hub, against a small server on this machine (nothing is fetched from it)."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import HfApi

from emotion_tutorial import hub, hub_answers
from emotion_tutorial.exceptions import CheckpointError, HubUnavailableError, UnknownSourceError


class Answer(BaseHTTPRequestHandler):
    status, code, endpoint = 200, "", ""

    def do_GET(self):
        body = b'{"id": "owner/name", "sha": "0"}' if self.status == 200 else b"{}"
        self.send_response(self.status)
        if self.code:
            self.send_header("X-Error-Code", self.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[type[Answer]]:
    class Handler(Answer):
        pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    Handler.endpoint = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.setattr(hub.huggingface_hub, "HfApi", lambda: HfApi(endpoint=Handler.endpoint))
    yield Handler
    httpd.shutdown()
    httpd.server_close()


def test_hub_answers_or_not(server, monkeypatch):
    monkeypatch.setattr(hub.constants, "ENDPOINT", server.endpoint)
    assert hub_answers()
    server.status = 503
    assert not hub_answers()
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert not hub_answers()
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "ENDPOINT", server.endpoint)
    server.status = 200
    hub.huggingface_hub.close_session()  # the next one is made under the offline switch
    assert not hub_answers()
    hub.huggingface_hub.close_session()


def test_existing_repo_passes(server):
    hub.require_repo("owner/name", "dataset")


@pytest.mark.parametrize(("kind", "error"), [("dataset", UnknownSourceError), ("model", CheckpointError)])
def test_missing_repo_is_named(server, kind, error):
    server.status, server.code = 404, "RepoNotFound"
    with pytest.raises(error, match=f"no {kind} 'owner/name' that you may see.*hf auth login"):
        hub.require_repo("owner/name", kind)


@pytest.mark.parametrize("status", [500, 403])
def test_server_errors_are_said(server, status):
    server.status = status
    with pytest.raises(HubUnavailableError, match="Could not load 'owner/name'"):
        hub.require_repo("owner/name", "model")


def test_refused_connection_is_said():
    with pytest.raises(HubUnavailableError, match=r"\(ConnectError\)"):
        hub.load_hub_dataset("owner/name")
