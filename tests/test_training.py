"""Fine-tuning: what a Trainer is set up to do."""

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, DatasetDict, concatenate_datasets
from pets import accuracies, build, predictions
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModel, TrainerCallback, TrainingArguments

import emotion_tutorial as et
from emotion_tutorial.training_settings import weights_by_id


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


def test_training_batches_are_grouped_by_length(splits, tiny_checkpoint, tmp_path):
    many = DatasetDict(splits, train=concatenate_datasets([splits["train"]] * 10))

    def padding(**options: str) -> float:
        batches = build(many, tiny_checkpoint, tmp_path, **options).get_train_dataloader()
        masks = [batch["attention_mask"] for batch in batches]
        return 1 - sum(mask.sum().item() for mask in masks) / sum(mask.numel() for mask in masks)

    assert padding() < 0.1 < 0.3 < padding(train_sampling_strategy="random")


def test_best_epoch_is_restored(splits, tiny_checkpoint, tmp_path):
    class Ruin(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, **kwargs):
            if state.epoch == 3:
                model.classifier.weight.data.zero_()

    trainer = build(splits, tiny_checkpoint, tmp_path, callbacks=[Ruin()])
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


def test_balanced_weights_let_each_label_count_alike():
    cat, dog, cow = weights_by_id("balanced", ["cat", "dog", "cow"], [0, 0, 0, 1])
    assert (3 * cat, cow) == (pytest.approx(dog), 1)


SERIES = pd.Series({"dog": 5.0, "cat": 1.0})


@pytest.mark.parametrize("weights", [np.array([1, 5]), torch.tensor([1.0, 5.0]), {1: 5.0, 0: 1.0}, SERIES], ids=repr)
def test_class_weights_and_label_smoothing_both_act(splits, tiny_checkpoint, tmp_path, weights):
    trainer = build(splits, tiny_checkpoint, tmp_path, class_weights=weights, label_smoothing_factor=0.2)
    batch = dict(next(iter(trainer.get_train_dataloader())))
    for weight in (torch.tensor([1.0, 5.0]), None):  # in training, and where it is measured
        with torch.set_grad_enabled(weight is not None):
            logits = trainer.model.eval()(**batch).logits
            found = trainer.compute_loss(trainer.model, dict(batch))
        options = {"weight": weight, "label_smoothing": 0.2, "reduction": "sum"}
        torch.testing.assert_close(found, cross_entropy(logits, batch["labels"], **options) / len(logits))


WRONG = ["even", 5.0, [1.0], [1.0, 0.0], [1.0, float("nan")], [[1.0], [2.0]], ["a", "b"], {"cat": 1.0}]
WRONG += [{"cat": 1.0, "mouse": 2.0}, {0: 1.0, "cat": 2.0}, {0: 1.0, 1: 2.0, 2: 3.0}, {0: None, 1: 2.0}]


@pytest.mark.parametrize("weights", WRONG, ids=repr)
def test_wrong_class_weights_are_refused(weights, splits, tiny_checkpoint, tmp_path):
    with pytest.raises(et.SettingsError, match=r"class_weights are .*one for each of cat, dog\.$"):
        build(splits, tiny_checkpoint, tmp_path, class_weights=weights)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"eval_strategy": "no"}, ("no", "epoch", False)),
        ({"eval_strategy": "steps", "save_strategy": "epoch"}, ("steps", "epoch", False)),
        ({"save_strategy": "no"}, ("epoch", "no", False)),
        ({"save_strategy": "steps", "save_steps": 4}, ("steps", "steps", True)),
        ({"save_strategy": "best"}, ("epoch", "best", True)),
        ({"save_steps": 4, "logging_steps": 2}, ("steps", "steps", True)),
        ({"eval_steps": 4}, ("steps", "steps", True)),
        ({"eval_steps": 4, "save_strategy": "epoch"}, ("steps", "epoch", False)),
    ],
    ids=repr,
)
def test_defaults_yield_to_what_is_asked_for(splits, tiny_checkpoint, tmp_path, options, expected):
    trainer = build(splits, tiny_checkpoint, tmp_path, **options, epochs=1)
    trainer.train()
    args = trainer.args
    assert (args.eval_strategy, args.save_strategy, args.load_best_model_at_end) == expected
    assert args.logging_strategy == ("steps" if "logging_steps" in options else "epoch")
    assert 4 in {args.eval_steps, args.save_steps} or not {"eval_steps", "save_steps"} & {*options}
    saved = {"no": 0, "epoch": 1, "best": 1}.get(expected[1], 2)  # of steps, the last one and the best
    assert len([*tmp_path.glob("checkpoint-*")]) in {saved, 1}


