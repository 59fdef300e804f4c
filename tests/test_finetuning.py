import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, concatenate_datasets
from transformers import Trainer, TrainerCallback

from emotion_tutorial import (
    Profile,
    build_trainer,
    get_profile,
    load_classifier,
    load_or_train,
    predict_proba,
    save_model,
    tokenize,
    train_or_resume,
    training_seconds,
)
from emotion_tutorial.artifacts import SUMS, UNFINISHED, damaged_files
from emotion_tutorial.exceptions import ArtifactWarning, OutOfMemoryError, OutOfMemoryWarning, TooFewClassesError


@pytest.fixture(scope="module")
def splits() -> DatasetDict:
    """Texts of very different lengths; the label is in the first word."""
    rng = np.random.default_rng(0)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["cat", "dog"])})

    def make(count: int) -> Dataset:
        labels = rng.integers(0, 2, count).tolist()
        texts = [f"{['cat', 'dog'][label]} " + "word " * int(rng.integers(0, 30)) for label in labels]
        return Dataset.from_dict({"text": texts, "label": labels}, features=features)

    return DatasetDict(train=make(160), validation=make(40), test=make(50))


def build(splits, checkpoint, folder, **options) -> Trainer:
    settings = {"learning_rate": 5e-3, "epochs": 3, "batch_size": 16, "use_cpu": True, "disable_tqdm": True}
    return build_trainer(splits, checkpoint, output_dir=folder, **(settings | options))


@pytest.fixture(scope="module")
def trained(splits, tiny_checkpoint, tmp_path_factory) -> Trainer:
    trainer = build(splits, tiny_checkpoint, tmp_path_factory.mktemp("trained"))
    train_or_resume(trainer)
    return trainer


def test_learns_and_names_its_labels(trained):
    history = [log["eval_accuracy"] for log in trained.state.log_history if "eval_accuracy" in log]
    assert isinstance(trained, Trainer)
    assert len(history) == 3
    assert max(history) > 0.9
    assert trained.model.config.id2label == {0: "cat", 1: "dog"}


def test_predictions_are_in_the_order_of_the_rows(trained, splits):
    """Grouping by length must not shuffle what is predicted."""
    tokenized = tokenize(splits, trained.processing_class)["test"]
    output = trained.predict(tokenized)
    assert output.label_ids.tolist() == tokenized["label"][:]
    for row in (0, 7, 49):
        ids = torch.tensor([tokenized[row]["input_ids"]])
        with torch.inference_mode():
            alone = trained.model.eval()(input_ids=ids).logits[0].numpy()
        np.testing.assert_allclose(output.predictions[row], alone, atol=1e-4)
    assert output.metrics["test_accuracy"] == pytest.approx(
        (output.predictions.argmax(1) == np.array(tokenized["label"][:])).mean()
    )


def test_evaluation_loop_is_in_the_order_of_the_rows(trained, splits):
    tokenized = tokenize(splits, trained.processing_class)["validation"]
    output = trained.evaluation_loop(trained.get_eval_dataloader(tokenized), "order")
    assert output.label_ids.tolist() == tokenized["label"][:]


def test_training_batches_are_grouped_by_length(splits, tiny_checkpoint, tmp_path):
    many = DatasetDict(splits)
    many["train"] = concatenate_datasets([splits["train"]] * 10)

    def padding(strategy: str) -> float:
        trainer = build(many, tiny_checkpoint, tmp_path, train_sampling_strategy=strategy)
        masks = [batch["attention_mask"] for batch in trainer.get_train_dataloader()]
        return 1 - sum(mask.sum().item() for mask in masks) / sum(mask.numel() for mask in masks)

    assert padding("group_by_length") < 0.1 < 0.3 < padding("random")


