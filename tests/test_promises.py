"""What the review of the first version found broken, as promises to a user: part A of the review, by its numbers."""

import ast
import asyncio
import errno
import io
import re
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from loopback_hub import add_checkpoint, add_emotion_data
from packaging.requirements import Requirement
from packaging.version import Version
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    GPT2Tokenizer,
    T5Config,
    T5Model,
    Trainer,
    TrainingArguments,
    set_seed,
)

import emotion_tutorial as et
from emotion_tutorial.__main__ import main

ROOT = Path(__file__).parents[1]
NAMES = ["cat", "dog"]
FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
TEXTS = ["good", "this is a somewhat longer text", "a day"]


def make(count: int, first: int = 0) -> Dataset:
    """Return texts that all differ, whose first word is the label."""
    labels = [i % 2 for i in range(count)]
    texts = [f"{NAMES[label]} number {first + i}" for i, label in enumerate(labels)]
    return Dataset.from_dict({"text": texts, "label": labels}, features=FEATURES)


def swapped(dataset: Dataset) -> Dataset:
    return dataset.map(lambda row: {"label": 1 - row["label"]}, features=FEATURES)


@pytest.fixture
def splits() -> DatasetDict:
    return DatasetDict(train=make(48), validation=make(12, 100), test=make(12, 200))


@pytest.fixture
def data(splits, tmp_path) -> Path:
    """Write the splits as CSV files, with label names."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split, dataset in splits.items():
        et.to_frame(dataset)[["text", "label_name"]].to_csv(folder / f"{split}.csv", index=False)
    return folder


@pytest.fixture
def artifacts(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


@pytest.fixture
def profile(tiny_checkpoint) -> et.Profile:
    return et.get_profile("quick", checkpoint=str(tiny_checkpoint), learning_rate=5e-3, epochs=1, batch_size=16)


@pytest.fixture
def classifier(tiny_checkpoint):
    set_seed(0)
    return et.load_classifier(tiny_checkpoint, NAMES, "cpu")


@pytest.fixture
def saved(classifier, tokenizer, tmp_path) -> Path:
    return et.save_model(classifier, tokenizer, tmp_path / "saved")


def finetune(data: Path, checkpoint: Path, output: Path, *options: str) -> None:
    paths = ["--data", str(data), "--checkpoint", str(checkpoint), "--output", str(output)]
    settings = ["--label-column", "label_name", "--epochs", "1", "--batch-size", "16"]
    main(["finetune", *paths, *settings, *options])


def save_encoder(folder: Path, tokenizer, seed: int) -> Path:
    """Save a tiny encoder whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def states(*arguments, **options) -> np.ndarray:
    return np.array(et.extract_hidden_states(*arguments, **options)["hidden_state"][:])


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.cpu().parameters(), other.cpu().parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# ---- A1: saving deletes nothing


def test_saving_keeps_the_other_files_of_a_folder(classifier, tokenizer, tmp_path):
    (tmp_path / "onnx").mkdir()
    others = [tmp_path / "notes.txt", tmp_path / "onnx" / "model.onnx"]
    for path in (*others, tmp_path / "config.json"):
        path.write_text("{}")
    et.save_model(classifier, tokenizer, tmp_path)
    assert [path.read_text() for path in others] == ["{}", "{}"]
    assert same_weights(et.load_classifier(tmp_path, NAMES, "cpu"), classifier)


def test_saving_again_keeps_the_export(classifier, tokenizer, saved):
    (saved / "onnx").mkdir()
    (saved / "onnx" / "model.onnx").write_text("exported")
    et.save_model(classifier, tokenizer, saved)
    assert (saved / "onnx" / "model.onnx").read_text() == "exported"