def test_fp16_turns_our_bf16_off(splits, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("emotion_tutorial.training_settings.has_bfloat16", lambda device: True)
    assert build(splits, tiny_checkpoint, tmp_path).args.bf16
    assert not build(splits, tiny_checkpoint, tmp_path, fp16=True).args.bf16


IMPOSSIBLE = [
    {"evaluation_strategy": "epoch"},
    {"eval_strategy": "no", "load_best_model_at_end": True},
    {"eval_strategy": "steps", "eval_steps": 4, "save_steps": 6},
    {"fp16": True, "bf16": True},
    {"learning_rate": float("nan")},
    {"learning_rate": "1e-3"},
    {"label_smoothing_factor": 2},
    {"epochs": 0},
    {"batch_size": 2.5},
    {"seed": None},
    {"dataloader_drop_last": True},
    {"resume_from_checkpoint": "checkpoint-10"},
    {"batch_eval_metrics": True},
    {"metric_for_best_model": "f1"},
    {"report_to": "nonsense"},
    {"report_to": "swanlab"},  # which is not installed
    {"optim": "adamw_8bit"},
    {"lr_scheduler_kwargs": {"magic": 1}},
]


@pytest.mark.parametrize("options", IMPOSSIBLE, ids=repr)
def test_settings_that_cannot_be_are_refused(splits, tiny_checkpoint, tmp_path, options):
    with pytest.raises(et.SettingsError, match=r"\.$"):
        build(splits, tiny_checkpoint, tmp_path, **options)


def test_token_ids_of_another_tokenizer_are_made_anew(splits, trained, tiny_checkpoint, tmp_path):
    other = splits.map(lambda row: {"input_ids": [101, 7, 102], "attention_mask": [1] * 3})
    assert build(other, tiny_checkpoint, tmp_path).train_dataset[:] == trained.train_dataset[:]


DOG_CAT = ClassLabel(names=["dog", "cat"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda given: given["train"], "Dataset"),
        (lambda given: DatasetDict(train=given["train"]), "validation"),
        (lambda given: given.rename_column("label", "labels"), "labels"),
        (lambda given: DatasetDict(given, validation=given["test"].select([])), "no texts"),
        (lambda given: DatasetDict(given, train=given["train"].filter(lambda row: row["label"] == 0)), "1 label"),
        (lambda given: DatasetDict(given, train=given["train"].cast_column("label", DOG_CAT)), "dog, cat"),
    ],
)
def test_splits_that_cannot_be_trained_on_are_refused(splits, tiny_checkpoint, tmp_path, change, said):
    with pytest.raises(et.DataError, match=said):
        build(change(DatasetDict(splits)), tiny_checkpoint, tmp_path)


def test_checkpoints_of_an_earlier_training_are_renamed(splits, tiny_checkpoint, tmp_path):
    (tmp_path / "checkpoint-10").mkdir()
    (tmp_path / "checkpoint-10" / "mine").write_text("kept")
    trainer = build(splits, tiny_checkpoint, tmp_path)
    with pytest.warns(et.TrainingWarning, match="is now called earlier-1-checkpoint-10"):
        trainer.train()
    assert (tmp_path / "earlier-1-checkpoint-10" / "mine").read_text() == "kept"
    assert {path.name for path in tmp_path.glob("checkpoint-*")} <= {"checkpoint-10", "checkpoint-20", "checkpoint-30"}


def test_two_trainings_do_not_share_a_folder(splits, tiny_checkpoint, tmp_path):
    class Another(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            (tmp_path / "checkpoint-10").mkdir()
            with pytest.raises(et.SettingsError, match="Another training writes into"):
                build(splits, tiny_checkpoint, tmp_path).train()
            (tmp_path / "checkpoint-10").rmdir()

    trainer = build(splits, tiny_checkpoint, tmp_path, callbacks=[Another()], max_steps=1)
    trainer.train()
    trainer.callback_handler.pop_callback(Another)
    with pytest.warns(et.TrainingWarning, match="earlier-1-checkpoint-1"):
        trainer.train()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda split: split.cast_column("label", ClassLabel(names=["dog", "cat"])), "labels dog, cat, .* cat, dog"),
        (lambda split: split.remove_columns("input_ids"), "one split that tokenize returned"),
        (lambda split: split.map(lambda row: {"label": -1}), "labels are hidden"),
        (lambda split: DatasetDict(test=split), "one split that tokenize returned"),
    ],
)
def test_splits_that_a_trained_model_cannot_be_measured_on_are_refused(trained, splits, change, said):
    tokenized = et.tokenize(splits["test"], trained.processing_class)
    changed = change(tokenized)
    for measure in (trained.predict, trained.evaluate):
        if isinstance(changed, DatasetDict) and measure == trained.evaluate:
            assert "eval_test_accuracy" in measure(changed)  # as Trainer does
        else:
            with pytest.raises(et.DataError, match=said):
                measure(changed)
    assert trained.predict(tokenized.remove_columns("label")).predictions.shape == (51, 2)


@pytest.mark.parametrize("options", [{}, {"eval_strategy": "no"}, {"save_strategy": "steps", "save_steps": 1}])
def test_diverging_training_is_stopped_before_it_is_saved(splits, tiny_checkpoint, tmp_path, options):
    trainer = build(splits, tiny_checkpoint, tmp_path, learning_rate=1e7, **options)
    with pytest.raises(et.SettingsError, match=r"diverged.* step \d+.* learning rate"):
        trainer.train()
    for path in tmp_path.rglob("model.safetensors"):
        assert all(weight.isfinite().all() for weight in load_file(path).values()), path


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
