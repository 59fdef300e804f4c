"""Loading from the Hub and pushing to it, by the real clients: what works, and what is said when it does not."""

import errno
import json
import traceback
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import nbformat
import pytest
from datasets import DatasetDict
from huggingface_hub import HfFileSystem, constants
from loopback_hub import LoopbackHub, add_dataset, add_emotion_data
from transformers import pipeline

import emotion_tutorial as et

CANARY = "hf_canary_that_must_not_be_written"


@pytest.fixture(params=["data", "model"])
def case(request, hub, small, tiny_distilbert) -> SimpleNamespace:
    """Put something on the Hub; return how it is loaded, what it holds, its largest file, and what writes it."""
    writers = ["huggingface_hub.file_download.http_get", "datasets.arrow_writer.ArrowWriter.write_table"]
    if request.param == "data":
        add_emotion_data(hub, small)
        load = lambda name=None: contents(et.load_splits("hub", name=name))  # noqa: E731
        return SimpleNamespace(load=load, holds=contents(small), file=r"train-0.*\.parquet", writers=writers)
    hub.add_repo("distilbert-base-uncased", tiny_distilbert)
    load = lambda name="distilbert-base-uncased": contents(et.load_encoder(name, "cpu"))  # noqa: E731
    holds = contents(et.load_encoder(tiny_distilbert, "cpu"))
    return SimpleNamespace(load=load, holds=holds, file=r"model\.safetensors", writers=writers[:1])


def contents(loaded) -> list:
    if isinstance(loaded, DatasetDict):
        return [dataset[:] for dataset in loaded.values()]
    return [weights.tolist() for weights in loaded.state_dict().values()]


def test_what_was_loaded_once_needs_no_hub(hub, case):
    assert case.load() == case.holds
    hub.close()
    HfFileSystem.clear_instance_cache()  # as in a new process
    assert case.load() == case.holds
    with pytest.raises(et.HubError, match="could not be reached"):
        case.load("unsplit")


@pytest.fixture
def backwards(small) -> DatasetDict:
    return DatasetDict({split: dataset.select(range(119, -1, -1)) for split, dataset in small.items()})


def test_configuration_of_a_data_set_is_chosen_by_name(hub, small, backwards):
    add_dataset(hub, "someone/texts", {"first": small, "second": backwards})
    assert contents(et.load_splits("someone/texts", name="second")) == contents(backwards)
    for name in (None, "third"):
        with pytest.raises(et.SettingsError, match=r"first.*second.*name="):
            et.load_splits("someone/texts", name=name)


def test_a_data_set_is_of_its_revision_or_of_none(hub, small, backwards):
    """What was downloaded of another revision is never taken in its place, even if the Hub is gone."""
    first, last = (add_dataset(hub, "someone/texts", {"default": splits}) for splits in (small, backwards))
    for revision, splits in ((first, small), (None, backwards), ("main", backwards), (last, backwards)):
        assert contents(et.load_splits("someone/texts", revision=revision)) == contents(splits)
    with pytest.raises(et.NotFoundError, match=r"'someone/texts'.*no such revision"):
        et.load_splits("someone/texts", revision="v9")
    hub.close()
    HfFileSystem.clear_instance_cache()
    for revision, splits in ((first, small), (last, backwards)):
        with suppress(et.HubError):
            assert contents(et.load_splits("someone/texts", revision=revision)) == contents(splits)
    with pytest.raises(et.HubError, match="could not be reached"):
        et.load_splits("someone/texts", revision="main")


def test_revision_follows_the_at_sign(hub, tiny_distilbert):
    first = hub.add_repo("distilbert-base-uncased", tiny_distilbert)
    hub.add_repo("distilbert-base-uncased", {"config.json": b"{}"})
    assert et.load_encoder(f"distilbert-base-uncased@{first}", "cpu").config.dim == 32
    with pytest.raises(et.NotFoundError, match="no such revision"):
        et.load_encoder("distilbert-base-uncased@v9", "cpu")