def test_best_epoch_is_restored(splits, tiny_checkpoint, tmp_path):
    """Ruin the weights in the last epoch: the model that comes out must be the best one."""

    class Ruin(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, **kwargs):
            if state.epoch == 3:
                with torch.no_grad():
                    for weight in model.parameters():
                        weight.zero_()

    trainer = build(splits, tiny_checkpoint, tmp_path)
    trainer.add_callback(Ruin())
    train_or_resume(trainer)
    # The last epoch's is kept too: it says that the training is finished.
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2
    history = [log["eval_accuracy"] for log in trainer.state.log_history if "eval_accuracy" in log]
    assert history[2] < max(history)
    tokenized = tokenize(splits, trainer.processing_class)["validation"]
    assert trainer.predict(tokenized).metrics["test_accuracy"] == max(history)


def test_finished_training_is_not_repeated(trained, splits, tiny_checkpoint):
    again = build(splits, tiny_checkpoint, trained.args.output_dir)
    before = {path: path.stat().st_mtime_ns for path in Path(trained.args.output_dir).glob("*/model.safetensors")}
    train_or_resume(again)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    tokenized = tokenize(splits, trained.processing_class)["test"]
    np.testing.assert_array_equal(again.predict(tokenized).predictions, trained.predict(tokenized).predictions)
    assert [log["loss"] for log in again.state.log_history if "loss" in log] == [
        log["loss"] for log in trained.state.log_history if "loss" in log
    ]


def test_interrupted_training_goes_on_where_it_stopped(trained, splits, tiny_checkpoint, tmp_path):
    class Interrupt(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 15:
                raise KeyboardInterrupt

    trainer = build(splits, tiny_checkpoint, tmp_path)
    trainer.add_callback(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        train_or_resume(trainer)
    (tmp_path / "checkpoint-999").mkdir()  # what a crash while saving leaves
    resumed = build(splits, tiny_checkpoint, tmp_path)
    train_or_resume(resumed)
    tokenized = tokenize(splits, trained.processing_class)["test"]
    np.testing.assert_allclose(
        resumed.predict(tokenized).predictions, trained.predict(tokenized).predictions, atol=1e-5
    )


def test_same_seed_same_model(trained, splits, tiny_checkpoint, tmp_path):
    again = build(tokenize(splits, trained.processing_class), tiny_checkpoint, tmp_path / "again")
    train_or_resume(again)
    tokenized = tokenize(splits, trained.processing_class)["test"]
    np.testing.assert_array_equal(again.predict(tokenized).predictions, trained.predict(tokenized).predictions)
    other = build(splits, tiny_checkpoint, tmp_path / "other", seed=1, epochs=1)
    assert not torch.equal(other.model.classifier.weight, load_head(trained, tiny_checkpoint))


def load_head(trained: Trainer, checkpoint: Path) -> torch.Tensor:
    torch.manual_seed(0)
    return load_classifier(checkpoint, ["cat", "dog"], "cpu").classifier.weight


def test_training_arguments_replace_the_defaults(splits, tiny_checkpoint, tmp_path):
    trainer = build(splits, tiny_checkpoint, tmp_path, weight_decay=0.5, eval_strategy="no", save_strategy="no",
                    load_best_model_at_end=False)  # fmt: skip
    assert trainer.args.weight_decay == 0.5
    with pytest.raises(TypeError, match="no_such_argument"):
        build(splits, tiny_checkpoint, tmp_path, no_such_argument=1)


def test_one_label_is_refused(splits, tiny_checkpoint, tmp_path):
    same = splits["train"].filter(lambda row: row["label"] == 0)
    with pytest.raises(TooFewClassesError, match="1 label"):
        build(DatasetDict(train=same, validation=splits["validation"]), tiny_checkpoint, tmp_path)


def test_train_or_resume_refuses_what_is_no_trainer():
    with pytest.raises(AttributeError):
        train_or_resume("trainer")


@pytest.fixture
def profile(tiny_checkpoint, monkeypatch, tmp_path) -> Profile:
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path))
    return get_profile("quick", checkpoint=str(tiny_checkpoint), learning_rate=5e-3, epochs=2, batch_size=16)


