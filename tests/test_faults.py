"""What the Hub may do to us: each fault is survived, or said with what to do."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback_hub import LoopbackHub, add_checkpoint, add_emotion_data, cut, drop, garble, hang, lose, status
from transformers import DistilBertConfig, DistilBertModel, set_seed

from emotion_tutorial import load_classifier, load_encoder, load_splits, load_tokenizer, push_model, save_model
from emotion_tutorial.exceptions import CheckpointError, DataError, HubError, NotFoundError

CANARY = "hf_canary_that_must_not_be_written"
LOADS: dict[str, Callable[[], Any]] = {
    "dataset": lambda: load_splits("hub"),
    "model": lambda: load_encoder("distilbert-base-uncased", "cpu"),
}
LARGE = {"dataset": r"train-00000.*\.parquet", "model": r"model\.safetensors"}


@pytest.fixture
def filled(hub: LoopbackHub, small, tiny_distilbert) -> LoopbackHub:
    add_emotion_data(hub, small)
    add_checkpoint(hub, tiny_distilbert)
    return hub


@pytest.fixture(params=LOADS)
def kind(request) -> str:
    return request.param


def test_refused_connection_is_said(kind):
    with pytest.raises(HubError, match=r"Could not reach .*\(ConnectError\).*HF_HUB_OFFLINE=1"):
        LOADS[kind]()


@pytest.mark.parametrize("request_", ["GET /api/", "HEAD .*resolve", "GET .*resolve"])
@pytest.mark.parametrize("fault", [status(503), status(429, {"Retry-After": "1"})], ids=["503", "429"])
def test_busy_hub_is_asked_again(filled, kind, request_, fault):
    filled.fail(request_, fault)
    LOADS[kind]()


def test_lasting_trouble_is_said(filled):
    filled.fail("", status(503), times=None)
    with pytest.raises(HubError, match="HTTP status 503"):
        LOADS["model"]()


def test_long_rate_limit_is_not_waited_for(filled, kind):
    filled.fail("", status(429, {"Retry-After": "3600"}), times=None)
    with pytest.raises(HubError, match="HTTP status 429, it asks to wait for 3600 s"):
        LOADS[kind]()


def test_hub_that_does_not_answer_is_given_up(filled):
    filled.fail("", hang(60), times=None)
    with pytest.raises(HubError, match=r"Timeout"):
        LOADS["dataset"]()


def test_download_that_was_cut_off_goes_on(filled, kind):
    filled.fail(f"GET .*{LARGE[kind]}", cut())
    LOADS[kind]()
    assert len([path for method, path in filled.requests if method == "GET" and "resolve" in path]) >= 2


def test_large_download_goes_on_where_it_was_cut_off(hub, tiny_distilbert, tmp_path):
    """The client writes 10 MiB at a time: what it has of a larger file is not fetched again."""
    load_tokenizer(tiny_distilbert).save_pretrained(tmp_path)
    DistilBertModel(DistilBertConfig(dim=256, n_layers=1, n_heads=2, hidden_dim=64)).save_pretrained(tmp_path)
    add_checkpoint(hub, tmp_path)
    hub.fail(f"GET .*{LARGE['model']}", cut())
    there, here = LOADS["model"](), load_encoder(tmp_path, "cpu")
    assert hub.ranges == ["bytes=10485760-"]
    assert all(torch.equal(a, b) for a, b in zip(there.parameters(), here.parameters(), strict=True))


def test_wrong_bytes_are_refused_and_fetched_anew(filled, kind):
    filled.fail(f"GET .*{LARGE[kind]}", garble())
    with pytest.raises(HubError, match=f"{LARGE[kind]} of .* did not arrive.*expected [0-9a-f]{{64}}.*again"):
        LOADS[kind]()
    LOADS[kind]()


def test_dataset_that_is_whole_but_no_parquet_is_said(hub, small):
    add_emotion_data(hub, small)
    files = hub.files("dair-ai/emotion", "dataset")
    hub.add_repo("dair-ai/emotion", files | {"split/train-00000-of-00001.parquet": b"none" * 5000}, repo_type="dataset")
    with pytest.raises(DataError, match="files of 'dair-ai/emotion' on the Hub cannot be read"):
        LOADS["dataset"]()


def test_pickled_weights_are_refused_and_not_fetched(hub, tiny_distilbert, tmp_path):
    files = {path.name: path.read_bytes() for path in tiny_distilbert.iterdir() if path.suffix != ".safetensors"}
    torch.save(load_encoder(tiny_distilbert, "cpu").state_dict(), tmp_path / "weights.bin")
    hub.add_repo("someone/old", files | {"pytorch_model.bin": (tmp_path / "weights.bin").read_bytes()})
    with pytest.raises(CheckpointError, match=r"someone/old has no weights in safetensors.*pickles"):
        load_encoder("someone/old", "cpu")
    assert not [path for _, path in hub.requests if "pytorch_model.bin" in path]


@pytest.mark.parametrize("where", ["hub", "folder"])
def test_code_in_a_repository_is_never_run(hub, tiny_distilbert, tmp_path, where):
    trap = tmp_path / "sprung"
    files = {path.name: path.read_bytes() for path in tiny_distilbert.iterdir()}
    config = json.loads(files["config.json"]) | {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"},
    }
    files |= {"config.json": json.dumps(config).encode(), "own.py": f"open({str(trap)!r}, 'w')".encode()}
    hub.add_repo("someone/own", files)
    folder = tmp_path / "own"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match="Could not load"):
        load_encoder("someone/own" if where == "hub" else folder, "cpu")
    assert not trap.exists()


def test_repository_that_does_not_exist_is_said(hub):
    for load in (load_splits, load_tokenizer):
        with pytest.raises(NotFoundError, match="'someone/nothing' that you may see"):
            load("someone/nothing")


@pytest.mark.parametrize("state", ["no token", "someone else's", "expired", "gated"])
def test_private_repository_is_said(hub, tiny_distilbert, monkeypatch, state):
    add_checkpoint(hub, tiny_distilbert, "ann/secret", private=state != "gated", gated=state == "gated")
    hub.add_token(CANARY, "bob", expired=state == "expired")
    if state != "no token":
        monkeypatch.setenv("HF_TOKEN", CANARY)
    with pytest.raises(NotFoundError, match=r"'ann/secret' that you may see.*hf auth login") as caught:
        load_encoder("ann/secret", "cpu")
    assert CANARY not in str(caught.getrepr(chain=True))


def test_private_repository_loads_with_its_token(hub, tiny_distilbert, monkeypatch):
    add_checkpoint(hub, tiny_distilbert, "ann/secret", private=True)
    hub.add_token(CANARY, "ann", scope="read")
    monkeypatch.setenv("HF_TOKEN", CANARY)
    assert load_encoder("ann/secret", "cpu").config.dim == 32


@pytest.fixture
def folder(tiny_distilbert, tmp_path) -> Path:
    set_seed(0)
    model = load_classifier(tiny_distilbert, ["no", "yes"], "cpu")
    return save_model(model, load_tokenizer(tiny_distilbert), tmp_path / "saved", limits=["Made by a test."])


@pytest.fixture
def ann(hub, monkeypatch) -> LoopbackHub:
    hub.add_token(CANARY, "ann")
    monkeypatch.setenv("HF_TOKEN", CANARY)
    return hub


def contents(folder: Path) -> dict[str, bytes]:
    names = ("README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    return {name: (folder / name).read_bytes() for name in names}


def test_pushed_model_is_private_whole_and_can_be_loaded(ann, folder):
    (folder / "checkpoint-9").mkdir()
    (folder / "checkpoint-9" / "optimizer.pt").write_bytes(b"x")
    (folder / "training_args.bin").write_bytes(b"x")
    (folder / ".env").write_text("SECRET=1")
    url = push_model(folder, "classifier")
    assert url.startswith(f"{ann.endpoint}/ann/classifier/commit/")
    pushed = ann.files("ann/classifier")
    pushed.pop(".gitattributes", None)
    assert pushed == contents(folder)
    model, here = (load_classifier(place, device="cpu") for place in ("ann/classifier", folder))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), here.parameters(), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HF_TOKEN")
        with pytest.raises(NotFoundError, match="that you may see"):
            load_classifier("ann/classifier", device="cpu")


def test_push_without_a_token_is_said(hub, folder):
    with pytest.raises(HubError, match=r"not logged in.*nothing was uploaded.*hf auth login"):
        push_model(folder, "ann/classifier")
    assert [request for request in hub.requests if request[0] != "GET"] == []


def test_push_with_an_expired_token_is_said(hub, folder, monkeypatch):
    hub.add_token(CANARY, "ann", expired=True)
    monkeypatch.setenv("HF_TOKEN", CANARY)
    with pytest.raises(HubError, match=r"status 401.*expired or was revoked.*hf auth login") as caught:
        push_model(folder, "ann/classifier")
    assert CANARY not in str(caught.getrepr(chain=True))


def test_token_that_expires_during_a_push_is_said(ann, folder):
    ann.fail("POST /api/models/ann/classifier/commit", status(401))
    with pytest.raises(HubError, match="status 401"):
        push_model(folder, "ann/classifier")
    push_model(folder, "ann/classifier")
    assert contents(folder).items() <= ann.files("ann/classifier").items()


@pytest.mark.parametrize("repo_id", ["ann/classifier", "bob/classifier"])
def test_push_with_the_wrong_scope_or_to_others_is_said(hub, folder, monkeypatch, repo_id):
    hub.add_token(CANARY, "ann", scope="read" if repo_id.startswith("ann") else "write")
    monkeypatch.setenv("HF_TOKEN", CANARY)
    with pytest.raises(HubError, match=rf"may not write to '{repo_id}'.*status 403.*kind 'write'"):
        push_model(folder, repo_id)


def test_push_to_a_public_repository_is_refused_unless_meant(ann, folder):
    ann.add_repo("ann/public", {"README.md": b"hello"})
    with pytest.raises(HubError, match="'ann/public' is on the Hub already and is public"):
        push_model(folder, "ann/public")
    assert len(ann.commits("ann/public")) == 1
    push_model(folder, "ann/public", private=False)
    assert len(ann.commits("ann/public")) == 2


@pytest.mark.parametrize("request_", ["POST /api/repos/create", "preupload", "info/lfs", "PUT ", "/commit/"])
def test_busy_hub_is_pushed_to_again(ann, folder, request_):
    ann.fail(request_, status(503))
    push_model(folder, "ann/classifier")
    assert contents(folder).items() <= ann.files("ann/classifier").items()


@pytest.mark.parametrize("request_", ["GET /api/whoami", "POST /api/repos/create", "preupload", "PUT ", "/commit/"])
@pytest.mark.parametrize("fault", [drop(), lose()], ids=["drop", "lose"])
def test_interrupted_push_is_said_or_survived_and_can_be_repeated(ann, folder, request_, fault):
    """`drop` interrupts before the Hub did what was asked, `lose` after it."""
    ann.fail(request_, fault)
    with suppress(HubError):
        push_model(folder, "ann/classifier")
    push_model(folder, "ann/classifier")
    push_model(folder, "ann/classifier")
    files = [commit.files for commit in ann.commits("ann/classifier")]
    assert contents(folder).items() <= ann.files("ann/classifier").items()
    assert len([names for names in files if "model.safetensors" in names]) == 1  # one commit, and it is whole


def test_half_a_push_is_not_shown_as_done(ann, folder):
    ann.fail("/commit/", drop(), times=None)
    with pytest.raises(HubError):
        push_model(folder, "ann/classifier")
    assert "model.safetensors" not in ann.files("ann/classifier")


def test_push_to_a_hub_that_is_gone_is_said(folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", CANARY)
    with pytest.raises(HubError, match="Could not reach"):
        push_model(folder, "ann/classifier")


def test_other_bytes_on_the_hub_are_noticed(ann, folder, monkeypatch):
    push_model(folder, "ann/classifier")
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", lambda *args, **kwargs: None)  # as if it had worked
    with pytest.raises(HubError, match=r"holds other bytes.*config.json.*Push again"):
        push_model(folder, "ann/classifier")
