"""Fine-tuning: what a Trainer is set up to do, and trained models that are found again."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, concatenate_datasets
from transformers import AutoModel, Trainer, TrainerCallback, TrainingArguments

import emotion_tutorial as et

SETTINGS = {"learning_rate": 5e-3, "epochs": 3, "batch_size": 16}
QUIETLY = {"use_cpu": True, "disable_tqdm": True}


@pytest.fixture(scope="module")
def splits() -> DatasetDict:
    """Texts of very different lengths; the label is in the first word."""
    rng = np.random.default_rng(0)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["cat", "dog"])})

    def make(count: int) -> Dataset:
        labels = rng.integers(0, 2, count).tolist()
        texts = [f"{['cat', 'dog'][label]} " + "word " * int(rng.integers(0, 30)) for label in labels]
        return Dataset.from_dict({"text": texts, "label": labels}, features=features)

    return DatasetDict(train=make(160), validation=make(40), test=make(51))


def build(splits, checkpoint, folder, **options) -> Trainer:
    return et.build_trainer(splits, checkpoint, output_dir=folder, **(SETTINGS | QUIETLY | options))


def predictions(trainer, splits) -> np.ndarray:
    return trainer.predict(et.tokenize(splits["test"], trainer.processing_class)).predictions


def accuracies(trainer) -> list[float]:
    return [log["eval_accuracy"] for log in trainer.state.log_history if "eval_accuracy" in log]


@pytest.fixture(scope="module")
def trained(splits, tiny_checkpoint, tmp_path_factory) -> Trainer:
    trainer = build(splits, tiny_checkpoint, tmp_path_factory.mktemp("trained"))
    trainer.train()
    return trainer


def test_learns_and_names_its_labels(trained):
    assert len(accuracies(trained)) == 3
    assert max(accuracies(trained)) > 0.9
    assert trained.model.config.id2label == {0: "cat", 1: "dog"}


def test_predictions_are_in_the_order_of_the_rows(trained, splits):
    """Grouping by length must not shuffle what is predicted."""
    tokenized = et.tokenize(splits, trained.processing_class)["test"]
    output = trained.predict(tokenized)
    assert output.label_ids.tolist() == tokenized["label"][:]
    for row in (0, 7, 49):
        ids = torch.tensor([tokenized[row]["input_ids"]])
        with torch.inference_mode():
            alone = trained.model.eval()(input_ids=ids).logits[0].numpy()
        np.testing.assert_allclose(output.predictions[row], alone, atol=1e-4)
    assert trained.eval_dataset["text"][:] == splits["validation"]["text"][:]


def test_training_batches_are_grouped_by_length(splits, tiny_checkpoint, tmp_path):
    many = DatasetDict(splits, train=concatenate_datasets([splits["train"]] * 10))

    def padding(**options: str) -> float:
        batches = build(many, tiny_checkpoint, tmp_path, **options).get_train_dataloader()
        masks = [batch["attention_mask"] for batch in batches]
        return 1 - sum(mask.sum().item() for mask in masks) / sum(mask.numel() for mask in masks)

    assert padding() < 0.1 < 0.3 < padding(train_sampling_strategy="random")


class Ruin(TrainerCallback):
    """Ruin the weights in the last epoch."""

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        if state.epoch == 3:
            with torch.no_grad():
                for weight in model.parameters():
                    weight.zero_()


def test_best_epoch_is_restored(splits, tiny_checkpoint, tmp_path):
    trainer = build(splits, tiny_checkpoint, tmp_path)
    trainer.add_callback(Ruin())
    trainer.train()
    assert accuracies(trainer)[2] < max(accuracies(trainer))
    assert trainer.predict(trainer.eval_dataset).metrics["test_accuracy"] == max(accuracies(trainer))


@pytest.mark.parametrize(("gpus", "accumulated"), [(4, 1), (1, 4)])
def test_batch_size_is_that_of_a_step(splits, tiny_checkpoint, tmp_path, monkeypatch, gpus, accumulated):
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda args: gpus))
    options = {"gradient_accumulation_steps": accumulated}
    args = build(splits, tiny_checkpoint, tmp_path, batch_size=32, **options).args
    assert args.train_batch_size * args.world_size * args.gradient_accumulation_steps == 32
    with pytest.raises(et.SettingsError, match="batch of 30 cannot be divided into 4"):
        build(splits, tiny_checkpoint, tmp_path, batch_size=30, **options)


def test_one_label_is_refused(splits, tiny_checkpoint, tmp_path):
    cats = splits["train"].filter(lambda row: row["label"] == 0)
    with pytest.raises(et.DataError, match="1 label"):
        build(DatasetDict(splits, train=cats), tiny_checkpoint, tmp_path)


@pytest.mark.parametrize("weights", [None, [1.0, 5.0]])
def test_accumulated_batches_train_as_whole_ones(splits, tiny_checkpoint, tokenizer, tmp_path, weights):
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    AutoModel.from_pretrained(tiny_checkpoint, **options).save_pretrained(tmp_path / "no-dropout")
    tokenizer.save_pretrained(tmp_path / "no-dropout")
    found = []
    for parts in (1, 4):
        arguments = {"class_weights": weights, "gradient_accumulation_steps": parts, "epochs": 1, "optim": "sgd"}
        trainer = build(splits, tmp_path / "no-dropout", tmp_path / str(parts), learning_rate=0.1, **arguments)
        trainer.train()
        found.append(predictions(trainer, splits))
    np.testing.assert_allclose(*found, atol=2e-3)


def test_class_weights_move_a_model_towards_the_rare_label(tiny_checkpoint, tmp_path, splits):
    """One text in five is a dog's, at random: only the weights can make a model answer dog."""
    labels = (np.random.default_rng(0).random(160) < 0.2).astype(int).tolist()
    noise = Dataset.from_dict({"text": ["word"] * 160, "label": labels}, features=splits["train"].features)
    said = []
    for weights in (None, "balanced", np.array([1.0, 20.0])):
        folder = tmp_path / str(len(said))
        trainer = build(DatasetDict(train=noise, validation=noise), tiny_checkpoint, folder, class_weights=weights)
        trainer.train()
        said.append(et.predict_proba("word", trainer.model, trainer.processing_class)["dog"].item())
    assert said[0] < 0.35 < said[1] < 0.65 < said[2]