def test_load_or_train_trains_once(splits, profile, tmp_path, monkeypatch):
    first = load_or_train(splits, profile)
    monkeypatch.setattr(Trainer, "train", lambda *args, **kwargs: pytest.fail("trained again"))
    (tmp_path / "elsewhere").mkdir()
    for folder in tmp_path.glob("fine-tuned-*"):
        folder.rename(tmp_path / "elsewhere" / folder.name)  # artifacts may be moved
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path / "elsewhere"))
    tokenized = tokenize(splits, first.processing_class)
    again = load_or_train(tokenized, profile)
    assert again.state.log_history == [log for log in first.state.log_history if "train_runtime" not in log]
    np.testing.assert_array_equal(
        again.predict(tokenized["test"]).predictions, first.predict(tokenized["test"]).predictions
    )


def test_load_or_train_goes_by_every_setting(splits, profile, tmp_path):
    load_or_train(splits, profile)
    load_or_train(splits, dataclasses.replace(profile, epochs=1))
    load_or_train(splits, dataclasses.replace(profile, seed=1, epochs=1))
    assert len([path for path in tmp_path.glob("fine-tuned-*") if path.is_dir()]) == 3
    with pytest.raises(TooFewClassesError):
        load_or_train(DatasetDict(splits, train=splits["train"].filter(lambda row: row["label"] == 0)), profile)


def test_model_predicts_the_same_before_and_after_saving(splits, tiny_checkpoint, tmp_path):
    """Training in bfloat16 must not leave its rounding in the model that is in memory."""
    trainer = build(splits, tiny_checkpoint, tmp_path / "run", bf16=True, epochs=1)
    train_or_resume(trainer)
    texts = splits["test"]["text"][:]
    before = predict_proba(texts, trainer.model, trainer.processing_class)
    trainer.predict(tokenize(splits, trainer.processing_class)["test"])
    folder = save_model(trainer.model, trainer.processing_class, tmp_path / "saved")
    reloaded = load_classifier(folder, ["cat", "dog"], "cpu")
    for model in (trainer.model, reloaded):
        pd.testing.assert_frame_equal(predict_proba(texts, model, trainer.processing_class), before, check_exact=True)


TRAIN = """
import sys
import time
from pathlib import Path
from transformers import Trainer
import emotion_tutorial as et

train, calls = Trainer.training_step, []
Trainer.training_step = lambda *args, **kwargs: calls.append(1) or train(*args, **kwargs)
profile = et.get_profile("quick", data=sys.argv[1], checkpoint=sys.argv[2], learning_rate=5e-3, batch_size=16)
trainer = et.load_or_train(et.load_splits(profile.data), profile)
print(len(calls), trainer.state.global_step)
"""


