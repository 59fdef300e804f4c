"""What `LoopbackHub` keeps, and what it answers: repositories with their history, and the calls on them.

Written after what the clients send and read; `loopback_hub.py` has the server around it.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

RepoType = Literal["model", "dataset"]
PAGE = 1000
"""Entries of a listing that are answered at once; the clients then ask for the next page."""
LARGE = (".arrow", ".bin", ".onnx", ".parquet", ".pt", ".safetensors")
"""Endings of files that are kept as large files (LFS) whatever their size, as the Hub's `.gitattributes` says."""
LARGE_SIZE = 10 * 2**20
BAD_TOKEN = "Invalid credentials in Authorization header"
DATE = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Answer:
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


def as_json(content: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    return Answer(json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})}, status)


class HubError(Exception):
    """A request that the Hub refuses, with the headers by which the clients tell why."""

    def __init__(self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None):
        super().__init__(message)
        named = {"X-Error-Code": code} if code else {}
        self.answer = as_json({"error": message}, {"X-Error-Message": message, **named, **(headers or {})}, status)


@dataclass(frozen=True)
class Blob:
    """The bytes of a file; a large one is kept in git as a pointer to its SHA-256."""

    data: bytes = field(repr=False)
    large: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        return f"version 1\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @cached_property
    def git_id(self) -> str:
        stored = self.pointer if self.large else self.data
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_id


