"""Trained models that are found again, and interrupted trainings that go on."""

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, DatasetDict, Value
from pets import QUIETLY, SETTINGS, build, predictions
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

import emotion_tutorial as et


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


@pytest.mark.parametrize("changed", ["text", "labels", "label names", "checkpoint", "learning_rate", "bf16", "version"])
def test_other_data_or_settings_train_another_model(splits, profile, tmp_path, changed, monkeypatch):
    change = {
        "text": lambda row, i: {"text": row["text"] + "!" * (i == 80)},
        "labels": lambda row, i: {"label": 1 - row["label"]},
    }.get(changed, lambda row, i: {})
    other = DatasetDict(splits, train=splits["train"].map(change, with_indices=True, features=splits["train"].features))
    if changed == "label names":
        other = splits.cast_column("label", ClassLabel(names=["hund", "katze"]))
    checkpoint = shutil.copytree(profile.checkpoint, tmp_path / "checkpoint")
    one = dataclasses.replace(profile, checkpoint=str(checkpoint), epochs=1)
    first = et.load_or_train(splits, one, folder=tmp_path, **QUIETLY)
    if changed == "checkpoint":
        encoder = et.load_encoder(checkpoint, "cpu")
        encoder.embeddings.word_embeddings.weight.mul_(2)
        encoder.save_pretrained(checkpoint)
    elif changed == "bf16":  # chosen by the device, not given
        monkeypatch.setattr("emotion_tutorial.training_settings.has_bfloat16", lambda device: not first.args.bf16)
    elif changed == "version":
        monkeypatch.setattr(et, "__version__", "0.0.1")
    another = dataclasses.replace(one, learning_rate=1e-3) if changed == "learning_rate" else one
    second = et.load_or_train(other, another, folder=tmp_path, **QUIETLY)
    assert len([path for path in tmp_path.glob("fine-tuned-*") if path.is_dir()]) == 2
    assert list(second.model.config.id2label.values()) == other["train"].features["label"].names
    same = changed in ("label names", "version")
    assert same == np.array_equal(predictions(first, splits), predictions(second, splits))


def test_what_cannot_shape_a_model_does_not_train_it_again(splits, profile, tmp_path, monkeypatch):
    checkpoint = shutil.copytree(profile.checkpoint, tmp_path / "checkpoint")
    one = dataclasses.replace(profile, checkpoint=str(checkpoint), epochs=1)
    options = QUIETLY | {"class_weights": np.array([1, 2])}
    first = et.load_or_train(splits, one, folder=tmp_path, **options)
    forbid_training(monkeypatch)
    (checkpoint / "README.md").write_text("A model card.")
    (checkpoint / "customers.json").write_text("{}")
    arrow = splits.cast_column("text", Value("large_string")).with_format("numpy")
    quiet = {"disable_tqdm": False, "logging_steps": 7, "logging_strategy": "steps", "save_total_limit": 3}
    quiet |= {"dataloader_num_workers": 1, "run_name": "again", "report_to": [], "gradient_accumulation_steps": 1}
    for other in ({"epochs": 1.0}, {"class_weights": {"dog": 2, "cat": 1.0}}, {"seed": np.int64(0)}, quiet):
        again = et.load_or_train(arrow, one, folder=tmp_path, **(options | other))
        np.testing.assert_array_equal(predictions(again, splits), predictions(first, splits))


def test_name_of_a_profile_is_no_profile(splits):
    with pytest.raises(et.SettingsError, match=r"'quick'\. Give what get_profile returns"):
        et.load_or_train(splits, "quick")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"callbacks": []}, "callbacks="), ({"learning_rate": 1e7}, "diverged"), ({"output_dir": "a"}, "output_dir=")],
)
def test_what_cannot_be_kept_is_refused(splits, profile, tmp_path, options, said):
    for _ in range(2):
        with pytest.raises(et.SettingsError, match=said):
            et.load_or_train(splits, profile, folder=tmp_path, **(QUIETLY | options))
    assert {path.suffix for path in tmp_path.glob("fine-tuned-*")} <= {".lock", ".training"}


