"""A small Hugging Face Hub on 127.0.0.1, so that the real clients can be tested without a network.

It keeps repositories in memory and serves them at a free port; `LoopbackHub.fail` makes it fail as the real one may.
"""

import io
import json
import math
import re
import threading
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from datasets import Dataset, DatasetDict, concatenate_datasets

LARGE = (".parquet", ".safetensors")  # are uploaded by another way (LFS), whatever their size


@dataclass
class Repo:
    private: bool
    gated: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # by hash, oldest first: files by path


class LoopbackHub:
    def __init__(self):
        self.repos: dict[tuple[str, str], Repo] = {}
        self.tokens: dict[str, tuple[str, bool]] = {}
        self.uploads: dict[str, bytes] = {}  # large files by their SHA-256, which a commit then names
        self.requests: list[tuple[str, str]] = []  # method and address of all requests
        self.faults: list[list[Any]] = []
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.hub = self
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:  # from now on, connections are refused
        self.server.shutdown()
        self.server.server_close()

    def add_repo(self, repo_id: str, files: Any, *, repo_type="model", private=False, gated=False) -> str:
        """Store files by their path, or a folder's, as a repository or as its next commit; return the commit's hash.

        Only the owner, with whose name `repo_id` begins, sees a private one or loads the files of a gated one.
        """
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir()}
        repo = self.repos.setdefault((f"{repo_type}s", repo_id), Repo(private, gated))
        sha = sha1(f"{repo_id} {len(repo.commits)}".encode()).hexdigest()
        repo.commits[sha] = dict(files)
        return sha

    def add_token(self, token: str, user: str, *, may_write: bool = True) -> None:
        self.tokens[token] = user, may_write

    def files(self, repo_id: str, repo_type: str = "model") -> dict[str, bytes]:
        return list(self.repos[f"{repo_type}s", repo_id].commits.values())[-1]

    def fail(self, request: str, fault: int | Literal["cut"], times: float = math.inf) -> None:
        """Let requests go wrong in which this regular expression is found, as "GET /address?query".

        A status is answered, and nothing done; `cut` announces the whole body, and sends half of it.
        """
        self.faults.append([re.compile(request), fault, times])


class _Server(ThreadingHTTPServer):
    allow_reuse_address = allow_reuse_port = False
    request_queue_size = 128


class RefusedError(Exception):
    """The status, the message, and the code by which the clients know what is missing."""


class _Handler(BaseHTTPRequestHandler):  # speaks HTTP/1.0: no connection outlives its answer
    def do_GET(self) -> None:
        self.hub = self.server.hub
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request, fault = f"{self.command} {self.path}", None
        with self.hub.lock:
            self.hub.requests.append((self.command, self.path))
            if planned := next((plan for plan in self.hub.faults if plan[0].search(request) and plan[2] > 0), None):
                planned[2] -= 1
                fault = planned[1]
            code, headers, body = (fault, {}, b"") if isinstance(fault, int) else self.answer()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815
    log_message = lambda *args: None  # noqa: E731

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.user, self.may_write = self.hub.tokens.get(token, ("", False))
        try:
            if token and not self.user:
                raise RefusedError(401, "Invalid credentials in Authorization header")
            for methods, pattern, respond in ROUTES:
                found = re.fullmatch(pattern, unquote(urlsplit(self.path).path))
                if self.command in methods.split() and found:
                    content = respond(self, **{name: value for name, value in found.groupdict().items() if value})
                    return content if isinstance(content, tuple) else (200, {}, json.dumps(content).encode())
            raise RefusedError(404, f"The loopback Hub does not know {self.command} {self.path}")
        except RefusedError as refused:
            code, message, *reason = refused.args
            return code, {"X-Error-Message": message, "X-Error-Code": "".join(reason)}, message.encode()

    def require_writer(self, repo_id: str) -> None:
        if not self.user:
            raise RefusedError(401, "Invalid username or password.")
        if not self.may_write or not repo_id.startswith(f"{self.user}/"):
            raise RefusedError(403, "This token may not write here")

    def find(self, kind: str, repo_id: str, revision: str) -> tuple[Repo, str, dict[str, bytes]]:
        repo = self.hub.repos.get((kind, repo_id))
        if repo is None or (repo.private and not repo_id.startswith(f"{self.user}/")):
            raise RefusedError(404 if self.user else 401, "Repository not found", "RepoNotFound")
        sha = list(repo.commits)[-1] if revision == "main" else revision
        if sha not in repo.commits:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repo, sha, repo.commits[sha]

    def whoami(self) -> Any:
        if not self.user:
            raise RefusedError(401, "Invalid username or password.")
        return {"type": "user", "name": self.user}

    def info(self, kind: str, repo_id: str, revision: str = "main") -> Any:
        repo, sha, files = self.find(kind, repo_id, revision)
        return {"id": repo_id, "sha": sha, "private": repo.private, "siblings": [{"rfilename": path} for path in files]}

    def entries(self, kind: str, repo_id: str, revision: str, folder: str = "") -> Any:
        files = self.find(kind, repo_id, revision)[2]
        found = [{"type": "file", "path": p, "oid": object_id(p, d), "size": len(d)} for p, d in files.items()]
        found += [{"type": "directory", "path": p, "oid": ""} for p in {p.rpartition("/")[0] for p in files} - {""}]
        named = parse_qs(self.body.decode()).get("paths")
        return [item for item in found if (item["path"] in named if named else item["path"].startswith(folder))]

    def resolve(self, repo_id: str, revision: str, path: str, kind: str = "models") -> Any:
        repo, sha, files = self.find(kind, repo_id, revision)
        if repo.gated and not repo_id.startswith(f"{self.user}/"):
            raise RefusedError(403 if self.user else 401, "Access is restricted", "GatedRepo")
        if path not in files:
            raise RefusedError(404, f"There is no {path}", "EntryNotFound")
        headers = {"ETag": f'"{object_id(path, files[path])}"', "X-Repo-Commit": sha}
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        return 206 if start else 200, headers, files[path][start:]

    def create(self) -> Any:
        wanted = json.loads(self.body)
        repo_id = f"{wanted['organization'] or self.user}/{wanted['name']}"
        self.require_writer(repo_id)
        url = {"url": f"{self.hub.endpoint}/{repo_id}"}
        if ("models", repo_id) in self.hub.repos:
            return 409, {}, json.dumps(url).encode()
        self.hub.add_repo(repo_id, {".gitattributes": b""}, private=wanted.get("visibility") == "private")
        return url

    def preupload(self, kind: str, repo_id: str, revision: str) -> Any:
        self.require_writer(repo_id)
        present, answers = self.find(kind, repo_id, revision)[2], []
        for path in (file["path"] for file in json.loads(self.body)["files"]):
            oid = object_id(path, present[path]) if path in present else None
            mode = "lfs" if path.endswith(LARGE) else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answers}

    def lfs_batch(self, repo_id: str) -> Any:
        self.require_writer(repo_id)
        address, objects = f"{self.hub.endpoint}/{repo_id}.git/info/lfs/", json.loads(self.body)["objects"]
        for item in objects:
            item["actions"] = {"upload": {"href": address + item["oid"]}, "verify": {"href": f"{address}verify"}}
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, repo_id: str) -> Any:
        self.hub.uploads[sha256(self.body).hexdigest()] = self.body
        return {}

    def commit(self, kind: str, repo_id: str, revision: str) -> Any:
        self.require_writer(repo_id)
        files = dict(self.find(kind, repo_id, revision)[2])
        for item in (json.loads(line)["value"] for line in self.body.splitlines()):
            if "path" in item:
                files[item["path"]] = self.hub.uploads[item["oid"]] if "oid" in item else b64decode(item["content"])
        sha = self.hub.add_repo(repo_id, files)
        return {"commitOid": sha, "commitUrl": f"{self.hub.endpoint}/{repo_id}/commit/{sha}"}