@pytest.mark.parametrize("weights", ["even", [1.0], [1.0, 0.0], [1.0, float("nan")]])
def test_wrong_class_weights_are_refused(weights, splits, tiny_checkpoint, tmp_path):
    with pytest.raises(et.SettingsError, match="class_weights"):
        build(splits, tiny_checkpoint, tmp_path, class_weights=weights)


@pytest.fixture
def profile(tiny_checkpoint) -> et.Profile:
    return et.get_profile("quick", checkpoint=str(tiny_checkpoint), **SETTINGS)


def forbid_training(monkeypatch) -> None:
    monkeypatch.setattr(Trainer, "train", lambda *args, **kwargs: pytest.fail("trained again"))


@pytest.mark.parametrize("bf16", [False, True])
def test_finished_training_is_found_again(splits, profile, tmp_path, monkeypatch, bf16):
    """Also where its folder was moved, and without pickles; bfloat16 leaves no trace in the model in memory."""
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path / "here"))
    first = et.load_or_train(splits, profile, bf16=bf16, **QUIETLY)
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path / "there"))
    [finished] = [path for path in (tmp_path / "there").iterdir() if path.is_dir()]
    assert {path.suffix for path in finished.iterdir()} == {".json", ".safetensors"}
    forbid_training(monkeypatch)
    again = et.load_or_train(et.tokenize(splits, first.processing_class), profile, bf16=bf16, **QUIETLY)
    assert again.state.log_history == first.state.log_history
    assert first.state.log_history[-1]["train_runtime"] > 0
    for _ in range(2):  # before and after a prediction
        texts = splits["test"]["text"][:]
        probabilities = [et.predict_proba(texts, each.model, each.processing_class) for each in (first, again)]
        pd.testing.assert_frame_equal(*probabilities, check_exact=True)
        np.testing.assert_array_equal(predictions(again, splits), predictions(first, splits))


