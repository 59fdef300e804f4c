"""Measure how fast, how large and how accurate each way to predict is: `python benchmarks/prediction_speed.py`.

All ways label the bundled validation texts, on the CPU: a bag of words, a probe, and the fine-tuned model of the quick
profile in several runtimes and precisions. It takes some five minutes, during which nothing else should run, and longer
if `--artifacts` has no such model yet. It writes the part `speed` of docs/results.json, what was predicted for each
text into docs/speed.parquet, and the time of each round and call into docs/timings.parquet; then run tables.py.
"""

import importlib.util
import json
import logging
import pickle
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pandas as pd
import torch
from datasets import DatasetDict
from measure import load, parse_arguments
from onnxruntime.quantization import quantize_dynamic
from results import DOCS, TRAINED, Rows, circumstances, rows_of, write
from scipy.special import softmax
from summaries import INT8, PLAIN
from tokenizers import Tokenizer
from tqdm import tqdm

import emotion_tutorial as et
from emotion_tutorial.devices import has_bfloat16
from emotion_tutorial.features import pool
from emotion_tutorial.onnx_classifier import BATCH_SIZE, MODEL, TOKENIZER

Probabilities = npt.NDArray[np.floating]
Predict = Callable[[list[str]], Probabilities]  # from texts to the probabilities of the labels, (texts, labels)
Compute = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Probabilities]
"""From token ids and attention mask, (texts, tokens), to the same."""

SEED = 0
BATCH_SIZES = (8, 16, 32, 64, 256)
"""From which each way gets the one that suits it. Accuracy is of batches of `BATCH_SIZE`, like `OnnxClassifier`'s."""
SHORT = "what a day"
UNTIMED_CALLS = 10  # the first of each round, which still wake threads and fill caches
BYTES_PER_MB = 1_000_000
LAYERS = {
    "query": r"\.self\.query",
    "key": r"\.self\.key",
    "value": r"\.self\.value",
    "attention output": r"\.attention\.output\.dense",
    "feed-forward, first product": r"\.intermediate\.dense",
    "feed-forward, second product": r"\d\.output\.dense",
    "embeddings": r"embeddings\.\w+_embeddings",
}
"""The kinds of layers of BERT, and a pattern for the names of their modules."""
SCOPES = "pkg.torch.onnx.name_scopes"  # where PyTorch's exporter notes which module a node is from


class Way(NamedTuple):
    """A way to predict, and the folder with all files that it needs."""

    predict: Predict
    folder: Path

    @property
    def megabytes(self) -> float:
        """The size of the files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()) / BYTES_PER_MB


def in_batches(predict: Predict, texts: list[str], batch_size: int) -> Probabilities:
    """Predict texts of similar length together, and return the rows in the order of the texts."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    batches = ([texts[row] for row in order[i : i + batch_size]] for i in range(0, len(order), batch_size))
    return np.concatenate([predict(batch) for batch in batches])[np.argsort(order)]


def tokenized(export: Path, compute: Compute) -> Predict:
    """Put the tokenizer of an export in front: the same for every runtime."""
    about = et.OnnxClassifier(export).about
    tokenizer = Tokenizer.from_file(str(export / TOKENIZER))
    tokenizer.enable_truncation(about["max_length"])
    tokenizer.enable_padding(pad_id=about["pad_token_id"])

    def predict(texts: list[str]) -> Probabilities:
        encoded = tokenizer.encode_batch(texts)
        return compute(np.array([one.ids for one in encoded]), np.array([one.attention_mask for one in encoded]))

    return predict


