"""The Hub for the tests, asked by the clients that the tutorial uses."""

import hashlib
import os
import time
from pathlib import Path

import loopback_answers
import pytest
from datasets import DatasetDict, load_dataset
from huggingface_hub import HfApi, close_session, get_session, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from loopback_hub import (
    LoopbackHub,
    add_checkpoint,
    add_emotion_data,
    cut,
    drop,
    garble,
    hang,
    lose,
    status,
    take_address,
)
from transformers import AutoModel, AutoTokenizer, DistilBertModel, DistilBertTokenizer, pipeline

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 4, "a/b/c.txt": b"deep"}
WRITE, READ, OTHER, OLD, UNKNOWN = (f"hf_secret{name}" for name in ("write", "read", "other", "old", "unknown"))
WEIGHTS = "/ann/model/resolve/main/model.safetensors"


@pytest.fixture
def model(hub: LoopbackHub) -> LoopbackHub:
    """Add a public model."""
    hub.add_repo("ann/model", FILES)
    return hub


@pytest.fixture
def users(hub: LoopbackHub) -> LoopbackHub:
    """Add tokens, most of them of one user."""
    hub.add_token(WRITE, "ann")
    hub.add_token(READ, "ann", scope="read")
    hub.add_token(OTHER, "bob")
    hub.add_token(OLD, "ann", expired=True)
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, data in FILES.items():
        (tmp_path / "folder" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / path).write_bytes(data)
    return tmp_path / "folder"


def push(folder: Path, repo_type: str = "model", token: str = WRITE):
    api = HfApi(token=token)
    api.create_repo("ann/pushed", repo_type=repo_type, private=True, exist_ok=True)
    return api.upload_folder(repo_id="ann/pushed", repo_type=repo_type, folder_path=folder, commit_message="Push")


def ask(hub: LoopbackHub, path: str, method: str = "GET", token: str | None = None, **options):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return get_session().request(method, hub.endpoint + path, headers=headers | options.pop("headers", {}), **options)


def asked(hub: LoopbackHub, method: str) -> list[str]:
    return [path for used, path in hub.requests if used == method]


# Reading


def test_datasets_are_listed(users):
    tag = "task_categories:text-classification"
    users.add_repo("bob/few", {}, repo_type="dataset", tags=[tag], downloads=1)
    users.add_repo("bob/many", {}, repo_type="dataset", tags=["language:en", tag], downloads=9)
    users.add_repo("bob/other", {}, repo_type="dataset", downloads=5)
    users.add_repo("ann/hidden", {}, repo_type="dataset", tags=[tag], private=True)
    users.add_repo("bob/model", {}, tags=[tag])

    def ids(**options):
        return [found.id for found in HfApi().list_datasets(**options)]

    assert ids(filter=tag, sort="downloads", limit=2000) == ["bob/many", "bob/few"]
    assert ids(filter=tag, sort="downloads", limit=2000, token=READ)[-1] == "ann/hidden"
    assert ids(search="FEW") == ids(author="bob", limit=1) == ["bob/few"]
    found = next(iter(HfApi().list_datasets(search="many", expand=["downloads"])))
    assert (found.downloads, found.sha) == (9, None)


def test_long_listings_have_pages(hub, monkeypatch):
    monkeypatch.setattr(loopback_answers, "PAGE", 2)
    for index in range(5):
        hub.add_repo(f"ann/{index}", {}, repo_type="dataset", downloads=-index)
    assert [found.id[-1] for found in HfApi().list_datasets(sort="downloads", limit=2000)] == list("01234")
    assert len(hub.requests) == 3


def test_dataset_loads(hub, small: DatasetDict):
    sha = add_emotion_data(hub, small)
    loaded = load_dataset("dair-ai/emotion", "split")
    assert loaded.column_names == small.column_names
    assert loaded["train"].features == small["train"].features
    assert all(loaded[split][:] == small[split][:] for split in small)
    assert hub.commits("dair-ai/emotion", "dataset")[-1].sha == sha
    with pytest.raises(ValueError, match=r"'nope' not found. Available: \['split'\]"):
        load_dataset("dair-ai/emotion", "nope")