@dataclass(frozen=True)
class Commit:
    sha: str
    message: str
    files: Mapping[str, Blob]

    def entries(self) -> dict[str, dict[str, Any]]:
        """List the files and folders as the tree and paths-info calls do."""
        entries: dict[str, dict[str, Any]] = {}
        for path, blob in self.files.items():
            for folder in map(str, PurePosixPath(path).parents[:-1]):
                oid = hashlib.sha1(folder.encode()).hexdigest()
                entries[folder] = {"type": "directory", "path": folder, "oid": oid, "size": 0}
            size = len(blob.data)
            entries[path] = {"type": "file", "path": path, "oid": blob.git_id, "size": size}
            if blob.large:
                entries[path]["lfs"] = {"oid": blob.sha256, "size": size, "pointerSize": len(blob.pointer)}
        return dict(sorted(entries.items()))

    def siblings(self, *, blobs: bool) -> list[dict[str, Any]]:
        """List the files as `repo_info` does, with sizes and hashes if `blobs`."""
        siblings: list[dict[str, Any]] = [{"rfilename": path} for path in self.files]
        for sibling, blob in zip(siblings if blobs else [], self.files.values(), strict=False):
            sibling |= {"size": len(blob.data), "blobId": blob.git_id}
            if blob.large:
                sibling["lfs"] = {"sha256": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
        return siblings


@dataclass
class Repo:
    repo_id: str
    repo_type: RepoType
    owner: str | None
    private: bool = False
    gated: bool = False
    downloads: int = 0
    tags: Sequence[str] = ()
    commits: list[Commit] = field(default_factory=list)
    objects: dict[str, bytes | None] = field(default_factory=dict)
    """Large files by SHA-256, whether or not a commit has them; None: announced, not here yet."""

    def commit(self, message: str, files: Mapping[str, Blob]) -> Commit:
        parent = self.commits[-1].sha if self.commits else ""
        tree = sorted((path, blob.git_id) for path, blob in files.items())
        content = json.dumps([self.repo_type, self.repo_id, parent, message, tree])
        self.objects.update({blob.sha256: blob.data for blob in files.values() if blob.large})
        self.commits.append(Commit(hashlib.sha1(content.encode()).hexdigest(), message, dict(files)))
        return self.commits[-1]

    def at(self, revision: str) -> Commit:
        for commit in reversed(self.commits):
            if revision in ("main", commit.sha):
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


@dataclass(frozen=True)
class Token:
    user: str
    scope: Literal["read", "write"]
    expired: bool


@dataclass(frozen=True)
class Call:
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    token: Token | None

    @property
    def user(self) -> str | None:
        return self.token.user if self.token else None


def is_large(path: str, size: int) -> bool:
    return path.endswith(LARGE) or size >= LARGE_SIZE


class Answers:
    """The repositories and tokens of a Hub, and an answer to each call."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        self.repos: dict[tuple[str, str], Repo] = {}
        self.tokens: dict[str, Token] = {}

    def answer(self, method: str, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        url = urlsplit(address)
        try:
            call = Call(url.path, parse_qs(url.query), headers, body, self._token(headers))
            for methods, pattern, handle in ROUTES:
                if method in methods.split() and (found := pattern.fullmatch(url.path)):
                    return handle(self, call, **{k: unquote(v) for k, v in found.groupdict().items() if v})
            raise HubError(404, "Sorry, we can't find the page you are looking for.")
        except HubError as error:
            answer = error.answer
        # For the clients a 401 at a repository's address means RepoNotFound, but over plain HTTP only if it says so.
        if answer.status == 401 and BAD_TOKEN not in answer.headers.values() and REPO_ADDRESS.match(url.path):
            return Answer(answer.body, {"X-Error-Code": "RepoNotFound", **answer.headers}, 401)
        return answer

    def _token(self, headers: Mapping[str, str]) -> Token | None:
        authorization = headers.get("Authorization")
        if authorization is None:
            return None
        token = self.tokens.get(authorization.removeprefix("Bearer "))
        if token is None:
            raise HubError(401, BAD_TOKEN)
        if token.expired:  # the Hub says the name that the user gave it, not its value
            raise HubError(401, f'User Access Token "{token.user}-token" is expired')
        return token

    def _may_see(self, call: Call, repo: Repo) -> bool:
        return not repo.private or (call.user is not None and call.user == repo.owner)

    def _repo(self, call: Call, kind: str, repo_id: str) -> Repo:
        repo = self.repos.get((kind[:-1], repo_id))
        if repo is None or not self._may_see(call, repo):
            raise HubError(404 if call.user else 401, "Repository not found", "RepoNotFound")
        return repo

    def _require_writer(self, call: Call, owner: str | None) -> None:
        if call.token is None:
            raise HubError(401, "Invalid username or password.")
        if call.token.scope != "write":
            raise HubError(403, "This token is read-only: you must use a write token for this")
        if call.user != owner:
            raise HubError(403, f"You don't have the rights to write under the namespace {owner!r}")

    def _repo_to_write(self, call: Call, kind: str, repo_id: str) -> Repo:
        repo = self._repo(call, kind, repo_id)
        self._require_writer(call, repo.owner)
        return repo

    def _page(self, kind: str, repo_id: str) -> str:
        return f"{self.endpoint}/{'datasets/' if kind == 'datasets' else ''}{repo_id}"

    def whoami(self, call: Call) -> Answer:
        if call.token is None:
            raise HubError(401, "Invalid username or password.")
        access = {"displayName": f"{call.user}-token", "role": call.token.scope}
        auth = {"type": "access_token", "accessToken": access}
        return as_json({"type": "user", "name": call.user, "fullname": call.user, "orgs": [], "auth": auth})

    def listing(self, call: Call, kind: str) -> Answer:
        query = {name: values[0] for name, values in call.query.items()}
        found = [
            repo
            for (repo_type, repo_id), repo in self.repos.items()
            if repo_type == kind[:-1]
            and self._may_see(call, repo)
            and set(call.query.get("filter", [])) <= set(repo.tags)
            and query.get("search", "").lower() in repo_id.lower()
            and query.get("author", repo.owner) == repo.owner
        ]
        if query.get("sort") == "downloads":
            found.sort(key=lambda repo: -repo.downloads)
        start = int(query.get("cursor", 0))
        end = start + min(int(query.get("limit", PAGE)), PAGE)
        link = f"{self.endpoint}{call.path}?{urlencode({**call.query, 'cursor': [end]}, doseq=True)}"
        headers = {"Link": f'<{link}>; rel="next"'} if end < len(found) else {}
        return as_json([self._describe(call, repo, repo.at("main")) for repo in found[start:end]], headers)

    def info(self, call: Call, kind: str, repo_id: str, revision: str = "main") -> Answer:
        repo = self._repo(call, kind, repo_id)
        commit = repo.at(revision)
        siblings = commit.siblings(blobs=call.query.get("blobs") == ["true"])
        return as_json(self._describe(call, repo, commit, siblings=siblings))

    def _describe(self, call: Call, repo: Repo, commit: Commit, **more: Any) -> dict[str, Any]:
        info: dict[str, Any] = {"sha": commit.sha, "author": repo.owner, "tags": list(repo.tags), "likes": 0, **more}
        info |= {"private": repo.private, "gated": "auto" if repo.gated else False, "disabled": False}
        info |= {"downloads": repo.downloads, "createdAt": DATE, "lastModified": DATE}
        wanted = call.query.get("expand", info)
        return {"id": repo.repo_id} | {name: value for name, value in info.items() if name in wanted}

    def tree(self, call: Call, kind: str, repo_id: str, revision: str, path: str = "") -> Answer:
        commit = self._repo(call, kind, repo_id).at(revision)
        deep = call.query.get("recursive") == ["true"]
        prefix = f"{path.strip('/')}/" if path else ""
        below = {name: entry for name, entry in commit.entries().items() if name.startswith(prefix)}
        if path and not below:
            raise HubError(404, f'{path} does not exist on "{revision}"', "EntryNotFound")
        return as_json([entry for name, entry in below.items() if deep or "/" not in name[len(prefix) :]])

    def paths_info(self, call: Call, kind: str, repo_id: str, revision: str) -> Answer:
        entries = self._repo(call, kind, repo_id).at(revision).entries()
        paths = parse_qs(call.body.decode()).get("paths", [])
        return as_json([entries[path] for path in paths if path in entries])

    def resolve(self, call: Call, repo_id: str, revision: str, path: str, kind: str = "models") -> Answer:
        repo = self._repo(call, kind, repo_id)
        commit = repo.at(revision)
        headers = {"X-Repo-Commit": commit.sha}
        if repo.gated and (call.user is None or call.user != repo.owner):
            message = f"Access to {repo.repo_type} {repo_id} is restricted: ask for access to it."
            raise HubError(403 if call.user else 401, message, "GatedRepo", headers)
        if path not in commit.files:
            raise HubError(404, "Entry not found", "EntryNotFound", headers)
        blob = commit.files[path]
        size = len(blob.data)
        headers |= {"ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if blob.large:
            headers |= {"X-Linked-ETag": f'"{blob.etag}"', "X-Linked-Size": str(size)}
        if not (found := re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("Range", ""))):
            return Answer(blob.data, headers)
        first, last = found.groups()
        start = int(first) if first else max(size - int(last or 0), 0)
        end = min(int(last) + 1, size) if first and last else size
        if start >= end:
            raise HubError(416, "Range not satisfiable", "", headers | {"Content-Range": f"bytes */{size}"})
        return Answer(blob.data[start:end], headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}, 206)

    def create(self, call: Call) -> Answer:
        wanted = json.loads(call.body)
        owner = wanted.get("organization") or call.user
        self._require_writer(call, owner)
        repo_type, repo_id = wanted.get("type") or "model", f"{owner}/{wanted['name']}"
        url = self._page(f"{repo_type}s", repo_id)
        if (repo_type, repo_id) in self.repos:
            message = f"You already created this {repo_type} repo"
            return as_json({"error": message, "url": url}, {"X-Error-Message": message}, 409)
        repo = Repo(repo_id, repo_type, owner, private=wanted.get("visibility") == "private")
        attributes = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE)
        repo.commit("initial commit", {".gitattributes": Blob(attributes.encode(), large=False)})
        self.repos[repo_type, repo_id] = repo
        return as_json({"url": url, "name": repo_id})

    def validate_card(self, call: Call) -> Answer:
        return as_json({"errors": [], "warnings": []})

    def preupload(self, call: Call, kind: str, repo_id: str, revision: str) -> Answer:
        present = self._repo_to_write(call, kind, repo_id).at(revision).files
        answers = []
        for file in json.loads(call.body)["files"]:
            mode = "lfs" if is_large(file["path"], file["size"]) else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
            if file["path"] in present:
                answers[-1]["oid"] = present[file["path"]].etag
        return as_json({"files": answers})

    def lfs_batch(self, call: Call, repo_id: str, kind: str = "models") -> Answer:
        repo = self._repo_to_write(call, kind, repo_id)
        address = f"{self._page(kind, repo_id)}.git/info/lfs"
        objects = json.loads(call.body)["objects"]
        for item in objects:
            if repo.objects.setdefault(item["oid"], None) is None:
                upload, verify = f"{address}/storage/{item['oid']}", f"{address}/objects/verify"
                item["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
        return as_json({"transfer": "basic", "objects": objects})

    def lfs_put(self, call: Call, repo_id: str, oid: str, kind: str = "models") -> Answer:
        # As at the Hub, this address was given to one who may write, and asks for no token.
        repo = self.repos.get((kind[:-1], repo_id))
        if repo is None or oid not in repo.objects:
            raise HubError(403, "This upload was not announced")
        if hashlib.sha256(call.body).hexdigest() != oid:
            raise HubError(400, "The content does not match its SHA-256")
        repo.objects[oid] = call.body
        return Answer()

    def lfs_verify(self, call: Call, repo_id: str, kind: str = "models") -> Answer:
        if self._repo_to_write(call, kind, repo_id).objects.get(json.loads(call.body)["oid"]) is None:
            raise HubError(404, "The object was not uploaded")
        return as_json({})

    def commit(self, call: Call, kind: str, repo_id: str, revision: str) -> Answer:
        repo = self._repo_to_write(call, kind, repo_id)
        head = repo.at(revision)
        files, message = dict(head.files), ""
        for line in call.body.splitlines():
            key, value = (item := json.loads(line))["key"], item["value"]
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit", head.sha) != head.sha or head is not repo.commits[-1]:
                    raise HubError(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), large=False)
            elif key == "lfsFile" and (data := repo.objects.get(value["oid"])) is not None:
                files[value["path"]] = Blob(data, large=True)
            elif key == "deletedFile" and value["path"] in files:
                del files[value["path"]]
            else:
                raise HubError(400, f"{key}: there is no such {value['path']}")
        sha = repo.commit(message, files).sha
        return as_json({"commitOid": sha, "commitUrl": f"{self._page(kind, repo_id)}/commit/{sha}"})


def _route(methods: str, path: str, handle: Callable[..., Answer]) -> tuple[str, re.Pattern[str], Callable]:
    path = path.replace("{id}", r"(?P<repo_id>[^/]+(?:/[^/]+)?)").replace("{revision}", r"(?P<revision>[^/]+)")
    path = path.replace("{kind}", r"(?P<kind>models|datasets)").replace("{datasets}", r"(?:(?P<kind>datasets)/)?")
    return methods, re.compile(path), handle


ROUTES = [
    _route("GET", "/api/whoami-v2", Answers.whoami),
    _route("POST", "/api/repos/create", Answers.create),
    _route("POST", "/api/validate-yaml", Answers.validate_card),
    _route("GET", "/api/{kind}", Answers.listing),
    _route("GET", "/api/{kind}/{id}(?:/revision/{revision})?", Answers.info),
    _route("GET", "/api/{kind}/{id}/tree/{revision}(?:/(?P<path>.+))?", Answers.tree),
    _route("POST", "/api/{kind}/{id}/paths-info/{revision}", Answers.paths_info),
    _route("POST", "/api/{kind}/{id}/preupload/{revision}", Answers.preupload),
    _route("POST", "/api/{kind}/{id}/commit/{revision}", Answers.commit),
    _route("GET HEAD", "/{datasets}{id}/resolve/{revision}/(?P<path>.+)", Answers.resolve),
    _route("POST", r"/{datasets}{id}\.git/info/lfs/objects/batch", Answers.lfs_batch),
    _route("POST", r"/{datasets}{id}\.git/info/lfs/objects/verify", Answers.lfs_verify),
    _route("PUT", r"/{datasets}{id}\.git/info/lfs/storage/(?P<oid>[0-9a-f]{64})", Answers.lfs_put),
]
REPO_ADDRESS = re.compile(r"/api/(models|datasets)/.|/.+/resolve/")
