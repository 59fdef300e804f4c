"""Tiny random checkpoints of many architectures, through every helper."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from datasets import ClassLabel, Dataset, DatasetDict
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers import PreTrainedTokenizerFast as FastTokenizer

import emotion_tutorial as et
from emotion_tutorial.inference import TOKEN_BUDGET, predict_logits

NAMES = ["sadness", "joy", "anger"]
TEXTS = ["i feel happy", "", "the rain and the sun keep coming back today", "so so cross", "low"]
"""Of different lengths, so that a batch of them is padded; one has no words."""
WORDS = sorted(set(" ".join(TEXTS).split()))

BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
ALBERT = BERT | {"pad_token": "<pad>", "unk_token": "<unk>"}
ENDS = {"bos_token": "<s>", "eos_token": "</s>"}
ROBERTA = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"} | ENDS
GPT2 = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
LLAMA = {"unk_token": "<unk>"} | ENDS
QWEN = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
T5 = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}

USUAL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SHORT = {"n_embd": 32, "n_layer": 2, "n_head": 2}
DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
CHECKPOINTS = {
    "bert": ("wordpiece", BERT, USUAL),
    "distilbert": ("wordpiece", BERT, DISTILBERT),
    "roberta": ("bytes", ROBERTA, USUAL),
    "modernbert": ("bytes", BERT, USUAL),
    "deberta-v2": ("unigram", BERT, USUAL | DEBERTA | {"position_biased_input": False}),
    "electra": ("wordpiece", BERT, USUAL | {"embedding_size": 16}),
    "mpnet": ("wordpiece", ROBERTA | {"unk_token": "[UNK]"}, USUAL),
    "albert": ("unigram", ALBERT, USUAL | {"embedding_size": 16}),
    "xlm-roberta": ("unigram", ROBERTA, USUAL),
    "gpt2": ("bytes", GPT2, SHORT),
    "llama": ("bytes", LLAMA, USUAL),
    "qwen3": ("bytes", QWEN, USUAL | {"num_key_value_heads": 1, "head_dim": 16, "pad_token_id": None}),  # as on the Hub
}
REFUSED = {
    "t5": ("unigram", T5, {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}),
    "fnet": ("unigram", ALBERT, USUAL),  # mixes a text's tokens with its padding
    # Its head reads the last token of a batch, padding or not.
    "xlnet": ("unigram", ALBERT, {"d_model": 32, "n_layer": 2, "n_head": 2}),
}


def make_tokenizer(kind: str, special: dict[str, str]) -> FastTokenizer:
    tokens, unknown = list(dict.fromkeys(special.values())), special.get("unk_token")
    if kind == "wordpiece":
        vocabulary = {token: i for i, token in enumerate(tokens + WORDS)}
        made = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif kind == "bytes":
        vocabulary = {token: i for i, token in enumerate(tokens + sorted(pre_tokenizers.ByteLevel.alphabet()))}
        made = Tokenizer(models.BPE(vocabulary, merges=[]))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        pieces = [(token, -1.0) for token in [*tokens, *(f"▁{word}" for word in WORDS)]]
        made = Tokenizer(models.Unigram(pieces, unk_id=tokens.index(unknown)))
        made.pre_tokenizer = pre_tokenizers.Metaspace()
    template = {"[CLS]": "[CLS] $A [SEP]", "<s>": "<s> $A </s>"}.get(special.get("cls_token"), "$A")
    if special is LLAMA:
        template = "<s> $A"
    made.post_processor = processors.TemplateProcessing(template, special_tokens=[(t, i) for i, t in enumerate(tokens)])
    return FastTokenizer(tokenizer_object=made, model_max_length=256, **special)


def make_checkpoint(name: str, folder: Path, auto_class: type = AutoModel, **settings: object) -> Path:
    """Save a random model whose weights are so large that every word counts."""
    kind, special, sizes = (CHECKPOINTS | REFUSED)[name]
    tokenizer = make_tokenizer(kind, special)
    ids = {f"{role}_id": tokenizer.convert_tokens_to_ids(token) for role, token in special.items()}
    sizes = ids | sizes | {"vocab_size": len(tokenizer), "initializer_range": 0.2} | settings
    transformers.set_seed(0)
    auto_class.from_config(AutoConfig.for_model(name, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def labeled(texts: list[str], labels: Any) -> Dataset:
    return Dataset.from_dict({"text": texts, "label": labels}).cast_column("label", ClassLabel(names=NAMES))


def trainer_of(checkpoint: Path, folder: Path, texts: list[str], labels: list[int]) -> Any:
    splits = DatasetDict(train=labeled(texts, labels), validation=labeled(texts, labels))
    settings = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 4, "use_cpu": True, "disable_tqdm": True}
    return et.build_trainer(splits, checkpoint, output_dir=folder, **settings)


@pytest.fixture(scope="module", params=CHECKPOINTS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Train a checkpoint for three steps."""
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = make_checkpoint(request.param, folder / "checkpoint")
    trainer = trainer_of(checkpoint, folder / "training", WORDS[:12], [0, 1, 2] * 4)
    trainer.train()
    model, tokenizer = trainer.model, trainer.processing_class
    return SimpleNamespace(checkpoint=checkpoint, folder=folder, trainer=trainer, model=model, tokenizer=tokenizer)