def test_checkpoint_loads(hub, tiny_distilbert):
    add_checkpoint(hub, tiny_distilbert)
    model = AutoModel.from_pretrained("distilbert-base-uncased")
    assert isinstance(model, DistilBertModel)
    assert model.config.dim == 32
    tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
    assert isinstance(tokenizer, DistilBertTokenizer)
    assert tokenizer.model_max_length == 512
    vectors = pipeline("feature-extraction", "distilbert-base-uncased")("i feel fine")
    assert len(vectors[0]) == len(tokenizer.tokenize("i feel fine")) + 2


def test_repositories_describe_themselves(hub):
    first = hub.add_repo("ann/thing", {"old.txt": b"old"}, downloads=7, tags=["language:en"])
    second = hub.add_repo("ann/thing", FILES)
    info = HfApi().model_info("ann/thing", files_metadata=True)
    assert (info.id, info.sha, info.author, info.private, info.gated) == ("ann/thing", second, "ann", False, False)
    files = {file.rfilename: file for file in info.siblings}
    assert files.keys() == FILES.keys()
    assert all(file.size == len(FILES[name]) for name, file in files.items())
    assert files["config.json"].blob_id == "9e26dfeeb6e641a33dae4961196235bdb965b21b"  # git hash-object
    assert files["model.safetensors"].lfs.sha256 == hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    old = HfApi().repo_info("ann/thing", revision=first)
    assert [(file.rfilename, file.size) for file in old.siblings] == [("old.txt", None)]
    hub.add_repo("ann/thing", {}, repo_type="dataset")
    assert HfApi().repo_info("ann/thing", repo_type="dataset", files_metadata=True).siblings == []


def test_trees_are_listed(model):
    def tree(*path, **options):
        return [entry.path for entry in HfApi().list_repo_tree("ann/model", *path, **options)]

    assert tree() == ["a", "config.json", "model.safetensors"]
    assert tree(recursive=True) == ["a", "a/b", "a/b/c.txt", "config.json", "model.safetensors"]
    assert tree("a/b") == ["a/b/c.txt"]
    with pytest.raises(EntryNotFoundError):
        tree("nope")
    found = HfApi().get_paths_info("ann/model", ["a", "config.json", "nope"])
    assert [(entry.path, getattr(entry, "size", None)) for entry in found] == [("a", None), ("config.json", 2)]


def test_checksums_are_verified(model, tmp_path):
    snapshot_download("ann/model")
    done = HfApi().verify_repo_checksums("ann/model")
    assert (done.checked_count, done.mismatches, done.missing_paths, done.extra_paths) == (3, [], [], [])
    model.fail("GET .*(safetensors|c.txt)", garble(), times=2)
    snapshot_download("ann/model", cache_dir=tmp_path / "other")
    done = HfApi().verify_repo_checksums("ann/model", cache_dir=tmp_path / "other")
    assert sorted(found["path"] for found in done.mismatches) == ["a/b/c.txt", "model.safetensors"]


def test_files_have_their_headers(model):
    sha = model.commits("ann/model")[-1].sha
    head = ask(model, WEIGHTS, "HEAD")
    digest = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert head.headers["ETag"] == head.headers["X-Linked-ETag"] == f'"{digest}"'
    assert head.headers["Content-Length"] == head.headers["X-Linked-Size"] == "1024"
    assert head.headers["X-Repo-Commit"] == sha
    assert head.content == b""
    small = ask(model, f"/ann/model/resolve/{sha}/config.json")
    assert small.headers["ETag"] == '"9e26dfeeb6e641a33dae4961196235bdb965b21b"'
    assert "X-Linked-ETag" not in small.headers
    assert small.content == b"{}"


