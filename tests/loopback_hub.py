"""A small Hugging Face Hub on loopback: the real clients, unpatched, and no network.

`LoopbackHub` keeps models and datasets in memory, with their history, and answers what the clients ask when they list,
load and push. `LoopbackHub.fail` makes it fail as the real one may. The two functions at the end fill it with what the
tutorial downloads.
"""

import io
import re
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from datasets import ClassLabel, Dataset, DatasetDict
from loopback_answers import Answer, Answers, Blob, Commit, Repo, RepoType, Token, as_json, is_large
from pyarrow import parquet


@dataclass(frozen=True)
class Fault:
    """What to do instead of answering well; made by the functions below."""

    kind: Literal["status", "cut", "garble", "drop", "lose", "hang"]
    code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0


def status(code: int, headers: Mapping[str, str] | None = None) -> Fault:
    """Answer with this status and do nothing."""
    return Fault("status", code=code, headers=headers or {})


def cut() -> Fault:
    """Announce the whole body, send half of it and close the connection."""
    return Fault("cut")


def garble() -> Fault:
    """Send other bytes, as many as the right ones."""
    return Fault("garble")


def drop() -> Fault:
    """Do nothing and close the connection."""
    return Fault("drop")


def lose() -> Fault:
    """Do what is asked, then close the connection without answering."""
    return Fault("lose")


def hang(seconds: float) -> Fault:
    """Wait, then answer as usual, if the client is still there."""
    return Fault("hang", seconds=seconds)