def probabilities(model: PreTrainedModel, tokenizer: FastTokenizer, texts: list[str] = TEXTS) -> np.ndarray:
    return et.predict_proba(texts, model, tokenizer)[NAMES].to_numpy()


def test_trains_and_tokenizes(trained):
    tokenizer, before = trained.tokenizer, et.load_encoder(trained.checkpoint, "cpu").get_input_embeddings().weight
    assert trained.trainer.state.global_step == 3
    assert not torch.equal(trained.model.get_input_embeddings().weight, before)
    tokenized = et.tokenize(Dataset.from_dict({"text": TEXTS}), tokenizer)
    assert tokenized["input_ids"][:] == [tokenizer(text)["input_ids"] or [tokenizer.pad_token_id] for text in TEXTS]
    assert tokenized["attention_mask"][:] == [[1] * len(ids) for ids in tokenized["input_ids"]]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_hidden_states_of_a_text_are_its_own(trained, pooling: str, side: str, monkeypatch):
    encoder, tokenizer = et.load_encoder(trained.checkpoint, "cpu"), et.load_tokenizer(trained.checkpoint)
    tokenizer.padding_side = side
    texts = Dataset.from_dict({"text": TEXTS})
    settings = {"pooling": pooling, "precision": "float32", "cache": False}
    together = np.array(et.extract_hidden_states(texts, encoder, tokenizer, **settings)["hidden_state"])
    monkeypatch.setitem(TOKEN_BUDGET, "cpu", 1)
    alone = np.array(et.extract_hidden_states(texts, encoder, tokenizer, **settings)["hidden_state"])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert np.ptp(alone, axis=0).max() > 0.1