def test_two_processes_at_once_train_once(splits, profile, tiny_checkpoint, tmp_path):
    for split in splits:
        splits[split].to_parquet(tmp_path / "data" / f"{split}.parquet")
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "data"), str(tiny_checkpoint)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    steps = [process.communicate(timeout=120)[0].splitlines()[-1].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(int(trained) for trained, _ in steps) == [0, 20]  # 160 texts, batches of 16, 2 epochs
    assert {total for _, total in steps} == {"20"}


def test_class_weights_are_in_the_training_loss_only(splits, tiny_checkpoint, tmp_path):
    weights = [1.0, 5.0]
    trainer = build(splits, tiny_checkpoint, tmp_path, class_weights=weights)
    logits, labels = torch.tensor([[1.0, 0.0], [0.3, 0.1], [2.0, -1.0]], requires_grad=True), torch.tensor([0, 1, 1])
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    loss = trainer.compute_loss_func({"logits": logits}, labels, num_items_in_batch=3)
    assert loss.item() == pytest.approx((expected * torch.tensor([1.0, 5.0, 5.0])).mean().item())
    with torch.no_grad():
        unweighted = trainer.compute_loss_func({"logits": logits}, labels, num_items_in_batch=3)
    assert unweighted.item() == pytest.approx(expected.mean().item())


def test_balanced_weights_make_each_label_count_alike(tiny_checkpoint, tmp_path, splits):
    rare = splits["train"].filter(lambda row: row["label"] == 0).select(range(60))
    unbalanced = concatenate_datasets([rare, splits["train"].filter(lambda row: row["label"] == 1).select(range(20))])
    trainer = build(DatasetDict(splits, train=unbalanced), tiny_checkpoint, tmp_path, class_weights="balanced")
    weights = trainer.compute_loss_func.keywords["weights"].tolist()
    assert weights == pytest.approx([80 / (2 * 60), 80 / (2 * 20)])
    assert 60 * weights[0] == pytest.approx(20 * weights[1])


def test_class_weights_move_a_model_towards_the_rare_label(tiny_checkpoint, tmp_path, splits):
    """The label is drawn at random, one in five is a dog: only the weights can make a model answer dog."""
    rng = np.random.default_rng(0)
    labels = (rng.random(160) < 0.2).astype(int).tolist()
    noise = Dataset.from_dict({"text": ["word"] * 160, "label": labels}, features=splits["train"].features)
    said = {}
    for weights in (None, [1.0, 20.0]):
        data = DatasetDict(train=noise, validation=noise)
        trainer = build(data, tiny_checkpoint, tmp_path / str(weights is None), class_weights=weights)
        train_or_resume(trainer)
        said[weights is None] = predict_proba(["word"], trainer.model, trainer.processing_class)["dog"].item()
    assert said[True] < 0.4 < 0.6 < said[False]


@pytest.mark.parametrize("weights", ["even", [1.0], [1.0, 0.0], [1.0, float("nan")], [1.0, -2.0]])
def test_wrong_class_weights_are_refused(weights, splits, tiny_checkpoint, tmp_path):
    with pytest.raises(ValueError, match="class_weights"):
        build(splits, tiny_checkpoint, tmp_path, class_weights=weights)


def test_seconds_of_a_training_are_kept(splits, tiny_checkpoint, tmp_path):
    trainer = build(splits, tiny_checkpoint, tmp_path)
    with pytest.raises(ValueError, match="no checkpoint of a training yet"):
        training_seconds(trainer)
    start = time.perf_counter()
    train_or_resume(trainer)
    taken = time.perf_counter() - start
    assert 0 < training_seconds(trainer) <= taken
    again = build(splits, tiny_checkpoint, tmp_path)
    train_or_resume(again)
    assert training_seconds(again) == training_seconds(trainer)


def test_seconds_go_on_after_an_interruption(splits, tiny_checkpoint, tmp_path):
    class Stop(TrainerCallback):
        def on_epoch_begin(self, args, state, control, **kwargs):
            if state.epoch and state.epoch >= 2:
                raise KeyboardInterrupt

    trainer = build(splits, tiny_checkpoint, tmp_path)
    trainer.add_callback(Stop())
    with pytest.raises(KeyboardInterrupt):
        train_or_resume(trainer)
    first = training_seconds(trainer)
    again = build(splits, tiny_checkpoint, tmp_path)
    train_or_resume(again)
    assert training_seconds(again) > first > 0


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    """Copy a finished training."""
    return Path(shutil.copytree(trained.args.output_dir, tmp_path / "copied"))


def best_and_last(folder: Path) -> tuple[Path, Path]:
    last = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    state = json.loads((last / "trainer_state.json").read_text())
    return folder / Path(state["best_model_checkpoint"]).name, last


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)


def predictions(trainer: Trainer, splits: DatasetDict) -> np.ndarray:
    return trainer.predict(tokenize(splits, trainer.processing_class)["test"]).predictions


def test_checkpoints_have_checksums(copied):
    for checkpoint in copied.glob("checkpoint-*"):
        assert damaged_files(checkpoint / SUMS) == []
        listed = {line.split("  ")[1] for line in (checkpoint / SUMS).read_text().splitlines()}
        assert listed == {path.name for path in checkpoint.iterdir()} - {SUMS}
        assert {"model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"} <= listed


