"""Export a fine-tuned classifier to ONNX, smaller and faster, and check what was exported."""

import importlib.metadata
import json
import logging
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
from torch.export import Dim
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.exporters import OnnxConfig, OnnxExporter

from emotion_tutorial.exceptions import CheckpointError, MissingExtraError
from emotion_tutorial.inference import predict_logits
from emotion_tutorial.models import label_names_of, load_classifier
from emotion_tutorial.onnx_classifier import ABOUT, MODEL, TOKENIZER, OnnxClassifier
from emotion_tutorial.replacing import replaced_whole
from emotion_tutorial.tokenization import context_size

_level = logging.getLogger().level
try:
    import onnx
    import onnxscript  # noqa: F401  the exporter needs it
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
except ImportError as error:
    raise MissingExtraError(f'{error.name} is not installed. Run: pip install "emotion-tutorial[onnx]".') from error
logging.getLogger().setLevel(_level)  # the quantizer's module sets it to INFO when it is imported


def export_onnx(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path, *, quantize: bool = True
) -> Path:
    """Write a classifier as a folder that `OnnxClassifier` reads without torch, and check it against the model.

    The folder holds `model.onnx`, `tokenizer.json`, and `export.json`: label names, versions, and what the check found.
    Files of these names are replaced when all of them are written and checked; nothing else in the folder is
    touched. It takes some ten seconds.

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
        If the model's labels have no names, the tokenizer is not of the tokenizers library, or the export does not give
        the model's logits: to within 0.001, or if quantized to a cosine of 0.95 over all texts together.
    MissingExtraError
        If onnx, onnxruntime or onnxscript is not installed.
    """
    folder = Path(folder)
    label_names = label_names_of(model.config)
    if all(re.fullmatch(r"LABEL_\d+", name) for name in label_names):
        raise CheckpointError(f"The labels have no names ({', '.join(label_names)}). Set model.config.id2label.")
    if not tokenizer.is_fast:
        raise CheckpointError("The tokenizer is not of the tokenizers library: load it with load_tokenizer.")
    with replaced_whole(folder) as new, tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        copy = load_classifier(scratch, device="cpu")  # in float32, without what a Trainer wraps around its model
        _trace(copy, tokenizer, Path(scratch), new / MODEL)
        if quantize:
            _quantize(new / MODEL)
        tokenizer.backend_tokenizer.save(str(new / TOKENIZER))
        about = {
            "label_names": label_names,
            "max_length": context_size(tokenizer),
            "pad_token_id": tokenizer.pad_token_id or 0,
            "quantized": quantize,
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "onnxruntime")},
        }
        (new / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        about["check"] = _check(new, copy, tokenizer, quantize)
        (new / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return folder


def _trace(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, scratch: Path, path: Path) -> None:
    """Write the model's graph, with weights, for any number of texts of any length."""
    sample = tokenizer.pad({"input_ids": [[1, 2, 3, 4], [1, 2, 3]]}, padding_side="right", return_tensors="pt")
    shapes = {name: {0: Dim.AUTO, 1: Dim.AUTO} for name in sample}
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of the exporter to itself
        exported = OnnxExporter().export(model, dict(sample), config=OnnxConfig(dynamic=True, dynamic_shapes=shapes))
    exported.save_pretrained(scratch / "exported")
    graph = onnx.load(scratch / "exported" / "model.onnx")
    # The quantizer transposes weights and then trips over what the graph says about their shapes.
    weights = {weight.name for weight in graph.graph.initializer}
    for shape in [info for info in graph.graph.value_info if info.name in weights]:
        graph.graph.value_info.remove(shape)
    onnx.save(graph, path)  # in one file


def _quantize(path: Path) -> None:
    """Replace float32 weights by int8 ones; see `export_onnx`."""
    graph = onnx.load(path).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    narrowing = [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and (shape := shapes.get(node.input[1])) and len(shape) == 2 and shape[0] > shape[1]
    ]
    # Seven bits of eight for weights: with eight, a sum of products overflows on processors without VNNI.
    quantize_dynamic(path, path, per_channel=True, reduce_range=True, nodes_to_exclude=narrowing)
    if narrowing:
        blockwise = MatMulNBitsQuantizer(
            onnx.load(path), bits=8, block_size=128, is_symmetric=True, accuracy_level=4, nodes_to_include=narrowing
        )
        blockwise.process()
        blockwise.model.save_model_to_file(str(path))


def _check(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, quantized: bool
) -> dict[str, float]:
    """Compare the logits of the export and of the model, on 64 texts of 3 to 60 random tokens."""
    random = np.random.default_rng(0)
    ids = np.setdiff1d(np.arange(tokenizer.vocab_size), tokenizer.all_special_ids)
    texts = [str(tokenizer.decode(random.choice(ids, size))) for size in random.integers(3, 61, size=64)]
    expected, found = predict_logits(texts, model, tokenizer), OnnxClassifier(folder).predict_logits(texts)
    check = {
        "texts": len(texts),
        "largest_difference": float(np.abs(expected - found).max()),
        # Of all texts together: the logits of two labels may both be near 0, where the cosine of one text is noise.
        "cosine": float((expected * found).sum() / np.linalg.norm(expected) / np.linalg.norm(found)),
        "same_label": float((expected.argmax(axis=1) == found.argmax(axis=1)).mean()),
    }
    if not (check["cosine"] > 0.95 if quantized else check["largest_difference"] < 1e-3):
        advice = "Export with quantize=False." if quantized else "The exporter does not support this architecture."
        raise CheckpointError(f"The export gives other logits than the model: {check}. {advice}")
    return check
