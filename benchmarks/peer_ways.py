"""The ways that peers.py compares. Each runs in a process of its own, which waits until it is its turn.

`python peer_ways.py PART WAY SETTINGS` reads commands from its standard input, one a line, and answers each with a line
of JSON. `run NUMBER` does the work once and says how many seconds it took. `finish FILE` writes what was computed last
into a file of NumPy arrays, and says how much memory the process has used. The ways that are called `elsewhere` run in
an environment without this package, which is why everything is imported where it is needed.
"""

import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from system import peak_mb

Array = npt.NDArray[Any]
Compute = Callable[[list[str]], Array]
"""From texts to vectors, or to the probabilities of the labels; a row for each text."""
Settings = dict[str, Any]
BATCH_SIZE = 64
WARM_UP = 64
"""The number of texts that are computed before anything is timed."""


class Way(NamedTuple):
    """What makes a way ready, and what has to be said of it."""

    prepare: Callable[[Settings], Any]
    precision: str = "float32"
    ours: bool = False
    elsewhere: bool = False
    share: int = 1
    """Every how many texts are timed. A way whose time per text is the same for any number of them takes a few."""
    files: str = ""
    """The setting that names the folder of the model's files."""


def vectors_of_sentence_transformers(settings: Settings, precision: str, batch_size: int, **backend: Any) -> Compute:
    """Encode with sentence-transformers, which takes the mean over the tokens of a plain checkpoint."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(settings["checkpoint"], device="cpu", **backend)
    if precision != "float32":
        model.to(getattr(torch, precision))

    def compute(texts: list[str]) -> Array:
        vectors = model.encode(texts, batch_size=batch_size, show_progress_bar=False, convert_to_tensor=True)
        return vectors.float().cpu().numpy()

    return compute


def vectors_of_quantized_onnx(settings: Settings) -> Compute:
    """Encode with an int8 export of sentence-transformers, made with its own function for this processor."""
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    model = SentenceTransformer(settings["checkpoint"], device="cpu", backend="onnx")
    folder = tempfile.mkdtemp(dir=settings["scratch"])
    model.save_pretrained(folder)
    about = Path("/proc/cpuinfo")
    flags = about.read_text(encoding="utf-8") if about.is_file() else ""
    kind = next((kind for kind in ("avx512_vnni", "avx512") if kind in flags), "avx2")
    export_dynamic_quantized_onnx_model(model, kind, folder)
    [file] = Path(folder).rglob(f"*int8_{kind}.onnx")
    how = {"backend": "onnx", "model_kwargs": {"file_name": str(file.relative_to(folder))}}
    return vectors_of_sentence_transformers(settings | {"checkpoint": folder}, "float32", BATCH_SIZE, **how)


def vectors_of_pipeline(settings: Settings, precision: str) -> Compute:
    """Take the mean over what the feature-extraction pipeline returns: it has one text at a time, and no padding."""
    import torch
    from transformers import pipeline

    folder = settings["checkpoint"]
    extract = pipeline("feature-extraction", folder, device="cpu", dtype=getattr(torch, precision))

    def compute(texts: list[str]) -> Array:
        found = extract(texts, return_tensors=True, truncation=True)
        return np.stack([hidden[0].float().mean(dim=0).numpy() for hidden in found])

    return compute


def vectors_of_the_book(settings: Settings) -> Compute:
    """Pad all texts to the longest of the corpus, then `map` in batches of 1,000, as in 2022."""
    import torch
    from datasets import Dataset

    from emotion_tutorial import load_encoder, load_tokenizer
    from emotion_tutorial.features import pool

    encoder = load_encoder(settings["checkpoint"], device="cpu")
    tokenizer: Any = load_tokenizer(settings["checkpoint"])
    padding: Settings = {"padding": "max_length", "truncation": True, "max_length": settings["longest"]}

    def extract(batch: dict[str, Any]) -> Any:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            hidden = encoder(**inputs).last_hidden_state
        return {"hidden_state": pool(hidden, inputs["attention_mask"], "mean").numpy()}

    def compute(texts: list[str]) -> Array:
        dataset = Dataset.from_dict({"text": texts})
        padded = dataset.map(lambda batch: tokenizer(batch["text"], **padding), batched=True, batch_size=None)
        padded.set_format("torch", columns=["input_ids", "attention_mask"])
        extracted = padded.map(extract, batched=True, batch_size=1000).with_format("numpy")
        return extracted[:]["hidden_state"]

    return compute


def vectors_of_ours(settings: Settings, precision: Any) -> Compute:
    """Call `extract_hidden_states`."""
    from datasets import Dataset

    from emotion_tutorial import extract_hidden_states, load_encoder, load_tokenizer

    encoder, tokenizer = load_encoder(settings["checkpoint"], device="cpu"), load_tokenizer(settings["checkpoint"])

    def compute(texts: list[str]) -> Array:
        dataset = Dataset.from_dict({"text": texts})
        how: dict[str, Any] = {"pooling": "mean", "precision": precision, "cache": False, "progress": False}
        extracted = extract_hidden_states(dataset, encoder, tokenizer, **how).with_format("numpy")
        return extracted[:]["hidden_state"]

    return compute


def sorted_rows(found: Any, names: list[str]) -> Array:
    """Put the scores of a pipeline, which come from the highest to the lowest, into the order of the labels."""
    return np.array([[{cell["label"]: cell["score"] for cell in row}[name] for name in names] for row in found])


def predictions_of_pipeline(settings: Settings, precision: str, batch_size: int) -> Compute:
    """Classify with the pipeline."""
    import torch
    from transformers import pipeline

    classify = pipeline("text-classification", settings["model"], device="cpu", dtype=getattr(torch, precision))
    how: Settings = {"top_k": None, "truncation": True, "batch_size": batch_size}
    return lambda texts: sorted_rows(classify(texts, **how), settings["names"])


def predictions_of_torch(settings: Settings, precision: str, by_length: bool) -> Compute:
    """Classify with a loop that one writes: batches of 64, each padded to its longest text."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    dtype = getattr(torch, precision)
    model = AutoModelForSequenceClassification.from_pretrained(settings["model"], dtype=dtype).eval()

    def compute(texts: list[str]) -> Array:
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row])) if by_length else [*range(len(texts))]
        found = []
        for start in range(0, len(texts), BATCH_SIZE):
            some = [texts[row] for row in order[start : start + BATCH_SIZE]]
            with torch.inference_mode():
                inputs = tokenizer(some, padding=True, truncation=True, return_tensors="pt")
                found.append(model(**inputs).logits.float().softmax(dim=1).numpy())
        return np.concatenate(found)[np.argsort(order)]

    return compute