def test_model_is_saved_beside_other_files(classifier, tokenizer, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    et.save_model(classifier, tokenizer, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "model.safetensors").is_file()


# ---- A2: other settings, another model


@pytest.mark.parametrize("option", [("--learning-rate", "1e-3"), ("--seed", "1")], ids=lambda option: option[0])
def test_command_line_trains_again_with_other_settings(data, tiny_checkpoint, tmp_path, option):
    weights = tmp_path / "out" / "model" / "model.safetensors"
    finetune(data, tiny_checkpoint, tmp_path / "out", "--cpu")
    first = weights.read_bytes()
    finetune(data, tiny_checkpoint, tmp_path / "out", "--cpu", *option)
    assert weights.read_bytes() != first


def test_command_line_trains_again_with_other_labels(data, tiny_checkpoint, tmp_path):
    weights = tmp_path / "out" / "model" / "model.safetensors"
    finetune(data, tiny_checkpoint, tmp_path / "out", "--cpu")
    first = weights.read_bytes()
    frame = pd.read_csv(data / "train.csv")
    frame["label_name"] = frame["label_name"].map({"cat": "dog", "dog": "cat"})
    frame.to_csv(data / "train.csv", index=False)
    finetune(data, tiny_checkpoint, tmp_path / "out", "--cpu")
    assert weights.read_bytes() != first


@pytest.mark.parametrize("changed", ["labels", "learning_rate", "seed"])
def test_other_labels_or_settings_give_another_model(splits, profile, tiny_checkpoint, tmp_path, changed):
    settings = {"learning_rate": 5e-3, "epochs": 1, "batch_size": 16}
    other = {"labels": {}, "learning_rate": {"learning_rate": 1e-3}, "seed": {"seed": 1}}[changed]
    other_profile = et.get_profile("quick", checkpoint=str(tiny_checkpoint), **(settings | other))
    other_splits = DatasetDict({**splits, "train": swapped(splits["train"])}) if changed == "labels" else splits
    first = et.load_or_train(splits, profile, folder=tmp_path)
    second = et.load_or_train(other_splits, other_profile, folder=tmp_path)
    assert not same_weights(first.model, second.model)


# ---- A3: what a user puts there stays


def put_weights(folder: Path) -> Path:
    """Do as a user who keeps only the weights of a checkpoint."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder / "model.safetensors"


def test_command_line_keeps_weights_that_a_user_put_there(data, tiny_checkpoint, tmp_path):
    folders = [tmp_path / name / "checkpoint-7" for name in (".", "checkpoints", "training", "model")]
    kept = [put_weights(folder) for folder in folders]
    finetune(data, tiny_checkpoint, tmp_path, "--cpu")
    assert [path.read_bytes() for path in kept] == [b"weights"] * 4


def test_load_or_train_keeps_weights_that_a_user_put_there(splits, profile, tmp_path):
    kept = [put_weights(tmp_path / "checkpoint-7")]
    et.load_or_train(splits, profile, folder=tmp_path)
    [trained] = [path for path in tmp_path.glob("fine-tuned-*") if path.is_dir()]
    kept.append(put_weights(trained / "checkpoint-7"))
    et.load_or_train(splits, profile, folder=tmp_path)
    assert [path.read_bytes() for path in kept] == [b"weights"] * 2


# ---- A4: cached results are told apart by content


def test_datasets_of_other_texts_share_no_hidden_states(tiny_checkpoint, tokenizer, artifacts):
    encoder = et.load_encoder(tiny_checkpoint, "cpu")
    one, other = (states(make(4, first), encoder, tokenizer, cache=True) for first in (0, 50))
    assert not np.allclose(one, other)


def test_order_of_the_texts_counts(tiny_checkpoint, tokenizer, artifacts):
    encoder, texts = et.load_encoder(tiny_checkpoint, "cpu"), make(4)
    forward = states(texts, encoder, tokenizer, cache=True)
    backward = states(texts.select(range(3, -1, -1)), encoder, tokenizer, cache=True)
    np.testing.assert_allclose(backward, forward[::-1], atol=1e-5)


def test_checkpoint_that_changed_shares_no_hidden_states(tokenizer, tmp_path, artifacts):
    found = []
    for seed in (0, 1):
        encoder = et.load_encoder(save_encoder(tmp_path / "encoder", tokenizer, seed), "cpu")
        found.append(states(make(4), encoder, tokenizer, cache=True))
    assert not np.allclose(*found)


def test_checkpoint_that_changed_is_fine_tuned_anew(splits, tokenizer, tmp_path, artifacts):
    models = []
    for seed in (0, 1):
        folder = save_encoder(tmp_path / "encoder", tokenizer, seed)
        profile = et.get_profile("quick", checkpoint=str(folder), epochs=1, batch_size=16)
        models.append(et.load_or_train(splits, profile).model)
    assert not same_weights(*models)


def test_arrays_that_print_alike_share_no_label_errors(profile, artifacts):
    texts, labels = np.array(make(48)["text"][:]), np.arange(48) % 2
    others = np.where(np.arange(48) // 12 == 1, 1 - labels, labels)
    options = {"folds": 2, "method": "fine_tuned", "profile": profile}
    with np.printoptions(threshold=8):
        assert str(labels) == str(others)
        et.find_label_errors(texts, labels, NAMES, **options, cache=True)
        found, expected = (
            et.find_label_errors(texts, others, NAMES, **options, cache=cache) for cache in (True, False)
        )
    pd.testing.assert_frame_equal(found, expected)


# ---- A5: hidden states have no dropout in them


def test_hidden_states_of_a_model_in_training_mode_have_no_noise(tiny_checkpoint, tokenizer):
    encoder = et.load_encoder(tiny_checkpoint, "cpu").train()
    first, second = (states(make(6), encoder, tokenizer, cache=False) for _ in range(2))
    assert encoder.training
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, states(make(6), encoder.eval(), tokenizer, cache=False))


# ---- A6: a saved model keeps its labels


@pytest.mark.parametrize("names", [["dog", "cat"], ["cat", "cow"], ["cat", "dog", "cow"]], ids=", ".join)
def test_saved_model_refuses_other_labels(saved, names):
    from emotion_tutorial.exceptions import CheckpointError

    with pytest.raises(CheckpointError, match="cat, dog"):
        et.load_classifier(saved, names, "cpu")


def test_saved_model_knows_its_labels(saved, classifier):
    again = et.load_classifier(saved, device="cpu")
    assert again.config.id2label == {0: "cat", 1: "dog"}
    assert same_weights(again, classifier)


def test_saved_model_takes_a_new_head_when_asked(saved, classifier):
    other = et.load_classifier(saved, ["a", "b", "c"], "cpu", new_head=True)
    assert other.classifier.weight.shape[0] == 3
    assert same_weights(other.bert, classifier.bert)


# ---- A7: the batch size is that of a step


def trainer_of(splits, checkpoint, folder, **options) -> Trainer:
    return et.build_trainer(splits, checkpoint, output_dir=folder, learning_rate=1e-3, epochs=1, **options)


def texts_per_step(trainer: Trainer) -> int:
    args = trainer.args
    return args.train_batch_size * args.world_size * args.gradient_accumulation_steps


def test_several_gpus_share_a_batch(splits, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda args: 4))
    assert texts_per_step(trainer_of(splits, tiny_checkpoint, tmp_path, batch_size=32)) == 32


def test_accumulated_steps_share_a_batch(splits, tiny_checkpoint, tmp_path):
    trainer = trainer_of(splits, tiny_checkpoint, tmp_path, batch_size=32, gradient_accumulation_steps=4)
    assert texts_per_step(trainer) == 32


def test_batch_that_cannot_be_shared_is_refused(splits, tiny_checkpoint, tmp_path, monkeypatch):
    from emotion_tutorial.exceptions import SettingsError

    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda args: 4))
    with pytest.raises(SettingsError, match="30"):
        trainer_of(splits, tiny_checkpoint, tmp_path, batch_size=30)


# ---- A8: decoders work, encoder-decoders are refused


@pytest.fixture
def gpt2(tmp_path) -> Path:
    """Save a tiny decoder whose tokenizer, of bytes, has no padding token."""
    torch.manual_seed(0)
    vocabulary = {token: i for i, token in enumerate([*sorted(ByteLevel.alphabet()), "<|endoftext|>"])}
    config = GPT2Config(vocab_size=257, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    config.bos_token_id = config.eos_token_id = 256
    GPT2Model(config).save_pretrained(tmp_path / "gpt2")
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=[], model_max_length=64)
    assert tokenizer.pad_token is None
    tokenizer.save_pretrained(tmp_path / "gpt2")
    return tmp_path / "gpt2"


def test_decoder_predicts_the_same_alone_and_in_a_batch(gpt2):
    set_seed(0)
    model, tokenizer = et.load_classifier(gpt2, NAMES, "cpu"), et.load_tokenizer(gpt2)
    together = et.predict_proba(TEXTS, model, tokenizer)
    alone = pd.concat([et.predict_proba(text, model, tokenizer) for text in TEXTS], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, atol=1e-5)


def test_decoder_is_fine_tuned(gpt2, splits, tmp_path):
    trainer = trainer_of(splits, gpt2, tmp_path / "run", batch_size=16, use_cpu=True)
    trainer.train()
    assert trainer.predict(et.tokenize(splits["test"], trainer.processing_class)).predictions.shape == (12, 2)


def test_decoder_is_pooled_at_its_last_token(gpt2):
    encoder, tokenizer = et.load_encoder(gpt2, "cpu"), et.load_tokenizer(gpt2)
    texts = Dataset.from_dict({"text": TEXTS})
    found = states(texts, encoder, tokenizer, pooling="cls", precision="float32", cache=False)
    for row, text in enumerate(TEXTS):
        with torch.inference_mode():
            last = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1]
        np.testing.assert_allclose(found[row], last, atol=1e-5)


@pytest.mark.parametrize("load", [et.load_encoder, lambda folder: et.load_classifier(folder, NAMES)])
def test_encoder_decoder_is_refused(tokenizer, tmp_path, load):
    from emotion_tutorial.exceptions import CheckpointError

    config = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"(?i)encoder-decoder|t5"):
        load(tmp_path)


# ---- A9: what people have in a notebook


def contents(splits: DatasetDict) -> dict[str, list[tuple[str, str]]]:
    frames = {split: et.to_frame(dataset) for split, dataset in splits.items()}
    return {split: list(zip(frame["text"], frame["label_name"], strict=True)) for split, frame in frames.items()}


@pytest.mark.parametrize("kind", ["DatasetDict", "datasets", "frames"])
def test_splits_in_memory_are_loaded(splits, kind):
    frames = {split: et.to_frame(dataset)[["text", "label"]] for split, dataset in splits.items()}
    loaded = et.load_splits(
        {"DatasetDict": splits, "datasets": dict(splits), "frames": frames}[kind],
        label_names=NAMES if kind == "frames" else None,
    )
    assert contents(loaded) == contents(splits)


@pytest.mark.parametrize("kind", ["frame", "Dataset"])
def test_rows_in_memory_are_split(kind):
    from emotion_tutorial.exceptions import DataWarning

    frame = et.to_frame(make(60))[["text", "label_name"]].rename(columns={"label_name": "label"})
    source = frame if kind == "frame" else Dataset.from_pandas(frame)
    with pytest.warns(DataWarning):
        loaded = et.load_splits(source)
    assert loaded["train"].features["label"].names == NAMES
    rows = [row for split in contents(loaded).values() for row in split]
    assert sorted(rows) == sorted(zip(frame["text"], frame["label"], strict=True))


@pytest.mark.parametrize("name", ["easy", "hard"])
def test_configuration_on_the_hub_is_chosen_by_name(hub, name):
    card, files, configurations = "---\nconfigs:\n", {}, {}
    for i, each in enumerate(("easy", "hard")):
        configurations[each] = DatasetDict(
            {split: make(12, 1000 * i + 100 * j) for j, split in enumerate(("train", "validation", "test"))}
        )
        card += f"- config_name: {each}\n  data_files:\n"
        for split, dataset in configurations[each].items():
            card += f"  - split: {split}\n    path: {each}/{split}.parquet\n"
            dataset.to_parquet(buffer := io.BytesIO())
            files[f"{each}/{split}.parquet"] = buffer.getvalue()
    hub.add_repo("someone/pets", {"README.md": f"{card}---\n".encode(), **files}, repo_type="dataset")
    assert contents(et.load_splits("someone/pets", name=name)) == contents(configurations[name])


@pytest.mark.parametrize("hidden", [-1, None])
def test_hidden_test_labels_in_files_are_set_aside(splits, tmp_path, hidden):
    from emotion_tutorial.exceptions import DataWarning

    frames = {split: et.to_frame(dataset)[["text", "label"]] for split, dataset in splits.items()}
    frames["test"]["label"] = hidden
    for split, frame in frames.items():
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
    with pytest.warns(DataWarning, match="test"):
        loaded = et.load_splits(tmp_path, label_names=NAMES)
    assert set(loaded["test"]["text"]) < set(splits["train"]["text"])
    assert contents(loaded)["validation"] == contents(splits)["validation"]


def test_hidden_test_labels_of_a_benchmark_are_set_aside(splits):
    from emotion_tutorial.exceptions import DataWarning

    hidden = splits["test"].map(lambda row: {"label": -1}, features=FEATURES)
    with pytest.warns(DataWarning, match="test"):
        loaded = et.load_splits(DatasetDict({**splits, "test": hidden}))
    assert set(loaded["test"]["text"]) < set(splits["train"]["text"])
    assert set(loaded["test"]["label"]) == {0, 1}


# ---- A10: devices and versions


@pytest.mark.parametrize("command", ["finetune", "extract"])
def test_cpu_leaves_the_accelerator_alone(data, tiny_checkpoint, tmp_path, monkeypatch, command):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "set_device_index", lambda *args: pytest.fail("took an accelerator"))
    if command == "finetune":
        finetune(data, tiny_checkpoint, tmp_path / "out", "--cpu")
    else:
        paths = ["--data", str(data), "--checkpoint", str(tiny_checkpoint), "--output", str(tmp_path / "out")]
        main(["extract", *paths, "--label-column", "label_name", "--cpu"])
    assert any((tmp_path / "out").iterdir())


def requirements() -> dict[str, Requirement]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {found.name: found for found in map(Requirement, project["dependencies"])}


def package_sources() -> dict[str, str]:
    """Return the package's code, without comments."""
    paths = sorted((ROOT / "emotion_tutorial").rglob("*.py"))
    return {path.name: ast.unparse(ast.parse(path.read_text(encoding="utf-8"))) for path in paths}


def test_lowest_torch_has_what_is_called():
    [lowest] = [Version(bound.version) for bound in requirements()["torch"].specifier if bound.operator == ">="]
    users = [name for name, source in package_sources().items() if "check_available=" in source]
    assert lowest >= Version("2.7") or users == []


def test_workflow_tests_the_lowest_versions():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    commands = ["\n".join(step.get("run", "") for step in job["steps"]) for job in jobs.values()]
    assert [run for run in commands if "lowest" in run and "pytest" in run]


# ---- A11: many classes; a service inside another; features


def test_a_thousand_classes_fit_into_memory():
    y_true, y_pred = np.random.default_rng(0).integers(0, 1000, (2, 2000))
    tracemalloc.start()
    try:
        metrics = et.evaluate(y_true, y_pred, [f"class {i}" for i in range(1000)], resamples=300)
        assert tracemalloc.get_traced_memory()[1] < 2**30
    finally:
        tracemalloc.stop()
    assert len(metrics) == 3 * 1000 + 3


@pytest.fixture(scope="module")
def exported(tiny_checkpoint, tokenizer, tmp_path_factory) -> Path:
    set_seed(0)
    model = et.load_classifier(tiny_checkpoint, NAMES, "cpu").eval()
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    et.export_onnx(model, tokenizer, folder, quantize=False)
    return folder


async def ask(app, path: str, texts: list[str]) -> "httpx.Response":  # noqa: F821
    """Send a request to an application whose lifespan does not run."""
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        return await client.post(path, json={"texts": texts}, timeout=None)


@pytest.mark.parametrize("mounted", [True, False])
def test_service_answers_without_its_lifespan(exported, mounted):
    from fastapi import FastAPI

    app = et.create_app(exported)
    if mounted:
        inner, app = app, FastAPI()
        app.mount("/pets", inner)
    answer = asyncio.run(asyncio.wait_for(ask(app, "/pets/predict" if mounted else "/predict", TEXTS), timeout=5))
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == len(TEXTS)


def test_service_refuses_what_it_cannot_queue(exported, monkeypatch):
    free = threading.Event()
    compute = et.OnnxClassifier.predict_proba

    def wait_and_compute(self, texts):
        free.wait(60)
        return compute(self, texts)

    async def flood() -> list[int]:
        """Ask until a request is refused, then let the others be answered."""
        asked = [asyncio.create_task(ask(app, "/predict", ["a day"] * 64)) for _ in range(1000)]
        try:
            await asyncio.wait(asked, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            refused = [task.result().status_code for task in asked if task.done()]
            assert set(refused) & {429, 503}
        finally:
            free.set()
        return [answer.status_code for answer in await asyncio.gather(*asked)]

    monkeypatch.setattr(et.OnnxClassifier, "predict_proba", wait_and_compute)
    free.set()
    app = et.create_app(exported)
    free.clear()
    assert 200 in asyncio.run(flood())


@pytest.fixture
def umap(tmp_path, monkeypatch) -> Iterator[None]:
    """Put a package in the place of umap that tells whether TensorFlow was hidden when it was imported."""
    (tmp_path / "umap").mkdir()
    (tmp_path / "umap" / "umap_.py").write_text(
        "class UMAP:\n    def __init__(self, **settings): pass\n    def fit_transform(self, X): return X[:, :2]\n"
    )
    (tmp_path / "umap" / "__init__.py").write_text(
        "import sys\nfrom .umap_ import UMAP\nhides_tensorflow = sys.modules.get('tensorflow', 0) is None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in {name for name in sys.modules if name.split(".")[0] == "umap"} | {"umap", "umap.umap_", "tensorflow"}:
        monkeypatch.setitem(sys.modules, name, None)  # so that what is there now comes back
        del sys.modules[name]


def test_projection_leaves_tensorflow_alone(umap):
    et.project_2d(np.random.default_rng(0).random((8, 3)))
    assert not sys.modules["umap"].hides_tensorflow


def test_card_needs_only_an_accuracy(classifier, tokenizer, tmp_path):
    row = {"name": "overall", "metric": "accuracy", "value": 0.9, "low": 0.8, "high": 1.0, "support": 50}
    folder = et.save_model(classifier, tokenizer, tmp_path / "saved", metrics=pd.DataFrame([row]))
    assert "0.900" in (folder / "README.md").read_text(encoding="utf-8")


def test_side_of_the_padding_does_not_matter(tiny_checkpoint):
    encoder, texts, found = et.load_encoder(tiny_checkpoint, "cpu"), Dataset.from_dict({"text": TEXTS}), []
    for side in ("right", "left"):
        tokenizer = et.load_tokenizer(tiny_checkpoint)
        tokenizer.padding_side = side
        found.append(states(texts, encoder, tokenizer, pooling="cls", precision="float32", cache=False))
    np.testing.assert_allclose(*found, atol=1e-5)


# ---- A12: an error of the system stays what it is


def test_missing_permission_is_said_as_it_is(classifier, tokenizer, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "denied", "/x")

    monkeypatch.setattr(classifier, "save_pretrained", refuse)
    with pytest.raises(PermissionError, match="denied") as caught:
        et.save_model(classifier, tokenizer, tmp_path / "saved")
    assert "free space" not in str(caught.value).lower()


@pytest.mark.parametrize("kind", ["checkpoint", "data"])
def test_full_disk_during_a_download_is_said_as_it_is(hub, small, tiny_distilbert, monkeypatch, kind):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    add_checkpoint(hub, tiny_distilbert)
    add_emotion_data(hub, small)
    monkeypatch.setattr("huggingface_hub.file_download.http_get", refuse)
    with pytest.raises(OSError, match="No space left on device") as caught:
        et.load_encoder("distilbert-base-uncased", "cpu") if kind == "checkpoint" else et.load_splits("hub")
    assert caught.value.errno == errno.ENOSPC
    assert "network" not in str(caught.value)


# ---- A13: the tests run where the workflow runs them


def modules_of_the_tests() -> list[Path]:
    """Return what the tests import of this repository, themselves included."""
    return [ROOT / "conftest.py", *sorted((ROOT / "tests").glob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]


def at_import(path: Path) -> list[ast.AST]:
    """Return what is run on every system when a module is imported: no functions, nothing under an `if` or a `try`."""
    skipped = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.Try)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return [node for statement in body if not isinstance(statement, skipped) for node in ast.walk(statement)]


def test_no_module_imports_what_windows_lacks():
    lacking = {"resource", "fcntl", "pwd", "grp", "termios", "pty"}
    for path in modules_of_the_tests():
        for node in at_import(path):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not lacking & set(names), path.name


def test_no_module_takes_a_forkserver_on_import():
    for path in modules_of_the_tests():
        constants = [node.value for node in at_import(path) if isinstance(node, ast.Constant)]
        assert not {"forkserver", "fork"} & {value for value in constants if isinstance(value, str)}, path.name


def test_no_two_sockets_share_a_port():
    for path in modules_of_the_tests():
        attributes = {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if hasattr(node, "attr")}
        assert not {"SO_REUSEADDR", "SO_REUSEPORT"} & attributes, path.name


# ---- A14: only what libraries promise, and nothing for the whole process

FRAGILE = {
    "forward without hooks": r"type\(\w+\)\.forward",
    "samplers of the Trainer": r"_get_(train|eval)_sampler",
    "datasets' stratification": r"datasets\.utils\.stratify",
    "frames of the interpreter": r"\b_getframe\b",
    "allocator": r"mallopt",
    "environment": r"os\.environ(\[[^\]]*\] = |\.(setdefault|update|pop)\()|os\.putenv",
    "logging of everything": r"\blogging\.disable\(",
    "standard output": r"redirect_stdout",
}


@pytest.mark.parametrize("pattern", FRAGILE.values(), ids=FRAGILE)
def test_package_does_without(pattern):
    assert [name for name, source in package_sources().items() if re.search(pattern, source)] == []


def test_hooks_of_a_model_are_called(classifier, tokenizer):
    called = []
    classifier.register_forward_hook(lambda *args: called.append(1))
    et.predict_proba(TEXTS, classifier, tokenizer)
    assert called


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_waiting_for_another_training_is_said(splits, profile, artifacts, monkeypatch):
    from emotion_tutorial.exceptions import TrainingWarning

    began, go_on, train = threading.Event(), threading.Event(), Trainer.train

    def wait_and_train(self, *args, **kwargs):
        began.set()
        assert go_on.wait(60)
        return train(self, *args, **kwargs)

    def is_said() -> bool:
        return any(issubclass(warning.category, TrainingWarning) for warning in said)

    monkeypatch.setattr(Trainer, "train", wait_and_train)
    with warnings.catch_warnings(record=True) as said, ThreadPoolExecutor(2) as threads:
        warnings.simplefilter("always")
        try:
            first = threads.submit(et.load_or_train, splits, profile)
            wait_for(lambda: began.is_set() or first.done())
            second = threads.submit(et.load_or_train, splits, profile)
            wait_for(lambda: is_said() or second.done())
            assert is_said()
        finally:
            go_on.set()
    assert same_weights(first.result().model, second.result().model)