def test_what_a_user_put_beside_a_model_stays(splits, profile, tmp_path):
    """Also weights without the files by which the Trainer knows its own."""
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

    def wait_and_train(self, *given):
        began.set()
        assert go_on.wait(60)
        return train(self, *given)

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
    assert train_elsewhere(splits, tiny_checkpoint, folder, 25) != 0
    return folder.rename(folder.with_name("moved"))


@pytest.fixture
def killed(killed_once, tmp_path) -> Path:
    """Return the last checkpoint of a training whose process was killed in its third epoch; there is one before it."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    [folder] = tmp_path.glob("fine-tuned-*.training")
    assert {path.name for path in folder.iterdir()} == {"checkpoint-10", "checkpoint-20", ".training.lock"}
    return folder / "checkpoint-20"


def test_killed_training_goes_on_wherever_its_folder_is(trained, splits, profile, tmp_path, killed):
    """The best epoch was the second, so that this training must find its checkpoint."""
    killed.with_name("checkpoint-30").mkdir()  # as if killed while saving
    elsewhere = shutil.move(tmp_path, tmp_path.with_name("elsewhere"))
    with pytest.warns(et.TrainingWarning, match="goes on from .*checkpoint-20"):
        resumed = et.load_or_train(splits, profile, folder=elsewhere, **QUIETLY)
    np.testing.assert_array_equal(predictions(resumed, splits), predictions(trained, splits))
    assert not list(elsewhere.glob("*.training"))


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.mark.slow
def test_killed_worker_leaves_the_checkpoints_and_the_same_command_goes_on(splits, profile, tmp_path, monkeypatch):
    assert train_elsewhere(splits, profile.checkpoint, tmp_path, 15, TORCHRUN) != 0
    assert [*tmp_path.glob("fine-tuned-*.training/checkpoint-*")]
    for folder in (tmp_path, tmp_path / "whole"):
        assert train_elsewhere(splits, profile.checkpoint, folder, 0, TORCHRUN) == 0
    forbid_training(monkeypatch)
    trainer = et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    assert trainer.state.global_step == 30  # 160 texts, batches of 16, 3 epochs
    for found in ("rank-0.npy", "rank-1.npy", "whole/rank-1.npy"):
        np.testing.assert_allclose(np.load(tmp_path / found), predictions(trainer, splits), atol=1e-5)


def content(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}


IGNORE = pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.TrainingWarning")


@pytest.mark.parametrize("damaged", [["checkpoint-20"], ["checkpoint-20", "checkpoint-10"]], ids=len)
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"])
def test_damaged_checkpoint_is_set_aside_for_the_one_before(trained, splits, profile, tmp_path, killed, name, damaged):
    for folder in damaged:
        path = killed.with_name(folder) / name
        path.write_bytes(path.read_bytes()[:-100])
    before = content(killed)
    with pytest.warns(et.TrainingWarning) as said:
        resumed = et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    assert f"{killed} cannot be read" in str(said[0].message)
    assert ("checkpoint-10", "from the beginning")[len(damaged) - 1] in str(said[-1].message)
    assert content(killed.with_name("damaged-1-checkpoint-20")) == before
    np.testing.assert_array_equal(predictions(resumed, splits), predictions(trained, splits))


@IGNORE
@pytest.mark.parametrize("error", [RuntimeError("out of memory"), OSError(28, "No space left"), KeyboardInterrupt()])
def test_every_other_error_is_raised_and_leaves_all_checkpoints(trained, splits, profile, tmp_path, killed, error):
    before = content(killed.parent, "*.[ps]*")
    with patch.object(Trainer, "training_step", side_effect=error), pytest.raises(type(error)):
        et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    assert content(killed.parent, "*.[ps]*") == before
    resumed = et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    np.testing.assert_array_equal(predictions(resumed, splits), predictions(trained, splits))


def test_file_that_may_not_be_read_is_not_a_damaged_one(splits, profile, tmp_path, killed):
    (killed / "optimizer.pt").unlink()
    (killed / "optimizer.pt").symlink_to("optimizer.pt")  # too many levels of links
    with pytest.raises(OSError, match=r"optimizer\.pt"):
        et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    assert killed.is_dir()


def weights(trainer: Trainer) -> np.ndarray:
    return np.concatenate([weight.detach().numpy().ravel() for weight in trainer.model.parameters()])


@IGNORE
def test_stopped_training_is_not_taken_for_a_finished_one(splits, profile, tmp_path, monkeypatch):
    step = Trainer.training_step

    def stop(self, *args):
        self.control.should_training_stop = self.state.global_step == 12  # as after a signal of a cluster
        return step(self, *args)

    monkeypatch.setattr(Trainer, "training_step", stop)
    with pytest.raises(et.SettingsError, match="stopped after 13 of 30 steps"):
        et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY)
    monkeypatch.setattr(Trainer, "training_step", step)
    assert et.load_or_train(splits, profile, folder=tmp_path, **QUIETLY).state.global_step == 30


@IGNORE
def test_kill_at_the_last_save_trains_no_step_more(splits, profile, tmp_path, monkeypatch):
    options = {"max_steps": 7, "lr_scheduler_type": "constant", "eval_strategy": "no", **QUIETLY}
    whole = et.load_or_train(splits, profile, folder=tmp_path / "whole", **options)
    save = PreTrainedModel.save_pretrained

    def die(self, folder, *args, **kwargs):
        if Path(folder).name == "model":
            raise KeyboardInterrupt
        save(self, folder, *args, **kwargs)

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", die)
    with pytest.raises(KeyboardInterrupt):
        et.load_or_train(splits, profile, folder=tmp_path / "killed", **options)
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", save)
    again = et.load_or_train(splits, profile, folder=tmp_path / "killed", **options)
    assert again.state.global_step == whole.state.global_step == 7
    np.testing.assert_array_equal(weights(again), weights(whole))


@pytest.mark.parametrize("found_again", [True, False])
def test_training_further_leaves_what_is_kept_and_is_not_taken_for_it(splits, profile, tmp_path, found_again):
    ask = partial(et.load_or_train, splits, dataclasses.replace(profile, epochs=1), folder=tmp_path, **QUIETLY)
    trainer = ask()
    [finished] = [path for path in tmp_path.iterdir() if path.is_dir()]
    kept, expected = content(finished), weights(trainer)
    trainer = ask() if found_again else trainer
    trainer.train()
    trainer.save_model()
    assert content(finished) == kept
    shutil.rmtree(finished)
    further = content(Path(trainer.args.output_dir))
    np.testing.assert_array_equal(weights(ask()), expected)
    assert content(Path(trainer.args.output_dir)) == further


@pytest.mark.parametrize(("megabytes", "options"), [(1, {}), (6, {}), (1, {"save_strategy": "no"})], ids=str)
def test_full_disk_is_an_error_of_the_system(splits, profile, tmp_path, megabytes, options):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    one = dataclasses.replace(profile, epochs=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 10**6, before[1]))
    try:
        with pytest.raises(OSError, match=rf"is the disk full\?.*{tmp_path}"):
            et.load_or_train(splits, one, folder=tmp_path, **options, **QUIETLY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_classifier_that_is_loaded_beside_a_training_does_not_shape_it(trained, splits, tiny_checkpoint, tmp_path):
    began = threading.Event()

    class Begin(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            began.set()

    trainer = build(splits, tiny_checkpoint, tmp_path, callbacks=[Begin()])
    with ThreadPoolExecutor(1) as threads:
        training = threads.submit(trainer.train)
        assert began.wait(60)
        et.load_classifier(tiny_checkpoint, ["a", "b"], "cpu")
        training.result()
    np.testing.assert_array_equal(predictions(trainer, splits), predictions(trained, splits))


def test_trainings_in_threads_do_not_shape_each_other(splits, profile, tmp_path):
    def train(folder: str, seed: int) -> np.ndarray:
        return weights(et.load_or_train(splits, profile, folder=tmp_path / folder, epochs=1, seed=seed, **QUIETLY))

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(partial(train, "threads"), (0, 1)))
    for seed in (0, 1):
        np.testing.assert_array_equal(found[seed], train("alone", seed))


CHANGES = {
    "texts": (lambda t: setattr(t, "train_dataset", t.train_dataset.select(range(100))), "input_ids of its train_"),
    "labels": (
        lambda t: setattr(t, "eval_dataset", t.eval_dataset.map(lambda row: {"label": 1 - row["label"]})),
        "label of its eval_dataset",
    ),
    "a transform": (
        lambda t: setattr(t, "train_dataset", t.train_dataset.with_transform(lambda rows: rows)),
        "not a tokenized split as it comes",
    ),
    "other ids beside the labels": (
        lambda t: setattr(t, "train_dataset", t.train_dataset.add_column("label_ids", [0] * 160)),
        "not a tokenized split as it comes",
    ),
    "label names": (lambda t: t.model.config.id2label.update({0: "hund"}), "other labels"),
    "a frozen body": (lambda t: t.model.base_model.requires_grad_(False), "weights that are trained"),
    "half precision": (lambda t: t.model.bfloat16(), "weights that are trained"),
    "dropout": (lambda t: setattr(t.model.config, "hidden_dropout_prob", 0.5), "hidden_dropout_prob"),
    "a loss": (lambda t: setattr(t, "compute_loss_func", lambda *args, **kwargs: 0), "its loss is another"),
    "a collator": (lambda t: setattr(t, "data_collator", default_data_collator), "its data collator"),
    "an optimizer": (lambda t: setattr(t, "optimizer", torch.optim.SGD(t.model.parameters())), "SGD"),
    "a step less": (lambda t: setattr(t.state, "global_step", 29), "29 of 30 steps"),
    "fewer epochs, and then edited": (lambda t: setattr(t.state, "max_steps", 10), "of 30 steps"),
    "stopped in the last evaluation": (lambda t: setattr(t.state, "log_history", []), "or was stopped"),
    "another model": (lambda t: setattr(t, "model", torch.nn.Linear(2, 2)), "its model is a Linear"),
}


class TestATrainerOfYourOwn:
    """A plain Trainer that somebody built by hand, as notebook 4 does."""

    @staticmethod
    def by_hand(splits, profile, folder: Path, *, seed: int = 0, **changes) -> Trainer:
        tokenizer = et.load_tokenizer(profile.checkpoint)
        parts = et.tokenize(splits, tokenizer)
        names = splits["train"].features["label"].names
        set_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            profile.checkpoint,
            num_labels=2,
            id2label=dict(enumerate(names)),
            label2id={n: i for i, n in enumerate(names)},
        )
        settings = {
            "num_train_epochs": profile.epochs,
            "per_device_train_batch_size": profile.batch_size,
            "learning_rate": profile.learning_rate,
            "weight_decay": 0.01,
            "warmup_steps": 0.06,
            "train_sampling_strategy": "group_by_length",
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "load_best_model_at_end": True,
            "metric_for_best_model": "accuracy",
            "bf16": False,
            "report_to": "none",
            "seed": seed,
        }
        arguments = TrainingArguments(str(folder / "by_hand"), **(settings | QUIETLY | changes))
        return Trainer(
            model,
            arguments,
            train_dataset=parts["train"],
            eval_dataset=parts["validation"],
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=et.compute_metrics,
        )

    def test_its_model_is_kept_and_found_where_ours_would_be(self, splits, profile, tmp_path, monkeypatch):
        trainer = self.by_hand(splits, profile, tmp_path)
        trainer.train()
        kept = et.load_or_train(splits, profile, trainer=trainer, folder=tmp_path / "kept", bf16=False, **QUIETLY)
        built = et.load_or_train(splits, profile, folder=tmp_path / "built", bf16=False, **QUIETLY)
        forbid_training(monkeypatch)
        found = et.load_or_train(splits, profile, folder=tmp_path / "kept", bf16=False, **QUIETLY)
        assert kept.state.log_history == found.state.log_history == trainer.state.log_history
        for other in (found, built):  # the same steps, written out or not
            np.testing.assert_allclose(predictions(kept, splits), predictions(other, splits), atol=1e-4)
        assert {path.name for path in (tmp_path / "kept").iterdir() if path.is_dir() and not path.suffix} == {
            path.name for path in (tmp_path / "built").iterdir() if path.is_dir()
        }

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({}, "0 of 30 steps or was stopped, so call its train"),
            ({"learning_rate": 1e-3}, "its learning_rate is 0.001, and not 0.005"),
            ({"num_train_epochs": 1}, "its num_train_epochs is 1"),
            ({"train_sampling_strategy": "random"}, "its train_sampling_strategy is"),
            ({"seed": 3}, "its seed is 3"),
        ],
    )
    def test_another_training_is_refused(self, splits, profile, tmp_path, changes, said):
        trainer = self.by_hand(splits, profile, tmp_path, **changes)
        with pytest.raises(et.SettingsError, match=said):
            et.load_or_train(splits, profile, trainer=trainer, folder=tmp_path / "kept", bf16=False, **QUIETLY)
        assert not (tmp_path / "kept").exists()

    def as_if_trained(self, splits, profile, tmp_path) -> Trainer:
        trainer = self.by_hand(splits, profile, tmp_path)
        trainer.state.max_steps = trainer.state.global_step = 30
        trainer.state.log_history = [{"train_runtime": 1.0}]
        trainer.create_optimizer()
        return trainer

    @pytest.mark.parametrize("changed", CHANGES)
    def test_what_it_learned_from_must_be_what_is_asked_for(self, splits, profile, tmp_path, changed):
        trainer = self.as_if_trained(splits, profile, tmp_path)
        change, said = CHANGES[changed]
        change(trainer)
        with pytest.raises(et.SettingsError, match=said):
            et.load_or_train(splits, profile, trainer=trainer, folder=tmp_path / "kept", bf16=False, **QUIETLY)
        assert not (tmp_path / "kept").exists()

    def test_weights_of_labels_and_other_things_are_refused(self, splits, profile, tmp_path):
        options = {"folder": tmp_path / "kept", "bf16": False, **QUIETLY}
        trainer = self.as_if_trained(splits, profile, tmp_path)
        with pytest.raises(et.SettingsError, match="its loss is another"):
            et.load_or_train(splits, profile, trainer=trainer, class_weights=[1, 9], **options)
        with pytest.raises(et.SettingsError, match=r"Give a transformers\.Trainer"):
            et.load_or_train(splits, profile, trainer="a trainer", **options)

    def test_what_is_kept_stays_and_is_returned(self, splits, profile, tmp_path):
        options = {"folder": tmp_path / "kept", "bf16": False, **QUIETLY}
        first = self.as_if_trained(splits, profile, tmp_path)
        kept = et.load_or_train(splits, profile, trainer=first, **options)
        second = self.as_if_trained(splits, profile, tmp_path)
        with torch.no_grad():
            second.model.classifier.weight.add_(1)
        with pytest.warns(et.TrainingWarning, match="other weights. It stays"):
            returned = et.load_or_train(splits, profile, trainer=second, **options)
        np.testing.assert_array_equal(predictions(returned, splits), predictions(kept, splits))
        [finished] = [path for path in (tmp_path / "kept").iterdir() if path.is_dir() and not path.suffix]
        shutil.rmtree(finished)
        finished.mkdir()  # of an interrupted copy
        with pytest.raises(et.SettingsError, match="holds no finished model"):
            et.load_or_train(splits, profile, trainer=first, **options)