def predictions_of_ours(settings: Settings, precision: str) -> Compute:
    """Call `predict_proba`."""
    import torch

    from emotion_tutorial import load_classifier, load_tokenizer, predict_proba

    model: Any = load_classifier(settings["model"], device="cpu")
    model.to(getattr(torch, precision))
    tokenizer = load_tokenizer(settings["model"])
    return lambda texts: predict_proba(texts, model, tokenizer, progress=False).to_numpy()


def predictions_of_export(settings: Settings, folder: str) -> Compute:
    """Call `OnnxClassifier` on one of the exports."""
    from emotion_tutorial import OnnxClassifier

    classifier = OnnxClassifier(settings[folder])
    return lambda texts: classifier.predict_proba(texts).to_numpy()


def predictions_of_optimum(settings: Settings) -> Compute:
    """Classify with the model of Optimum that the ONNX backend of sentence-transformers is made of."""
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from transformers import PreTrainedTokenizerFast, pipeline

    model = ORTModelForSequenceClassification.from_pretrained(settings["model"], export=True)
    # An older transformers does not know the class that the newer one wrote down for the tokenizer.
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    file = str(Path(settings["model"]) / "tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, model_max_length=512, **special)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    how: Settings = {"top_k": None, "truncation": True, "batch_size": BATCH_SIZE}
    return lambda texts: sorted_rows(classify(texts, **how), settings["names"])


def training(settings: Settings, kind: str, **more: Any) -> Callable[[int], dict[str, Any]]:
    """Train with one kind of Trainer until the validation accuracy is reached; evaluating is not timed.

    All kinds start from the same weights for each seed, and have the same rate, batch size and number of epochs, over
    which the rate falls to 0. Accuracy is measured eight times in each epoch.
    """
    from datasets import load_from_disk
    from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

    from emotion_tutorial import build_trainer, compute_metrics, load_classifier, load_tokenizer

    splits: Any = load_from_disk(settings["splits"])
    folder, names = settings["checkpoint"], settings["names"]
    tokenizer = load_tokenizer(folder)
    shared: Settings = {"learning_rate": settings["learning_rate"], "weight_decay": settings["weight_decay"]}
    shared |= {"warmup_steps": settings["warmup_steps"], "eval_strategy": "no", "save_strategy": "no"}
    shared |= {"report_to": "none", "disable_tqdm": True, "logging_strategy": "no", "use_cpu": True}
    size: int = settings["batch_size"]

    class Until(TrainerCallback):
        """Measure the accuracy again and again, stop when it is reached, and add up what measuring took."""

        def __init__(self) -> None:
            self.accuracy, self.best, self.evaluating, self.since, self.steps = 0.0, 0.0, 0.0, 0.0, 0
            self.every = max(1, len(splits["train"]) // size // 8)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:  # noqa: ARG002
            self.steps = state.global_step
            if state.global_step % self.every == 0 or state.global_step == state.max_steps:
                self.since = time.perf_counter()
                control.should_evaluate = True
            return control

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:  # noqa: ARG002
            self.accuracy = kwargs["metrics"]["eval_accuracy"]
            self.best = max(self.best, self.accuracy)
            self.evaluating += time.perf_counter() - self.since
            control.should_training_stop = self.accuracy >= settings["until"]
            return control

    def encoded(split: str, **padding: Any) -> Any:
        return splits[split].map(lambda batch: tokenizer(batch["text"], truncation=True, **padding), batched=True)

    def trainer_for(seed: int, output: str) -> Any:
        if kind == "ours":
            ours: Settings = shared | {"load_best_model_at_end": False, "batch_size": size, "seed": seed}
            return build_trainer(splits, folder, output_dir=output, epochs=settings["epochs"], **ours, **more)
        how: Settings = {"train_sampling_strategy": "group_by_length"} if kind == "grouped" else {}
        how |= {"num_train_epochs": settings["epochs"], "seed": seed, **more}
        how |= {"per_device_train_batch_size": size, "per_device_eval_batch_size": BATCH_SIZE}
        set_seed(seed)
        model = load_classifier(folder, names, "cpu")
        padding: Settings = {"padding": "max_length", "max_length": settings["longest"]} if kind == "book" else {}
        sets: Settings = {"train_dataset": encoded("train", **padding), "eval_dataset": encoded("validation")}
        arguments = TrainingArguments(output_dir=output, **shared, **how)
        return Trainer(model, arguments, processing_class=tokenizer, compute_metrics=compute_metrics, **sets)

    def run(seed: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=settings["scratch"]) as output:
            trainer, until = trainer_for(seed, output), Until()
            trainer.add_callback(until)
            start = time.perf_counter()
            trainer.train()
            seconds = time.perf_counter() - start - until.evaluating
        reached = until.accuracy >= settings["until"]
        return {"seconds": seconds, "accuracy": until.best, "steps": until.steps, "reached": reached}

    return run


def both(name: str, prepare: Callable[..., Any], *options: Any, **about: Any) -> dict[str, Way]:
    """Return a way in bfloat16, and once more in float32."""
    kinds = ("bfloat16", "float32")
    return {f"{name}, {kind}": Way(partial(prepare, *options, precision=kind), kind, **about) for kind in kinds}


WAYS: dict[str, dict[str, Way]] = {
    "vectors": {
        "sentence-transformers, defaults": Way(
            partial(vectors_of_sentence_transformers, precision="float32", batch_size=32)
        ),
        **both(
            "sentence-transformers, batches of 64", partial(vectors_of_sentence_transformers, batch_size=BATCH_SIZE)
        ),
        "sentence-transformers, ONNX": Way(
            partial(vectors_of_sentence_transformers, precision="float32", batch_size=BATCH_SIZE, backend="onnx"),
            elsewhere=True,
        ),
        "sentence-transformers, ONNX, int8": Way(vectors_of_quantized_onnx, "int8", elsewhere=True),
        **both("feature-extraction pipeline", vectors_of_pipeline, share=4),
        "the book's code": Way(vectors_of_the_book, share=4),
        **both("extract_hidden_states", vectors_of_ours, ours=True),
    },
    "training": {
        "Trainer, padded per batch": Way(partial(training, kind="plain")),
        "Trainer, grouped by length, bfloat16": Way(partial(training, kind="grouped", bf16=True), "bfloat16"),
        "Trainer, grouped by length, float32": Way(partial(training, kind="grouped")),
        "the book's code": Way(partial(training, kind="book")),
        "build_trainer, bfloat16": Way(partial(training, kind="ours"), "bfloat16", ours=True),
        "build_trainer, float32": Way(partial(training, kind="ours", bf16=False), ours=True),
    },
    "predictions": {
        "pipeline, defaults": Way(
            partial(predictions_of_pipeline, precision="float32", batch_size=1), share=4, files="model"
        ),
        **both("pipeline, batches of 64", partial(predictions_of_pipeline, batch_size=BATCH_SIZE), files="model"),
        "torch, batches of 64": Way(partial(predictions_of_torch, precision="float32", by_length=False), files="model"),
        **both("torch, batches of 64 by length", partial(predictions_of_torch, by_length=True), files="model"),
        "Optimum, ONNX": Way(predictions_of_optimum, elsewhere=True, files="model"),
        "ONNX Runtime, its own int8": Way(partial(predictions_of_export, folder="plain"), "int8", files="plain"),
        **both("predict_proba", predictions_of_ours, ours=True, files="model"),
        "OnnxClassifier, float32": Way(partial(predictions_of_export, folder="export"), ours=True, files="export"),
        "OnnxClassifier, int8": Way(partial(predictions_of_export, folder="int8"), "int8", True, files="int8"),
    },
}
"""What is compared, and in which order it is listed. The first way of vectors and of predictions is the reference."""


def timed(compute: Compute, settings: Settings, share: int, found: dict[str, Array]) -> Callable[[int], Settings]:
    """Return what computes the texts once; the last result is kept in `found`, with the rows it is of."""
    rows = np.arange(0, len(settings["texts"]), share)
    texts = [settings["texts"][row] for row in rows]
    compute(texts[:WARM_UP])

    def run(_: int) -> Settings:
        start = time.perf_counter()
        answer = compute(texts)
        seconds = time.perf_counter() - start
        found.update(rows=rows, answer=answer)
        return {"seconds": seconds, "texts": len(texts)}

    return run


def versions() -> dict[str, str]:
    """Return the versions of what computes in this environment."""
    names = ("torch", "transformers", "sentence-transformers", "optimum", "onnxruntime")
    installed = {found.metadata["Name"] for found in importlib.metadata.distributions()}
    return {name: importlib.metadata.version(name) for name in names if name in installed}


def main() -> None:
    """Run from the command line of peers.py."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the libraries print is no answer
    part, name, file = sys.argv[1:]
    way, settings = WAYS[part][name], json.loads(Path(file).read_text(encoding="utf-8"))
    found: dict[str, Array] = {}
    prepared = way.prepare(settings)
    run = prepared if part == "training" else timed(prepared, settings, way.share, found)

    def answer(said: Settings) -> None:
        print(json.dumps(said), file=answers, flush=True)

    answer({"versions": versions()})
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "run":
            answer(run(int(argument)))
        else:
            said = {"peak_mb": peak_mb()}
            if part == "predictions":
                found["judged"] = prepared(settings["judged"])
            np.savez(argument, allow_pickle=False, **found)
            answer(said)


if __name__ == "__main__":
    main()