@pytest.mark.parametrize("trained", ["gpt2", "llama", "qwen3"], indirect=True)
def test_decoder_is_pooled_at_its_last_token(trained):
    encoder, tokenizer = et.load_encoder(trained.checkpoint, "cpu"), et.load_tokenizer(trained.checkpoint)
    texts = [text for text in TEXTS if text]
    settings = {"precision": "float32", "cache": False}
    found = et.extract_hidden_states(Dataset.from_dict({"text": texts}), encoder, tokenizer, **settings)
    with torch.inference_mode():
        last = [encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1].numpy() for text in texts]
    np.testing.assert_allclose(found["hidden_state"], last, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_probabilities_of_a_text_are_its_own(trained, side: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trained.tokenizer, "padding_side", side)
    alone = np.vstack([probabilities(trained.model, trained.tokenizer, [text]) for text in TEXTS])
    np.testing.assert_allclose(probabilities(trained.model, trained.tokenizer), alone, atol=1e-5)
    assert np.ptp(alone, axis=0).max() > 0.01


def test_explains(trained):
    model, tokenizer, text = trained.model, trained.tokenizer, TEXTS[2]
    explained = et.explain(text, model, tokenizer, label="joy", steps=800)  # random weights are far from linear
    encoded = tokenizer(text, return_special_tokens_mask=True, return_tensors="pt")
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"].bool()
    embed = model.get_input_embeddings()
    with torch.no_grad():
        rows = torch.cat([embed(ids), embed(torch.where(special, ids, tokenizer.pad_token_id))])
        p_text, p_baseline = model(inputs_embeds=rows).logits.softmax(dim=1)[:, 1].tolist()
    assert explained["word"].tolist() == text.split()
    assert explained["attribution"].abs().max() > 0.001
    assert explained["attribution"].sum() == pytest.approx(p_text - p_baseline, abs=0.02)


def test_calibrates(trained):
    model, tokenizer = copy.deepcopy(trained.model), trained.tokenizer
    before = predict_logits(WORDS, model, tokenizer)
    labels = before.argmax(axis=1)
    labels[0] = before[0].argmin()
    temperature = et.calibrate(model, tokenizer, labeled(WORDS, labels)).loc["after", "temperature"]
    assert abs(np.log(temperature)) > 0.05
    np.testing.assert_allclose(predict_logits(WORDS, model, tokenizer), before / temperature, atol=1e-5)
    assert model.config.calibration_temperature == temperature


def test_saved_model_predicts_the_same_elsewhere(trained):
    folder = et.save_model(trained.model, trained.tokenizer, trained.folder / "model")
    expected = probabilities(trained.model, trained.tokenizer)
    reloaded = probabilities(et.load_classifier(folder, device="cpu"), et.load_tokenizer(folder))
    np.testing.assert_allclose(reloaded, expected, atol=1e-6)
    pipeline = transformers.pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    rows = [{score["label"]: score["score"] for score in scores} for scores in pipeline([t for t in TEXTS if t])]
    np.testing.assert_allclose(pd.DataFrame(rows)[NAMES], expected[[t != "" for t in TEXTS]], atol=1e-5)


@pytest.mark.parametrize("trained", ["bert", "distilbert", "roberta"], indirect=True)
def test_exports(trained):
    folder = et.export_onnx(trained.model, trained.tokenizer, trained.folder / "onnx", quantize=False)
    expected = probabilities(trained.model, trained.tokenizer)
    np.testing.assert_allclose(et.OnnxClassifier(folder).predict_proba(TEXTS), expected, atol=1e-4)


def test_decoder_finds_the_last_token_whatever_the_tokenizer_pads_with(trained):
    """Its head finds it by the padding token that the configuration names."""
    tokenizer, texts = copy.deepcopy(trained.tokenizer), [text for text in TEXTS if text]
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(len(tokenizer) - 1)
    expected = probabilities(trained.model, trained.tokenizer, texts)
    np.testing.assert_allclose(probabilities(trained.model, tokenizer, texts), expected, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_a_sentence(tmp_path: Path, name: str):
    folder = make_checkpoint(name, tmp_path, AutoModelForSequenceClassification, num_labels=3)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    calls = [lambda: et.load_classifier(folder, NAMES, "cpu"), lambda: et.load_encoder(folder, "cpu")]
    calls.append(lambda: et.predict_proba(TEXTS, model, FastTokenizer.from_pretrained(folder)))
    for call in calls[:1] + calls[2:] if name == "xlnet" else calls:  # whose body is as good as others
        with pytest.raises(et.CheckpointError, match="encoder-decoder" if name == "t5" else "batch"):
            call()


def test_trainer_predicts_alike_before_it_trains(tmp_path: Path):
    """Where the configuration names another padding token than the tokenizer."""
    trainer = trainer_of(make_checkpoint("gpt2", tmp_path, pad_token_id=5), tmp_path / "out", TEXTS[2:], [0, 1, 2])
    logits = torch.tensor(trainer.predict(trainer.eval_dataset).predictions)
    expected = probabilities(trainer.model, trainer.processing_class, TEXTS[2:])
    np.testing.assert_allclose(logits.softmax(dim=1), expected, atol=1e-6)


def test_missing_padding_token_is_said(tmp_path: Path):
    """The configuration names none; and one that was added has no embedding yet."""
    folder = make_checkpoint("gpt2", tmp_path, AutoModelForSequenceClassification, num_labels=3)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), et.load_tokenizer(folder)
    with pytest.raises(et.CheckpointError, match="Load it with load_classifier"):
        et.predict_proba(TEXTS, model, tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    calls = (lambda: et.load_tokenizer(folder), lambda: et.load_classifier(folder, NAMES, "cpu"))
    split, encoder = Dataset.from_dict({"text": TEXTS[:1]}), et.load_encoder(folder, "cpu")
    for call in (*calls, lambda: et.extract_hidden_states(split, encoder, tokenizer, cache=False)):
        with pytest.raises(et.CheckpointError, match=r"resize_token_embeddings\(len\(tokenizer\)\)"):
            call()


def test_padding_with_an_ordinary_token_does_not_change_how_texts_are_divided(tmp_path: Path):
    folder = make_checkpoint("gpt2", tmp_path / "a", AutoModelForSequenceClassification, num_labels=3, pad_token_id=5)
    tokenizer, model = et.load_tokenizer(folder), et.load_classifier(folder, NAMES, "cpu")
    saved = et.save_model(model, tokenizer, tmp_path / "b")
    again = probabilities(et.load_classifier(saved, device="cpu"), et.load_tokenizer(saved))
    np.testing.assert_allclose(again, probabilities(model, tokenizer), atol=1e-6)