def test_damaged_last_checkpoint_is_left_out_and_said(splits, tiny_checkpoint, tmp_path):
    reference = build(splits, tiny_checkpoint, tmp_path / "reference", save_total_limit=None)
    train_or_resume(reference)
    folder = Path(shutil.copytree(reference.args.output_dir, tmp_path / "copied"))
    _, last = best_and_last(folder)
    flip(last / "optimizer.pt")
    trainer = build(splits, tiny_checkpoint, folder)
    with pytest.warns(ArtifactWarning, match=rf"{last} is damaged: optimizer\.pt missing, or not what"):
        train_or_resume(trainer)
    np.testing.assert_array_equal(predictions(trainer, splits), predictions(reference, splits))
    assert trainer.state.global_step == 30


@pytest.mark.parametrize("loss", ["damaged", "gone"])
def test_training_without_its_best_checkpoint_starts_anew(trained, splits, tiny_checkpoint, copied, loss):
    best, last = best_and_last(copied)
    if best == last:
        other = best.with_name("checkpoint-31")  # then the state that names it is in another
        shutil.copytree(best, other)
        state = json.loads((other / "trainer_state.json").read_text()) | {"global_step": 31}
        (other / "trainer_state.json").write_text(json.dumps(state))
        (other / SUMS).unlink()
    if loss == "damaged":
        flip(best / "model.safetensors")
    else:
        shutil.rmtree(best)
    trainer = build(splits, tiny_checkpoint, copied)
    with pytest.warns(ArtifactWarning, match=r"best checkpoint of the training in .* is damaged or gone.*anew"):
        train_or_resume(trainer)
    np.testing.assert_array_equal(predictions(trainer, splits), predictions(trained, splits))


def test_half_written_checkpoint_is_not_taken(trained, splits, tiny_checkpoint, copied):
    beside = best_and_last(copied)[0] / f"{SUMS}.{UNFINISHED}"
    beside.touch()
    half = copied / "checkpoint-999"
    shutil.copytree(best_and_last(copied)[1], half)
    (half / SUMS).unlink()
    state = half / "trainer_state.json"
    state.write_text(state.read_text()[:-100])
    trainer = build(splits, tiny_checkpoint, copied)
    train_or_resume(trainer)
    assert not half.exists()
    assert not beside.exists()
    np.testing.assert_array_equal(predictions(trainer, splits), predictions(trained, splits))


def test_checkpoints_of_earlier_versions_are_taken(trained, splits, tiny_checkpoint, copied, monkeypatch):
    for sums in copied.glob(f"*/{SUMS}"):
        sums.unlink()
    trainer = build(splits, tiny_checkpoint, copied)
    monkeypatch.setattr(Trainer, "training_step", lambda *args, **kwargs: pytest.fail("trained again"))
    train_or_resume(trainer)
    np.testing.assert_array_equal(predictions(trainer, splits), predictions(trained, splits))


def test_best_weights_are_found_in_a_folder_that_was_moved(splits, tiny_checkpoint, tmp_path):
    class Ruin(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, **kwargs):
            if state.epoch == 3:
                with torch.no_grad():
                    for weight in model.parameters():
                        weight.zero_()

    trainer = build(splits, tiny_checkpoint, tmp_path / "here")
    trainer.add_callback(Ruin())
    train_or_resume(trainer)
    (tmp_path / "here").rename(tmp_path / "there")
    moved = build(splits, tiny_checkpoint, tmp_path / "there")
    train_or_resume(moved)
    np.testing.assert_array_equal(predictions(moved, splits), predictions(trainer, splits))


