"""Export a fine-tuned classifier to ONNX, smaller and faster, and check what was exported."""

import importlib.metadata
import json
import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.caching import digest
from emotion_tutorial.exceptions import CheckpointError, SettingsError, TutorialError, needed_from
from emotion_tutorial.inference import evaluating, pad_id_of, predict_logits
from emotion_tutorial.models import DIVERGED, label_names_of, load_classifier, load_tokenizer
from emotion_tutorial.onnx_classifier import ABOUT, MODEL, TOKENIZER, OnnxClassifier, digest_of_model
from emotion_tutorial.replacing import as_folder, replaced_whole
from emotion_tutorial.tokenization import context_size


def export_onnx(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path, *, quantize: bool = True
) -> Path:
    """Write a classifier as a folder that `OnnxClassifier` reads without torch, and check it against the model.

    The folder holds `model.onnx`, `tokenizer.json`, and `export.json`: label names, versions, a digest of the model,
    and what the check found. Files of these names are replaced when all of them are written and checked; nothing else
    in the folder is touched. It takes about ten seconds. The place for the export of a model that `save_model` wrote is
    the folder `onnx` in the model's own: there, `OnnxClassifier` and the service notice if it is no longer that model.

    Parameters
    ----------
    model, tokenizer
        Of one fine-tuned checkpoint, with label names in its configuration. The model is left as it is.
    folder
        Created if it is not there.
    quantize
        Whether weights become int8, a quarter of the size: embeddings and most matrix products with dynamic
        quantization, weights with a scale per output channel. The products that narrow, the second of each
        feed-forward block, have inputs with rare large values, which one scale for the whole batch serves badly:
        there, each 128 values have their own scale. False: float32.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    CheckpointError
        If the model does not choose one of several labels, weights are not finite, PyTorch cannot trace the
        architecture, or the tokenizer is not of the tokenizers library. Also if the export does not follow the model on
        random texts. What all logits of a text share does not matter, so it is taken away first. Then their error (root
        mean square) may be 0.001 of how much they vary from text to text, or 0.3 if quantized; and 99% of the labels,
        or 90%, must be the same, or as probable to within this error.
    SettingsError
        If something is no model, no tokenizer or no folder, or the folder holds a saved model itself.
    MissingExtraError
        If onnx, onnxruntime or onnxscript is not installed.
    """
    folder, length = as_folder(folder), context_size(tokenizer, model)
    label_names = label_names_of(getattr(model, "config", None))
    if not tokenizer.is_fast:
        raise CheckpointError("The tokenizer is not of the tokenizers library: load it with load_tokenizer.")
    if wrong := [name for name, weights in model.named_parameters() if not weights.isfinite().all()]:
        raise CheckpointError(f"The model's weights {wrong[0]} are {DIVERGED}")
    with needed_from("onnx"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401  the exporter needs it
    if digest_of_model(folder) is not None:
        raise SettingsError(f"{folder} holds a saved model. Export into {folder / 'onnx'}.")
    with replaced_whole(folder) as new:
        scratch = new.parent / "copy"
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        copy = load_classifier(scratch, device="cpu")  # in float32, without what a Trainer wraps around its model
        pad = pad_id_of(copy, tokenizer) or 0
        graph = _trace(copy, pad, scratch, new / MODEL)
        if quantize:
            _quantize(graph, new / MODEL)
        tokenizer.backend_tokenizer.save(str(new / TOKENIZER))
        made_from, saved = digest_of_model(scratch), digest_of_model(folder.parent)  # of before it is compared
        with suppress(TutorialError):
            made_from = saved if saved and _content(folder.parent) == _content(scratch) else made_from
        about = {
            "label_names": label_names,
            "max_length": length,
            "pad_token_id": pad,
            "empty_text_id": tokenizer.pad_token_id or 0,  # as encode has it
            "truncation_side": tokenizer.truncation_side,
            "split_special_tokens": tokenizer.split_special_tokens,  # which tokenizer.json does not have
            "quantized": quantize,
            "made_from": made_from,
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "onnxruntime")},
        }
        (new / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        about["check"] = _check(new, copy, tokenizer, quantize)
        (new / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return folder


def _content(folder: Path) -> str:
    """Return a digest of a saved model that is the same in half precision, in parts, or by another version."""
    tokenizer = load_tokenizer(folder)
    rules = json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    rules |= {"split_special_tokens": tokenizer.split_special_tokens}
    return digest(load_classifier(folder, device="cpu"), rules, tokenizer.pad_token, context_size(tokenizer))


def _trace(model: PreTrainedModel, pad: int, scratch: Path, path: Path) -> Any:
    """Write and return the model's graph, with weights, for any number of texts of any length."""
    import onnx
    from transformers.exporters import OnnxConfig, OnnxExporter

    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, pad]])
    sample: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])}
    shapes = {name: {0: Dim.AUTO, 1: Dim.AUTO} for name in sample}
    # Nobody else may compute meanwhile: functions of PyTorch are replaced. The warning is of the exporter to itself.
    with evaluating(model), warnings.catch_warnings(action="ignore", category=FutureWarning):
        exported = OnnxExporter().export(model, sample, config=OnnxConfig(dynamic=True, dynamic_shapes=shapes))
    exported.save_pretrained(scratch / "exported")
    proto = onnx.load(scratch / "exported" / "model.onnx")
    del proto.graph.value_info[:]  # the quantizer transposes weights, and trips over what is said of their shapes
    onnx.save(proto, path)  # in one file
    return proto.graph