def with_torch(model: Any, head: Callable[[Any, torch.Tensor], Probabilities]) -> Compute:
    """Compute with PyTorch; the head makes probabilities of the model's output and the mask."""

    def compute(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Probabilities:
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        with torch.inference_mode():
            return head(model(**inputs), inputs["attention_mask"])

    return compute


def of_logits(output: Any, _: torch.Tensor) -> Probabilities:
    """Turn the logits of a classifier into probabilities."""
    return output.logits.float().softmax(dim=1).numpy()


def with_onnxruntime(model: Path) -> Compute:
    """Compute with ONNX Runtime."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda ids, mask: softmax(session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0], axis=1)


def with_openvino(model: Path) -> tuple[str, Compute]:
    """Compute with OpenVINO, in the precision that it chooses for this processor; return that, too."""
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    name = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}.get(precision, precision)
    return name, lambda ids, mask: softmax(compiled({"input_ids": ids, "attention_mask": mask})[0], axis=1)


def cheap_ways(splits: DatasetDict, checkpoint: str, export: Path, scratch: Path) -> Iterator[tuple[str, Way]]:
    """Yield the bag of words and the probe, both tuned; the encoder has the precision of `extract_hidden_states`."""
    train = splits["train"]
    bag = et.fit_bag_of_words(train["text"][:], train["label"][:], tune=True)
    encoder, tokenizer = et.load_encoder(checkpoint, device="cpu"), et.load_tokenizer(checkpoint)
    features = et.extract_hidden_states(train, encoder, tokenizer, pooling="mean", cache=False)
    probe: Any = et.fit_probe(*et.feature_matrix(features), tune=True)
    for name, classifier in (("bag of words", bag), ("probe", probe)):
        (scratch / name).mkdir()
        (scratch / name / "classifier.pickle").write_bytes(pickle.dumps(classifier))
    encoder.save_pretrained(scratch / "probe")
    tokenizer.save_pretrained(scratch / "probe")
    body = encoder.bfloat16() if has_bfloat16(encoder.device) else encoder

    def head(output: Any, mask: torch.Tensor) -> Probabilities:
        return probe.predict_proba(pool(output.last_hidden_state, mask, "mean").numpy())

    yield "bag of words", Way(bag.predict_proba, scratch / "bag of words")
    yield "probe", Way(tokenized(export, with_torch(body, head)), scratch / "probe")


def fine_tuned_ways(model: Any, tokenizer: Any, export: Path, scratch: Path) -> Iterator[tuple[str, Way]]:
    """Yield the ways to predict with the fine-tuned model that this machine has."""
    for dtype in [torch.float32, torch.bfloat16][: 2 if has_bfloat16(torch.device("cpu")) else 1]:
        name = f"torch, {str(dtype).removeprefix('torch.')}"
        model.to(dtype).save_pretrained(scratch / name)
        tokenizer.save_pretrained(scratch / name)
        loaded: Any = et.load_classifier(scratch / name, device="cpu")
        yield name, Way(tokenized(export, with_torch(loaded.to(dtype), of_logits)), scratch / name)
    for name, folder in (("ONNX Runtime, float32", export), (INT8, scratch / INT8), (PLAIN, scratch / PLAIN)):
        yield name, Way(tokenized(export, with_onnxruntime(folder / MODEL)), folder)
    if importlib.util.find_spec("openvino"):
        precision, compute = with_openvino(export / MODEL)
        yield f"OpenVINO, {precision}", Way(tokenized(export, compute), export)


def quantize_plainly(export: Path, folder: Path, without: str = "") -> Path:
    """Quantize with the defaults of ONNX Runtime, except for one kind of layers."""
    shutil.copytree(export, folder, ignore=shutil.ignore_patterns(MODEL))
    excluded = nodes_of(onnx.load(export / MODEL).graph, LAYERS[without]) if without else []
    quantize_dynamic(export / MODEL, folder / MODEL, nodes_to_exclude=excluded)
    return folder


def nodes_of(graph: Any, module: str) -> list[str]:
    """Return the names of the nodes that come from modules with such names."""
    scopes = {node.name: prop.value for node in graph.node for prop in node.metadata_props if prop.key == SCOPES}
    if not (names := [name for name, scope in scopes.items() if re.search(module, scope)]):
        raise SystemExit(f"The export has no node of a module {module}. Adapt LAYERS to this architecture.")
    return names


def measure_times(ways: dict[str, Way], texts: list[str], rounds: int, calls: int) -> Rows:
    """Take turns: in each round, each way predicts all texts, and then one short text again and again."""
    random = np.random.default_rng(SEED)
    batch_sizes: dict[str, int] = {}
    measured: list[dict[str, Any]] = []
    for method, (predict, _) in tqdm(ways.items(), desc="batch sizes", unit="way"):
        in_batches(predict, texts[:100], BATCH_SIZES[0])  # the first call allocates, and compiles
        batch_sizes[method] = min((seconds(in_batches, predict, texts[::2], size), size) for size in BATCH_SIZES)[1]
    for number in tqdm(range(rounds), unit="round"):
        for method in random.permutation([*ways]):
            predict, size, about = ways[method].predict, batch_sizes[method], {"method": method, "round": number}
            in_batches(predict, texts[:100], size)  # warm up
            rate = len(texts) / seconds(in_batches, predict, texts, size)
            waits = [1000 * seconds(predict, [SHORT]) for _ in range(UNTIMED_CALLS + calls // rounds)][UNTIMED_CALLS:]
            measured.append(about | {"measure": "texts per second", "value": rate, "batch_size": size})
            measured += [about | {"measure": "milliseconds", "value": wait, "batch_size": 1} for wait in waits]
    return pd.DataFrame(measured).sort_values("method", key=lambda names: names.map([*ways].index), kind="stable")


def seconds(call: Callable[..., Any], *arguments: Any) -> float:
    """Time one call."""
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Run from the command line."""
    parser = parse_arguments(__doc__ or "", texts=4000, repeats=5)
    parser.add_argument("--artifacts", type=Path, default=TRAINED, help="folder of the trained model")
    parser.add_argument("--epochs", type=float, help="of the training; to try this script out, with another --output")
    parser.add_argument("--calls", type=int, default=400, help="for one short text, in all rounds together")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of results.json and the parquet files")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # onnxruntime.quantization sets it to INFO when it is imported
    splits = load(options)
    epochs = {"epochs": options.epochs} if options.epochs else {}
    profile = et.get_profile("quick", data=options.data, checkpoint=options.checkpoint, seed=SEED, **epochs)
    trainer: Any = et.load_or_train(splits, profile, folder=options.artifacts)
    validation, model, tokenizer = splits["validation"], trainer.model.cpu(), trainer.processing_class
    texts, start = validation["text"][:], time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        export = et.export_onnx(model, tokenizer, scratch / "export", quantize=False)
        et.export_onnx(model, tokenizer, scratch / INT8)
        quantize_plainly(export, scratch / PLAIN)
        ways = dict(cheap_ways(splits, profile.checkpoint, export, scratch))
        ways |= fine_tuned_ways(model, tokenizer, export, scratch)
        timings = measure_times(ways, texts, options.repeats, options.calls)
        judged = {(method, ""): way for method, way in ways.items()}
        for kind in LAYERS:
            path = quantize_plainly(export, scratch / f"{PLAIN} without {kind}", kind)
            judged[PLAIN, kind] = Way(tokenized(export, with_onnxruntime(path / MODEL)), path)
        found = []
        for (method, kind), way in judged.items():
            about: dict[str, Any] = {"data": "bundled", "split": "validation", "method": method, "without": kind}
            predicted = in_batches(way.predict, texts, BATCH_SIZE)
            found.append(rows_of(validation, predicted, seed=SEED, megabytes=way.megabytes, **about))
    runtimes = [name for name in ("onnx", "onnxruntime", "openvino") if importlib.util.find_spec(name)]
    about = circumstances(splits, profile, [SEED], start, *runtimes)
    files = {options.output / "speed.parquet": pd.concat(found, ignore_index=True)}
    results = write("speed", about, files | {options.output / "timings.parquet": timings})
    print(pd.DataFrame(results["speed"]).T.join(pd.DataFrame(results["timings"]).T).to_string())
    print(json.dumps({key: results[key] for key in ("speed", "timings", "equivalence", "int8_layers")}))


if __name__ == "__main__":
    main()