@pytest.mark.parametrize(
    ("options", "token"),
    [(None, ""), ({"private": True}, "stranger"), ({"gated": True}, ""), ({"gated": True}, "stranger")],
)
def test_repository_that_is_not_for_you_is_not_found(hub, small, tiny_distilbert, monkeypatch, options, token):
    if options:
        hub.add_repo("ann/it", tiny_distilbert, **options)
        add_dataset(hub, "ann/it", {"default": small}, **options)
    hub.add_token("stranger", "bob")
    monkeypatch.setenv("HF_TOKEN", token)
    for load in (et.load_encoder, et.load_splits):
        with pytest.raises(et.NotFoundError, match=r"^The Hub has no 'ann/it' that you may see.*hf auth login.*$"):
            load("ann/it")


@pytest.mark.parametrize("code", [503, 403, None])
def test_hub_that_refuses_or_is_gone_is_said(hub, case, code):
    hub.fail("", code) if code else hub.close()
    with pytest.raises(et.HubError, match=str(code or "could not be reached")):
        case.load()


def test_offline_mode_without_a_download_is_said(hub, case, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(et.HubError, match=r"HF_HUB_OFFLINE=1 forbids.* Nor is there a .*folder"):
        case.load()
    assert not hub.requests


def test_half_a_file_is_never_taken_for_the_whole_and_passing_trouble_is_survived(hub, case):
    for request, fault in ((f"GET .*{case.file}", "cut"), ("", 503)):
        hub.fail(request, fault)
        with pytest.raises(et.HubError):
            case.load()
    hub.faults.clear()
    hub.fail(f"GET .*{case.file}", "cut", times=3)
    assert case.load() == case.holds


def test_full_disk_is_said_by_the_system(case):
    full = OSError(errno.ENOSPC, "No space left on device")
    for writer in case.writers:
        with patch(writer, side_effect=full), pytest.raises(OSError, match="No space left") as caught:
            case.load()
        assert caught.value is full


def test_pickled_weights_are_refused_and_not_fetched(hub):
    hub.add_repo("someone/old", {"config.json": b"{}", "pytorch_model.bin": b"\x80"})
    with pytest.raises(et.CheckpointError, match="pickles"):
        et.load_encoder("someone/old", "cpu")
    assert not [path for _, path in hub.requests if ".bin" in path]


def test_code_in_a_repository_is_never_run(hub, tiny_distilbert, tmp_path):
    code = f"open({str(tmp_path / 'it ran')!r}, 'w')".encode()
    files = {path.name: path.read_bytes() for path in tiny_distilbert.iterdir()} | {"own.py": code}
    config = files["config.json"].replace(b"{", b'{"auto_map": {"AutoConfig": "own.A", "AutoModel": "own.B"},', 1)
    hub.add_repo("someone/own", files | {"config.json": config})
    hub.add_repo("someone/own", {"own.py": code}, repo_type="dataset")
    et.load_encoder("someone/own", "cpu")
    with pytest.raises(et.DataError, match="scripts are no longer supported"):
        et.load_splits("someone/own")
    assert not (tmp_path / "it ran").exists()


@pytest.fixture
def folder(tiny_distilbert, tokenizer, tmp_path):
    return et.save_model(et.load_classifier(tiny_distilbert, ["no", "yes"], "cpu"), tokenizer, tmp_path / "saved")


@pytest.fixture
def ann(hub, monkeypatch) -> LoopbackHub:
    hub.add_token(CANARY, "ann")
    monkeypatch.setenv("HF_TOKEN", CANARY)
    return hub


def test_pushed_model_is_private_and_whole(ann, folder):
    saved = {name: (folder / name).read_bytes() for name in json.loads((folder / "saved_files.json").read_text())}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= {*saved}
    strays = ["customers.json", ".credentials.json", "complaints.txt", "vocab.txt", "model-00001-of-00002.safetensors"]
    for name in [*strays, "training_args.bin", "onnx/config.json", "checkpoint-3/model.safetensors"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not for others")
    assert et.push_model(folder, "classifier") == et.push_model(folder, "classifier")
    assert ann.repos["models", "ann/classifier"].private
    assert ann.files("ann/classifier") == saved | {".gitattributes": b""}
    models = [et.load_classifier(source, device="cpu") for source in ("ann/classifier", folder)]
    there, here = (et.predict_proba(["good", ""], model, et.load_tokenizer(folder)) for model in models)
    assert there.equals(here)


def test_the_push_of_notebook_7_works_as_it_stands_there(ann, folder):
    notebook = nbformat.read(Path(__file__).parents[1] / "notebooks" / "07_saving_and_sharing.ipynb", as_version=4)
    [source] = [cell.source for cell in notebook.cells if cell.source.startswith("if PUSH:")]
    model, tokenizer = et.load_classifier(folder, device="cpu"), et.load_tokenizer(folder)
    names = {
        "PUSH": True,
        "REPO": "emotion-classifier",
        "et": et,
        "folder": folder,
        "model": model,
        "tokenizer": tokenizer,
    }
    exec(source, names)
    assert ann.repos["models", "ann/emotion-classifier"].private
    assert ann.files("ann/emotion-classifier").keys() >= {"README.md", "model.safetensors", "tokenizer.json"}
    expected = et.predict_proba("good", model, tokenizer).loc[0]
    for row in pipeline("text-classification", model="ann/emotion-classifier")("good", top_k=None):
        assert row["score"] == pytest.approx(expected[row["label"]], abs=1e-5)


def test_push_of_weights_that_were_not_saved_with_the_card_is_refused(ann, folder):
    model = et.load_classifier(folder, device="cpu")
    model.classifier.weight.data += 1
    model.save_pretrained(folder)
    with pytest.raises(et.CheckpointError, match=r"model\.safetensors in .* is not what save_model wrote"):
        et.push_model(folder, "classifier")
    assert not ann.repos


@pytest.mark.parametrize("listed", ["{", '{"../secret": "0"}', '{"lost.json": "0"}', None], ids=str)
def test_push_without_the_list_of_what_was_saved_is_refused(ann, folder, listed):
    (folder.parent / "secret").write_text("not for others")
    (folder / "saved_files.json").unlink()
    if listed:
        (folder / "saved_files.json").write_text(listed)
    with pytest.raises(et.CheckpointError, match=r"no saved model|is not what"):
        et.push_model(folder, "classifier")
    assert not ann.repos


@pytest.mark.parametrize(
    ("token", "said"), [("", "oken is required"), ("old", "invalid"), ("read", "403"), ("bob", "403")]
)
def test_push_that_is_not_allowed_is_said(hub, folder, monkeypatch, token, said):
    hub.add_token("read", "ann", may_write=False)
    hub.add_token("bob", "bob")
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(et.HubError, match=f"{said}.*hf auth login"):
        et.push_model(folder, "ann/classifier")
    assert not hub.repos


def test_push_into_a_public_repository_must_be_meant(ann, folder):
    ann.add_repo("ann/public", {"README.md": b"hello"})
    with pytest.raises(et.HubError, match="is public"):
        et.push_model(folder, "ann/public")
    assert ann.files("ann/public") == {"README.md": b"hello"}
    et.push_model(folder, "ann/public", private=False)
    assert "model.safetensors" in ann.files("ann/public")


@pytest.mark.parametrize("name", ["my..model", "ann/a--b"])
def test_name_that_the_hub_does_not_allow_is_refused_before_it_is_asked(ann, folder, name):
    with pytest.raises(et.SettingsError, match=r"allows no such name.*Choose another repo_id"):
        et.push_model(folder, name)
    assert not ann.requests


@pytest.mark.parametrize("request_", ["POST .*create", "PUT", "/commit/"])
def test_interrupted_push_shows_nothing_and_can_be_repeated(ann, folder, request_):
    ann.fail(request_, 503)
    with pytest.raises(et.HubError, match="503"):
        et.push_model(folder, "ann/classifier")
    assert not any("model.safetensors" in files for repo in ann.repos.values() for files in repo.commits.values())
    ann.faults.clear()
    et.push_model(folder, "ann/classifier")
    assert "model.safetensors" in ann.files("ann/classifier")


def test_token_is_written_nowhere(ann, folder, tmp_path, capfd, caplog):
    caplog.set_level("DEBUG")
    et.push_model(folder, "ann/classifier")
    et.load_encoder("ann/classifier", "cpu")
    ann.tokens.clear()
    with pytest.raises(et.HubError) as caught:
        et.push_model(folder, "ann/classifier")
    said = [*capfd.readouterr(), caplog.text, *traceback.format_exception(caught.value)]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert CANARY.encode() not in b"".join([*written, *ann.files("ann/classifier").values(), *map(str.encode, said)])