def _quantize(graph: Any, path: Path) -> None:
    """Replace float32 weights by int8 ones; see `export_onnx`."""
    level = logging.getLogger().level
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger().setLevel(level)  # that module sets it to INFO when it is imported
    long = {weight.name for weight in graph.initializer if len(weight.dims) == 2 and weight.dims[0] > weight.dims[1]}
    narrowing = [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in long]
    # Seven bits of eight for weights: with eight, a sum of products overflows on processors without VNNI.
    quantize_dynamic(path, path, per_channel=True, reduce_range=True, nodes_to_exclude=narrowing)
    if narrowing:
        blockwise = MatMulNBitsQuantizer(str(path), 8, 128, True, 4, nodes_to_include=narrowing)
        blockwise.process()
        blockwise.model.save_model_to_file(str(path))


def _check(folder: Path, model: Any, tokenizer: Any, quantized: bool) -> dict[str, float]:
    """Compare the logits of the export and of the model on 64 texts of random tokens; see `export_onnx`."""
    random = np.random.default_rng(0)
    ids = np.setdiff1d(np.arange(tokenizer.vocab_size), tokenizer.all_special_ids)
    longest = min(60, max(3, context_size(tokenizer, model) // 2))
    texts = [str(tokenizer.decode(random.choice(ids, size))) for size in random.integers(3, longest + 1, size=64)]
    raw = np.stack([predict_logits(texts, model, tokenizer), OnnxClassifier(folder).compute_logits(texts)[0]])
    expected, found = raw - raw.mean(axis=2, keepdims=True, dtype=np.float64)
    spread = np.std(expected - expected.mean(axis=0))  # without what is said of every text, such as the head's bias
    error = np.sqrt(np.mean((expected - found) ** 2))
    # A model that says nearly the same of all texts has a spread of nearly 0, and large logits are rounded coarsely.
    share, least, labels = (0.3, 1e-3, 0.9) if quantized else (1e-3, 1e-5, 0.99)
    tolerance = share * spread + least + 1e-6 * np.abs(raw).max()
    chosen = np.take_along_axis(expected, found.argmax(axis=1)[:, None], axis=1)[:, 0]
    check = {
        "largest_difference": float(np.abs(expected - found).max()),
        "relative_error": float(error / max(spread, 1e-12)),
        "same_label": float((expected.max(axis=1) - chosen <= tolerance).mean()),  # or one that is nearly as probable
    }
    if error > tolerance or check["same_label"] < labels:
        advice = "Export with quantize=False." if quantized else "The exporter does not support this architecture."
        raise CheckpointError(f"The export does not follow the model: {check}. {advice}")
    return check