@pytest.mark.parametrize(
    ("wanted", "part", "content_range"),
    [
        ("bytes=1000-", slice(1000, None), "bytes 1000-1023/1024"),
        ("bytes=10-19", slice(10, 20), "bytes 10-19/1024"),
        ("bytes=1000-9999", slice(1000, None), "bytes 1000-1023/1024"),
        ("bytes=-24", slice(-24, None), "bytes 1000-1023/1024"),
    ],
)
def test_parts_of_files(model, wanted, part, content_range):
    answer = ask(model, WEIGHTS, headers={"Range": wanted})
    assert (answer.status_code, answer.headers["Content-Range"]) == (206, content_range)
    assert answer.content == FILES["model.safetensors"][part]


def test_parts_beyond_the_end(model):
    answer = ask(model, WEIGHTS, headers={"Range": "bytes=1024-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */1024")


def test_what_is_missing_is_said(model, users):
    with pytest.raises(EntryNotFoundError) as entry:
        hf_hub_download("ann/model", "nope.txt")
    assert entry.value.response.headers["X-Repo-Commit"] == model.commits("ann/model")[-1].sha
    with pytest.raises(RevisionNotFoundError):
        HfApi().repo_info("ann/model", revision="nope")
    for token, code in ((None, 401), (READ, 404)):
        with pytest.raises(RepositoryNotFoundError) as repo:
            HfApi(token=token).repo_info("ann/nope")
        assert (repo.value.response.status_code, repo.value.server_message) == (code, "Repository not found")
    assert ask(model, "/api/nope").status_code == 404


# Tokens


def test_private_repositories(users):
    users.add_repo("ann/hidden", FILES, private=True)
    for token, code in ((None, 401), (OTHER, 404)):
        for call in (HfApi(token=token).repo_info, lambda repo_id, t=token: hf_hub_download(repo_id, "x", token=t)):
            with pytest.raises(RepositoryNotFoundError) as error:
                call("ann/hidden")
            assert error.value.response.status_code == code
    assert HfApi(token=READ).repo_info("ann/hidden").private
    assert Path(hf_hub_download("ann/hidden", "config.json", token=READ)).read_bytes() == b"{}"


def test_gated_repositories(users):
    users.add_repo("ann/gated", FILES, gated=True)
    assert HfApi().repo_info("ann/gated").gated == "auto"
    for token, code in ((None, 401), (OTHER, 403)):
        with pytest.raises(GatedRepoError) as error:
            hf_hub_download("ann/gated", "config.json", token=token)
        assert error.value.response.status_code == code
    assert Path(hf_hub_download("ann/gated", "config.json", token=READ)).read_bytes() == b"{}"


def test_whoami(users):
    answers = {token: HfApi(token=token).whoami() for token in (WRITE, READ, OTHER)}
    assert [answer["name"] for answer in answers.values()] == ["ann", "ann", "bob"]
    assert [answer["auth"]["accessToken"]["role"] for answer in answers.values()] == ["write", "read", "write"]
    assert ask(users, "/api/whoami-v2").status_code == 401
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(token=UNKNOWN).whoami()


@pytest.mark.parametrize("call", ["/api/whoami-v2", "/api/models/ann/model", "/api/datasets", WEIGHTS])
def test_bad_tokens_are_refused_everywhere(model, users, call):
    for token, message in (
        (UNKNOWN, "Invalid credentials in Authorization header"),
        (OLD, 'User Access Token "ann-token" is expired'),
    ):
        answer = ask(model, call, token=token)
        assert (answer.status_code, answer.headers["X-Error-Message"]) == (401, message)
        assert token not in answer.text + repr(model.requests)


def test_clients_take_an_expired_token_for_a_missing_repository(model, users):
    with pytest.raises(RepositoryNotFoundError, match="expired"):
        HfApi(token=OLD).repo_info("ann/model")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as error:
        HfApi(token=UNKNOWN).repo_info("ann/model")
    assert not isinstance(error.value, RepositoryNotFoundError)


@pytest.mark.parametrize(
    "call",
    [
        "/api/repos/create",
        "/api/models/ann/model/preupload/main",
        "/ann/model.git/info/lfs/objects/batch",
        "/ann/model.git/info/lfs/objects/verify",
        "/api/models/ann/model/commit/main",
    ],
)
def test_who_may_not_write(model, users, call):
    def post(token):
        answer = ask(model, call, "POST", token, json={"name": "new", "organization": "ann"})
        return answer.status_code, answer.headers["X-Error-Message"]

    assert post(None) == (401, "Invalid username or password.")
    assert post(READ) == (403, "This token is read-only: you must use a write token for this")
    assert post(OTHER) == (403, "You don't have the rights to write under the namespace 'ann'")
    assert len(model.commits("ann/model")) == 1


# Pushing


@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_folders_are_pushed(users, folder, repo_type):
    info = push(folder, repo_type)
    assert {name: data for name, data in users.files("ann/pushed", repo_type).items() if name in FILES} == FILES
    commits = users.commits("ann/pushed", repo_type)
    assert [commit.message for commit in commits] == ["initial commit", "Push"]
    assert (commits[-1].sha, info.repo_url.repo_id) == (info.oid, "ann/pushed")
    assert [blob.large for blob in map(commits[-1].files.get, FILES)] == [False, True, False]
    assert len(asked(users, "PUT")) == 1
    assert HfApi(token=READ).repo_info("ann/pushed", repo_type=repo_type).private
    with pytest.raises(RepositoryNotFoundError):
        HfApi().repo_info("ann/pushed", repo_type=repo_type)


def test_the_same_folder_again_makes_no_commit(users, folder):
    first = push(folder)
    assert push(folder).oid == first.oid
    assert len(users.commits("ann/pushed")) == 2
    (folder / "config.json").write_bytes(b"[]")
    assert push(folder).oid == users.commits("ann/pushed")[-1].sha != first.oid
    assert users.files("ann/pushed")["config.json"] == b"[]"
    assert len(asked(users, "PUT")) == 1  # what is there is not asked for again


def test_a_pushed_model_loads(users, tiny_distilbert, monkeypatch):
    push(tiny_distilbert)
    monkeypatch.setenv("HF_TOKEN", READ)
    model, there = AutoModel.from_pretrained("ann/pushed"), DistilBertModel.from_pretrained(tiny_distilbert)
    assert all(model.state_dict()[name].equal(weights) for name, weights in there.state_dict().items())
    assert AutoTokenizer.from_pretrained("ann/pushed").vocab_size > 1000


def test_a_commit_is_whole_or_not_at_all(users, folder):
    push(folder)
    lines = [
        '{"key": "header", "value": {"summary": "Half"}}',
        '{"key": "file", "value": {"path": "new.txt", "content": "eA==", "encoding": "base64"}}',
        '{"key": "lfsFile", "value": {"path": "big.bin", "oid": "%s", "algo": "sha256"}}' % ("0" * 64),
    ]
    answer = ask(users, "/api/models/ann/pushed/commit/main", "POST", WRITE, content="\n".join(lines))
    assert (answer.status_code, len(users.commits("ann/pushed"))) == (400, 2)
    assert ask(users, "/api/models/ann/pushed/commit/main", "POST", WRITE, content="\n".join(lines[:2])).is_success
    assert users.files("ann/pushed")["new.txt"] == b"x"


def test_commits_since_are_not_overwritten(users, folder):
    first = push(folder)
    api = HfApi(token=WRITE)
    api.delete_file("config.json", "ann/pushed", parent_commit=first.oid)
    assert "config.json" not in users.files("ann/pushed")
    with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
        api.delete_file("a/b/c.txt", "ann/pushed", parent_commit=first.oid)


def test_large_files_without_a_commit_are_not_listed(users, folder):
    users.fail("POST .*/commit/", status(500))
    with pytest.raises(HfHubHTTPError):
        push(folder)
    assert users.files("ann/pushed").keys() == {".gitattributes"}
    push(folder)
    assert users.files("ann/pushed").keys() == {".gitattributes", *FILES}
    assert len(asked(users, "PUT")) == 1


def test_large_files_must_be_announced_and_right(users, folder):
    push(folder)
    address = asked(users, "PUT")[0]
    assert ask(users, address, "PUT", content=b"other").status_code == 400
    assert ask(users, address[:-64] + "0" * 64, "PUT", content=b"other").status_code == 403


# Faults


def test_status(model):
    model.fail("GET /api/models", status(503, {"Retry-After": "1"}), times=2)
    answers = [ask(model, path) for path in ("/api/datasets", *3 * ["/api/models/ann/model"])]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "1"


def test_faults_in_order_and_for_good(model):
    model.fail("HEAD", status(429))
    model.fail("HEAD|GET", status(500), times=None)
    answers = [ask(model, WEIGHTS, method).status_code for method in ("HEAD", "GET", "HEAD", "GET")]
    assert answers == [429, 500, 500, 500]


def test_drop_and_hang(model):
    model.fail("GET", drop())
    with pytest.raises(HTTPError, match="disconnected"):
        ask(model, WEIGHTS)
    model.fail("GET", hang(60))
    with pytest.raises(HTTPError, match="timed out"):
        ask(model, WEIGHTS, timeout=0.05)
    model.fail("GET", hang(0.1))
    start = time.monotonic()
    assert ask(model, WEIGHTS).content == FILES["model.safetensors"]
    assert time.monotonic() - start > 0.1


def test_garble(model):
    model.fail("GET", garble())
    answer = ask(model, WEIGHTS)
    assert len(answer.content) == 1024
    assert not set(zip(answer.content, FILES["model.safetensors"], strict=True)) & {(n, n) for n in range(256)}


def test_cut(model):
    model.fail("GET", cut())
    with pytest.raises(HTTPError, match="received 512 bytes, expected 1024"):
        ask(model, WEIGHTS)


def test_cut_downloads_go_on_where_they_were(hub):
    weights = b"right" * 2**22
    hub.add_repo("ann/model", {"model.safetensors": weights})
    hub.fail("GET", cut())
    hub.fail("GET", garble())
    found = Path(hf_hub_download("ann/model", "model.safetensors")).read_bytes()
    # The client writes 10 MiB at a time: what it has is right, and only the rest is asked for again.
    assert found[: 10 * 2**20] == weights[: 10 * 2**20]
    assert found[10 * 2**20 : 10 * 2**20 + 5] != b"right"
    assert len(found) == len(weights)


def test_lost_answers(users, folder):
    users.fail("POST .*/commit/", lose())
    with pytest.raises(HTTPError, match="disconnected"):
        push(folder)
    assert len(users.commits("ann/pushed")) == 2
    push(folder)
    assert len(users.commits("ann/pushed")) == 2


# The server


def test_the_port_is_refused_before_between_and_after():
    endpoint = os.environ["HF_ENDPOINT"]
    close_session()
    for _ in range(3):
        with pytest.raises(HTTPError, match="refused"):
            get_session().get(endpoint)
        with LoopbackHub(take_address(endpoint)) as hub:
            assert hub.endpoint == endpoint
            assert ask(hub, "/api/datasets").json() == []  # the client keeps this connection
    with pytest.raises(HTTPError, match="refused"):
        get_session().get(endpoint)


def test_hubs_beside_each_other(hub):
    with LoopbackHub() as other:
        other.add_repo("ann/model", FILES)
        assert other.endpoint != hub.endpoint
        assert HfApi(endpoint=other.endpoint).repo_info("ann/model").id == "ann/model"
        assert hub.requests == []