@pytest.mark.parametrize("changed", ["text", "labels", "label names", "checkpoint", "learning_rate", "seed"])
def test_other_data_or_settings_train_another_model(splits, profile, tmp_path, changed):
    train, settings = splits["train"], {"learning_rate": {"learning_rate": 1e-3}, "seed": {"seed": 1}}
    other = {
        "text": train.map(lambda row, i: {"text": row["text"] + "!" * (i == 80)}, with_indices=True),
        "labels": train.map(lambda row: {"label": 1 - row["label"]}, features=train.features),
        "label names": train.cast_column("label", ClassLabel(names=["hund", "katze"])),
    }.get(changed, train)
    checkpoint = shutil.copytree(profile.checkpoint, tmp_path / "checkpoint")
    one = dataclasses.replace(profile, checkpoint=str(checkpoint), epochs=1)
    first = et.load_or_train(splits, one, folder=tmp_path, **QUIETLY)
    if changed == "checkpoint":
        encoder = et.load_encoder(checkpoint, "cpu")
        encoder.embeddings.word_embeddings.weight.mul_(2)
        encoder.save_pretrained(checkpoint)
    another = dataclasses.replace(one, **settings.get(changed, {}))
    second = et.load_or_train(DatasetDict(splits, train=other), another, folder=tmp_path, **QUIETLY)
    assert len([path for path in tmp_path.glob("fine-tuned-*") if path.is_dir()]) == 2
    assert list(second.model.config.id2label.values()) == other.features["label"].names
    assert (changed == "label names") == np.array_equal(predictions(first, splits), predictions(second, splits))


def test_what_a_user_put_beside_a_model_stays(splits, profile, tmp_path):
    """Also the weights of a checkpoint, without the files by which the Trainer knows its own."""
    one = dataclasses.replace(profile, epochs=1)

    def put(folder: Path) -> Path:
        (folder / "checkpoint-7").mkdir()
        (folder / "checkpoint-7" / "model.safetensors").write_bytes(b"mine")
        return folder / "checkpoint-7" / "model.safetensors"

    kept = [put(tmp_path)]
    et.load_or_train(splits, one, folder=tmp_path, **QUIETLY)
    kept += [put(path) for path in tmp_path.glob("fine-tuned-*") if path.is_dir()]
    et.load_or_train(splits, one, folder=tmp_path, **QUIETLY)
    assert [path.read_bytes() for path in kept] == [b"mine"] * 2


def test_second_session_says_that_it_waits_for_the_first(splits, profile, tmp_path, monkeypatch):
    began, go_on, said, train = threading.Event(), threading.Event(), [], Trainer.train

    def wait_and_train(self):
        began.set()
        assert go_on.wait(60)
        return train(self)

    def hear(message, category, *where):
        if issubclass(category, et.TrainingWarning):
            said.append(str(message))
            go_on.set()

    monkeypatch.setattr(Trainer, "train", wait_and_train)
    monkeypatch.setattr(warnings, "showwarning", hear)
    ask = partial(et.load_or_train, splits, dataclasses.replace(profile, epochs=1), folder=tmp_path, **QUIETLY)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(ask)
        assert began.wait(60)
        second = ask()
    assert [message for message in said if "waits until it is done" in message] == said != []
    np.testing.assert_array_equal(predictions(second, splits), predictions(first.result(), splits))


def test_new_head_is_trained_once(splits, trained, profile, tmp_path, monkeypatch):
    et.save_model(trained.model, trained.processing_class, tmp_path / "saved")
    again = dataclasses.replace(profile, checkpoint=str(tmp_path / "saved"), epochs=1)
    other = splits.cast_column("label", ClassLabel(names=["a", "b"]))
    with pytest.raises(et.CheckpointError, match="cat, dog"):
        et.load_or_train(other, again, folder=tmp_path, **QUIETLY)
    first = et.load_or_train(other, again, folder=tmp_path, new_head=True, **QUIETLY)
    forbid_training(monkeypatch)
    second = et.load_or_train(other, again, folder=tmp_path, new_head=True, **QUIETLY)
    np.testing.assert_array_equal(predictions(second, splits), predictions(first, splits))


def fail_at(monkeypatch, step: int, error: Exception) -> None:
    """Let a training fail at its so many-eth step from now."""
    train, steps = Trainer.training_step, []

    def count(self, *given):
        steps.append(1)
        if len(steps) == step:
            raise error
        return train(self, *given)

    monkeypatch.setattr(Trainer, "training_step", count)