def take_address(endpoint: str) -> socket.socket:
    """Bind to an endpoint's port, also while a socket that does not listen holds it (both with SO_REUSEADDR)."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", urlsplit(endpoint).port))
    return sock


class LoopbackHub:
    """Serve repositories on 127.0.0.1, in threads, until the end of a `with` block.

    Parameters
    ----------
    sock
        An address to serve at, bound and not listening. None: a free port. Closed at the end.
    """

    def __init__(self, sock: socket.socket | None = None):
        if sock is None:
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
        self.endpoint = "http://{}:{}".format(*sock.getsockname())
        self.requests: list[tuple[str, str]] = []
        """Method and address (as sent, with the query) of all requests, in order."""
        self.ranges: list[str] = []
        """The parts of files that were asked for, such as `bytes=1024-`."""
        self.stopping = threading.Event()
        self._answers = Answers(self.endpoint)
        self._faults: list[tuple[re.Pattern[str], Fault, list[int] | None]] = []
        self._lock = threading.Lock()
        self._server = _Server(self, sock)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> "LoopbackHub":
        self._server.server_activate()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, bytes] | Path,
        *,
        repo_type: RepoType = "model",
        private: bool = False,
        gated: bool = False,
        owner: str | None = None,
        downloads: int = 0,
        tags: Sequence[str] = (),
    ) -> str:
        """Store a repository, or a further commit of it with these files only, and return the commit's hash.

        Parameters
        ----------
        files
            By path in the repository, or a folder.
        private, gated
            Only the owner sees it; everyone sees it, but only the owner may load its files.
        owner
            None: the part of `repo_id` before the slash, if there is one.
        """
        if isinstance(files, Path):
            paths = [path for path in files.rglob("*") if path.is_file()]
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in paths}
        blobs = {path: Blob(data, is_large(path, len(data))) for path, data in files.items()}
        owner = owner or (repo_id.split("/")[0] if "/" in repo_id else None)
        repo = Repo(repo_id, repo_type, owner, private, gated, downloads, tags)
        with self._lock:
            if present := self._answers.repos.get((repo_type, repo_id)):
                repo.commits, repo.objects = present.commits, present.objects
            self._answers.repos[repo_type, repo_id] = repo
            return repo.commit("files", blobs).sha

    def add_token(self, token: str, user: str, *, scope: Literal["read", "write"] = "write", expired: bool = False):
        """Let a user in with this token; add it again to let it expire."""
        self._answers.tokens[token] = Token(user, scope, expired)

    def files(self, repo_id: str, repo_type: RepoType = "model") -> dict[str, bytes]:
        """Return the files of the newest commit."""
        return {path: blob.data for path, blob in self.commits(repo_id, repo_type)[-1].files.items()}

    def commits(self, repo_id: str, repo_type: RepoType = "model") -> list[Commit]:
        """Return the history, newest last."""
        with self._lock:
            return list(self._answers.repos[repo_type, repo_id].commits)

    def fail(self, request: str, fault: Fault, times: int | None = 1) -> None:
        """Let the next requests that match go wrong.

        Parameters
        ----------
        request
            Regular expression, searched for in "GET /address?query". Of several that match, the first
            that was added and is not used up counts.
        times
            How many requests. None: all.
        """
        with self._lock:
            self._faults.append((re.compile(request), fault, None if times is None else [times]))

    def take_fault(self, method: str, address: str) -> Fault | None:
        """Record a request, and return what is to go wrong with it."""
        with self._lock:
            self.requests.append((method, address))
            for pattern, fault, left in self._faults:
                if left != [0] and pattern.search(f"{method} {address}"):
                    if left:
                        left[0] -= 1
                    return fault
        return None

    def answer(self, method: str, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Do what a request asks; one at a time, so that each sees what the ones before it left."""
        with self._lock:
            return self._answers.answer(method, address, headers, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them
    request_queue_size = 128

    def __init__(self, hub: LoopbackHub, sock: socket.socket):
        super().__init__(sock.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.hub = sock, hub
        self.open_connections: set[socket.socket] = set()

    def process_request(self, request, client_address):
        self.open_connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open_connections.discard(request)
        super().shutdown_request(request)

    def server_close(self):
        for connection in list(self.open_connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):  # a client that went away is no news
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        hub, size = self.server.hub, int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        fault = hub.take_fault(self.command, self.path)
        hub.ranges += self.headers.get_all("Range", [])
        kind = fault.kind if fault else None
        if kind == "drop" or len(body) < size or hub.stopping.wait(fault.seconds if fault else 0):
            self.hang_up()
            return
        if kind == "status":
            answer = as_json({"error": f"status {fault.code}"}, fault.headers, fault.code)
        else:
            answer = hub.answer(self.command, self.path, self.headers, body)
        if kind == "lose":
            self.hang_up()
        else:
            self.send(answer, kind)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def send(self, answer: Answer, kind: str | None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        body = b"" if self.command == "HEAD" else answer.body
        if kind == "garble":
            body = body.translate(bytes(range(255, -1, -1)))
        self.wfile.write(body[: len(body) // 2] if kind == "cut" else body)
        if kind == "cut":
            self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


def add_emotion_data(hub: LoopbackHub, splits: DatasetDict, repo_id: str = "dair-ai/emotion") -> str:
    """Store splits as Parquet files under the configuration `split`, with a card like the real dataset's."""
    features = ""
    for name, feature in next(iter(splits.values())).features.items():
        if isinstance(feature, ClassLabel):
            labels = "".join(f"          '{index}': {label}\n" for index, label in enumerate(feature.names))
            features += f"  - name: {name}\n    dtype:\n      class_label:\n        names:\n{labels}"
        else:
            features += f"  - name: {name}\n    dtype: {feature.dtype}\n"
    sizes = "".join(f"  - name: {split}\n    num_examples: {data.num_rows}\n" for split, data in splits.items())
    paths = "".join(f"  - split: {split}\n    path: split/{split}-*\n" for split in splits)
    card = (
        f"---\ndataset_info:\n- config_name: split\n  features:\n{features}  splits:\n{sizes}"
        f"configs:\n- config_name: split\n  data_files:\n{paths}  default: true\n---\n\n# Emotion\n"
    )
    files = {f"split/{split}-00000-of-00001.parquet": _parquet(data) for split, data in splits.items()}
    tags = ("task_categories:text-classification", "language:en")
    return hub.add_repo(repo_id, {"README.md": card.encode(), **files}, repo_type="dataset", downloads=9000, tags=tags)


def _parquet(data: Dataset) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(data.with_format("arrow")[:], buffer)
    return buffer.getvalue()


def add_checkpoint(hub: LoopbackHub, folder: Path, repo_id: str = "distilbert-base-uncased", **options: Any) -> str:
    """Store a saved model and its tokenizer; `options` as for `LoopbackHub.add_repo`."""
    return hub.add_repo(repo_id, folder, **options)