def object_id(path: str, data: bytes) -> str:
    """Return the hash by which the clients see whether a file has changed."""
    return (sha256(data) if path.endswith(LARGE) else sha1(b"blob %d\0" % len(data) + data)).hexdigest()


API, REVISION = r"/api/(?P<kind>models|datasets)", r"/(?P<revision>[^/]+)"
ID = r"/(?P<repo_id>[^/]+(?:/[^/]+)?)"
ROUTES = [
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", lambda self: {"errors": [], "warnings": []}),
    ("GET", API, lambda self, kind: [{"id": repo_id} for its_kind, repo_id in self.hub.repos if its_kind == kind]),
    ("GET", f"{API}{ID}(?:/revision{REVISION})?", _Handler.info),
    ("GET POST", f"{API}{ID}/(?:tree|paths-info){REVISION}(?:/(?P<folder>.+))?", _Handler.entries),
    ("POST", f"{API}{ID}/preupload{REVISION}", _Handler.preupload),
    ("POST", f"{API}{ID}/commit{REVISION}", _Handler.commit),
    ("GET HEAD", f"(?:/(?P<kind>datasets))?{ID}/resolve{REVISION}/(?P<path>.+)", _Handler.resolve),
    ("POST", rf"{ID}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("POST", rf"{ID}\.git/info/lfs/verify", lambda self, repo_id: {}),
    ("PUT", rf"{ID}\.git/info/lfs/\w+", _Handler.lfs_put),
]


def add_dataset(hub: LoopbackHub, repo_id: str, configurations: dict[str, dict[str, Dataset]], **options: Any) -> str:
    """Store the splits of each configuration as Parquet files."""
    card, files = "---\nconfigs:\n", {}
    for name, splits in configurations.items():
        card += f"- config_name: {name}\n  data_files:\n"
        for split, dataset in splits.items():
            card += f"  - split: {split}\n    path: {name}/{split}-*\n"
            dataset.to_parquet(buffer := io.BytesIO())
            files[f"{name}/{split}-00000-of-00001.parquet"] = buffer.getvalue()
    return hub.add_repo(repo_id, files | {"README.md": f"{card}---\n".encode()}, repo_type="dataset", **options)


def add_emotion_data(hub: LoopbackHub, splits: DatasetDict) -> str:
    """Store splits as the real data set has them: three under `split`, all in one under `unsplit`."""
    everything = {"train": concatenate_datasets(list(splits.values()))}
    return add_dataset(hub, "dair-ai/emotion", {"split": splits, "unsplit": everything})