def test_second_attempt_of_a_trainer_begins_as_the_first(trained, splits, tiny_checkpoint, tmp_path):
    """Interrupted before there was a checkpoint: the weights are in memory, trained for some steps."""

    class Interrupt(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 7:
                raise KeyboardInterrupt

    trainer = build(splits, tiny_checkpoint, tmp_path)
    interrupt = Interrupt()
    trainer.add_callback(interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_or_resume(trainer)
    assert predictions(trainer, splits).shape == (50, 2)
    trainer.remove_callback(interrupt)
    train_or_resume(trainer)
    np.testing.assert_array_equal(predictions(trainer, splits), predictions(trained, splits))


def limit_memory(trainer: Trainer, monkeypatch, texts: int, message: str = "CUDA out of memory. Tried.") -> list[int]:
    """Let a model train on so many texts at once; return the sizes of the batches that it was given."""
    model_class, sizes = type(trainer.model), []
    forward = model_class.forward

    def limited(self, input_ids=None, **inputs):
        if self.training:
            sizes.append(len(input_ids))
            if len(input_ids) > texts:
                raise torch.OutOfMemoryError(message)
        return forward(self, input_ids=input_ids, **inputs)

    monkeypatch.setattr(model_class, "forward", limited)
    return sizes


def without_dropout(trainer: Trainer) -> Trainer:
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    trainer.model.config.attention_probs_dropout_prob = 0.0
    return trainer


def test_batches_are_divided_where_memory_is_short(splits, tiny_checkpoint, tmp_path, monkeypatch):
    """Without dropout, the steps of divided batches are those of whole ones, to rounding."""
    whole = without_dropout(build(splits, tiny_checkpoint, tmp_path / "whole", epochs=1))
    train_or_resume(whole)
    divided = without_dropout(build(splits, tiny_checkpoint, tmp_path / "divided", epochs=1))
    sizes = limit_memory(divided, monkeypatch, 5)
    with pytest.warns(OutOfMemoryWarning, match="no memory for a batch of 16 texts"):
        train_or_resume(divided)
    assert sizes == [16, 8, *[4] * 40]
    assert divided.args.gradient_accumulation_steps == 4
    assert divided.state.global_step == whole.state.global_step == 10
    np.testing.assert_allclose(predictions(divided, splits), predictions(whole, splits), atol=1e-3)


def test_memory_that_runs_out_later_goes_on_from_the_checkpoint(splits, tiny_checkpoint, tmp_path, monkeypatch):
    trainer = build(splits, tiny_checkpoint, tmp_path, epochs=2)
    step, calls = Trainer.training_step, []

    def limited(self, model, inputs, *rest):
        calls.append(len(inputs["labels"]))
        if len(calls) == 13:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried.")
        return step(self, model, inputs, *rest)

    monkeypatch.setattr(Trainer, "training_step", limited)
    with pytest.warns(OutOfMemoryWarning):
        train_or_resume(trainer)
    assert calls == [16] * 13 + [8] * 20
    assert trainer.state.global_step == 20


def test_odd_batches_are_divided_evenly(splits, tiny_checkpoint, tmp_path, monkeypatch):
    trainer = build(splits, tiny_checkpoint, tmp_path, epochs=1, batch_size=15)
    sizes = limit_memory(trainer, monkeypatch, 7)
    with pytest.warns(OutOfMemoryWarning):
        train_or_resume(trainer)
    assert sizes[:2] == [15, 5]
    assert trainer.state.global_step == 11


@pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.OutOfMemoryWarning")
def test_memory_for_not_one_text_is_said(splits, tiny_checkpoint, tmp_path, monkeypatch):
    trainer = build(splits, tiny_checkpoint, tmp_path)
    sizes = limit_memory(trainer, monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match="no memory for a single text"):
        train_or_resume(trainer)
    assert sizes == [16, 8, 4, 2, 1]


def test_other_errors_of_a_training_pass(splits, tiny_checkpoint, tmp_path, monkeypatch):
    trainer = build(splits, tiny_checkpoint, tmp_path)
    limit_memory(trainer, monkeypatch, 0, "device-side assert")
    with pytest.raises(RuntimeError, match="device-side assert"):
        train_or_resume(trainer)