SCRIPT = """
import json, os, sys
import datasets, numpy as np, transformers
import emotion_tutorial as et

folder, last_step, settings, options = sys.argv[1], *map(json.loads, sys.argv[2:])
train, steps = transformers.Trainer.training_step, []

def train_or_die(self, *given):
    steps.append(1)
    if len(steps) == last_step:
        os.kill(os.getpid(), 9)
    return train(self, *given)

transformers.Trainer.training_step = train_or_die
splits, profile = datasets.load_from_disk(folder + "/data"), et.get_profile("quick", **settings)
for _ in range(2):
    trainer = et.load_or_train(splits, profile, folder=folder, **options)
found = trainer.predict(et.tokenize(splits["test"], trainer.processing_class))
np.save(f"{folder}/rank-{os.environ['RANK']}.npy", found.predictions)
"""


def train_elsewhere(splits, checkpoint, folder: Path, last_step: int, launcher: tuple[str, ...] = ()) -> int:
    """Train in a process of its own, which is killed at a step; return its exit status."""
    splits.save_to_disk(folder / "data")
    (folder / "script.py").write_text(SCRIPT)
    arguments = map(json.dumps, (last_step, SETTINGS | {"checkpoint": str(checkpoint)}, QUIETLY))
    command = [sys.executable, *launcher, str(folder / "script.py"), str(folder), *arguments]
    return subprocess.run(command, timeout=300).returncode


@pytest.fixture(scope="module")
def killed_once(splits, tiny_checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    assert train_elsewhere(splits, tiny_checkpoint, folder, 15) != 0
    return folder


@pytest.fixture
def killed(killed_once, tmp_path) -> Path:
    """Return the last checkpoint of a training whose process was killed in its second epoch."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    [checkpoint] = tmp_path.glob("fine-tuned-*.training/checkpoint-*")
    return checkpoint


def test_killed_training_goes_on(trained, splits, profile, tmp_path, killed):
    killed.with_name("checkpoint-20").mkdir()  # as if killed while saving
    with pytest.warns(et.TrainingWarning, match="goes on from step 10"):
        resumed = et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    np.testing.assert_array_equal(predictions(resumed, splits), predictions(trained, splits))
    assert not list(tmp_path.glob("*.training"))


@pytest.mark.slow
def test_two_processes_train_one_model(splits, profile, tmp_path, monkeypatch):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    assert train_elsewhere(splits, profile.checkpoint, tmp_path, 0, launcher) == 0
    forbid_training(monkeypatch)
    trainer = et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    assert trainer.state.global_step == 30  # 160 texts, batches of 16, 3 epochs
    assert max(accuracies(trainer)) > 0.9
    for rank in (0, 1):
        np.testing.assert_allclose(np.load(tmp_path / f"rank-{rank}.npy"), predictions(trainer, splits), atol=1e-5)


@pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.TrainingWarning")
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_damaged_checkpoint_starts_the_training_anew(trained, splits, profile, tmp_path, killed, name):
    data = (killed / name).read_bytes()
    (killed / name).write_bytes(data[: len(data) // 2])
    with pytest.warns(et.TrainingWarning, match=f"{re.escape(str(killed))} cannot be used.* from the beginning"):
        resumed = et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    np.testing.assert_array_equal(predictions(resumed, splits), predictions(trained, splits))


@pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.TrainingWarning")
def test_error_after_a_training_went_on_is_raised(splits, profile, tmp_path, killed, monkeypatch):
    fail_at(monkeypatch, 3, RuntimeError("device-side assert"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    assert killed.is_dir()


def test_trains_in_bfloat16_and_measures_what_comes_out(splits, tiny_checkpoint, tmp_path):
    trainer = build(splits, tiny_checkpoint, tmp_path, bf16=True)
    seen = set()
    trainer.model.base_model.register_forward_pre_hook(
        lambda module, _: seen.add((module.training, torch.is_autocast_enabled("cpu")))
    )
    trainer.train()
    assert seen == {(True, True), (False, False)}
    best = min(trainer.state.log_history, key=lambda log: -log.get("eval_accuracy", 0))
    again = trainer.evaluate()
    assert again["eval_loss"] == pytest.approx(best["eval_loss"], abs=1e-5)
    assert again["eval_accuracy"] == best["eval_accuracy"]
