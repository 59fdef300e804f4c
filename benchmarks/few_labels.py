"""Measure how many labels each method needs: `python benchmarks/few_labels.py`, three and a half hours of computing.

Every method gets the same balanced draws from the training texts, 4, 8, 16 or 64 of each label, and all of them once;
what counts is the macro F1 on validation. Cheap methods get ten draws; SetFit, LoRA and full fine-tuning the first five
of these. Their learning rates are the usual ones; how much others would change is tried on one more draw. Active
learning starts from as many random texts and asks for the least certain ones.

Each run is written into build/results/few_labels.jsonl as soon as it is done, so that an interrupted measurement goes
on where it was. When all are there, docs/few_labels.parquet and docs/results.json are written, and what is there is not
measured again, unless `--again METHOD` asks for it. `python benchmarks/tables.py` then makes the tables and figures.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from results import DOCS, TRAINED, circumstances, write
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

import emotion_tutorial as et
from emotion_tutorial.caching import digest

RUNS = TRAINED / "few_labels.jsonl"
FEW_LABELS, ACTIVE_LEARNING = DOCS / "few_labels.parquet", DOCS / "active_learning.parquet"
DRAWS, TRAINED_DRAWS = 10, 5
TRIED_ON = DRAWS
"""The draw on which other learning rates are tried, and which is not used again."""
PER_LABEL = (4, 8, 16, 64)
STEPS = {4: 40, 8: 60, 16: 80, 64: 160}
"""Of full fine-tuning with batches of 16 texts: from 26 passes over 24 texts to 7 over 384."""
LORA_TIMES = 4
"""So many steps of LoRA for each of these, as it changes few weights."""
SETFIT_STEPS = 60
"""Of 16 pairs each: a cap. One pass over the pairs of 24 texts takes half of them, of 48 texts twice as many."""
CHEAP = ("bag of words", "probe", "SetFit without pairs")
USUAL = {"SetFit": 2e-5, "LoRA": 2e-3, "fine-tuned": 2e-4}
"""The learning rates: SetFit's default, that of the `quick` profile, and ten times as much for LoRA.

Nothing is chosen, as whoever has a few labels has none to choose with (Perez, Kiela and Cho 2021, arXiv:2105.11447).
"""
OTHERS = {"SetFit": (5e-6, 2e-5, 1e-4), "LoRA": (1e-3, 2e-3, 5e-3), "fine-tuned": (2e-4, 5e-4, 1e-3)}
"""The rates that are tried on one more draw, to see how much they matter."""
ASKED, ROUNDS, STARTS = 24, 15, 20
"""Active learning: labels that are asked for in each round, rounds after the first one, and starts."""

DESCRIPTIONS = {
    "sadness": "grief, loneliness, disappointment, guilt, shame, exhaustion, hopelessness",
    "joy": "happiness, relief, pride, contentment, amusement, hope, excitement, peace",
    "love": "affection, tenderness, longing, devotion, caring, compassion, fondness",
    "anger": "irritation, rage, resentment, indignation, envy, disgust, impatience",
    "fear": "worry, anxiety, panic, dread, nervousness, shyness, suspicion of danger",
    "surprise": "astonishment, amazement, disbelief, shock, being dazed or impressed",
}
"""From the definitions that the writers of the texts had."""
WORDINGS: dict[str, Callable[[str], str]] = {
    "the label's name": lambda name: name,
    "a sentence with the name": lambda name: f"This person feels {name}.",
    "a list of what it covers": lambda name: f"{name}: {DESCRIPTIONS[name]}",
}


@cache
def splits() -> DatasetDict:
    """Load the bundled texts."""
    return et.load_splits("embedded")


@cache
def features() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the mean-pooled hidden states and the labels of train and validation."""
    encoder, tokenizer = et.load_encoder("embedded"), et.load_tokenizer("embedded")
    parts = DatasetDict({name: splits()[name] for name in ("train", "validation")})
    extracted = et.extract_hidden_states(parts, encoder, tokenizer, pooling="mean", cache=False)
    return {name: et.feature_matrix(extracted[name]) for name in parts}


def rows_of_draw(y: np.ndarray, per_label: int, draw: int) -> np.ndarray:
    """Return the rows of as many texts of each label; a larger number of the same draw has the smaller one's texts."""
    random = np.random.default_rng(draw)
    return np.concatenate([random.permutation(np.flatnonzero(y == label))[:per_label] for label in np.unique(y)])


def drawn(per_label: int | None, draw: int) -> Dataset:
    """Return the texts of a draw, or all."""
    train = splits()["train"]
    return train if per_label is None else train.select(rows_of_draw(features()["train"][1], per_label, draw))


def zero_shot(wording: str) -> np.ndarray:
    """Label each validation text with the description whose vector is nearest."""
    names = splits()["train"].features["label"].names
    described = Dataset.from_dict({"text": [WORDINGS[wording](name) for name in names], "label": range(len(names))})
    encoder, tokenizer = et.load_encoder("embedded"), et.load_tokenizer("embedded")
    X, _ = et.feature_matrix(et.extract_hidden_states(described, encoder, tokenizer, pooling="mean", cache=False))
    unit, texts = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (X, features()["validation"][0])
    )
    return (texts @ unit.T).argmax(axis=1)


def cheap(method: str, rows: np.ndarray) -> np.ndarray:
    """Fit a cheap classifier on these training texts, and label validation.

    Bag of words and probe are tuned by cross-validation on the few texts. `SetFit without pairs` is SetFit's head on
    vectors that were not moved.
    """
    X, y = features()["train"]
    X_valid, _ = features()["validation"]
    if method == "probe":
        return et.fit_probe(X[rows], y[rows], tune=True).predict(X_valid)
    if method == "SetFit without pairs":
        of_length_1 = make_pipeline(Normalizer(), LogisticRegression(max_iter=1000))
        return of_length_1.fit(X[rows], y[rows]).predict(X_valid)
    texts = splits()["train"].select(rows)["text"][:]
    return et.fit_bag_of_words(texts, y[rows], tune=True).predict(splits()["validation"]["text"][:])


def set_fit(train: Dataset, judged: Dataset, learning_rate: float, seed: int) -> np.ndarray:
    """Move the texts of a label together with pairs, then fit a logistic regression on the moved vectors."""
    import setfit

    from emotion_tutorial.checkpoints import embedded_encoder_folder

    model = setfit.SetFitModel.from_pretrained(str(embedded_encoder_folder()))
    with TemporaryDirectory() as folder:
        arguments = setfit.TrainingArguments(
            folder,
            batch_size=(16, 2),
            max_steps=SETFIT_STEPS,
            body_learning_rate=(learning_rate, learning_rate),
            save_strategy="no",
            report_to="none",
            seed=seed,
        )
        setfit.Trainer(model, arguments, train_dataset=train.select_columns(["text", "label"])).train()
    return np.asarray(model.predict(judged["text"][:], use_labels=False))


def fine_tuned(train: Dataset, judged: Dataset, learning_rate: float, seed: int, *, lora: bool = False) -> np.ndarray:
    """Train all weights, or the matrices of LoRA and the head."""
    names = train.features["label"].names
    set_seed(seed)  # of the head
    tokenizer, model = et.load_tokenizer("embedded"), et.load_classifier("embedded", names)
    trained: Any = model
    if lora:
        from peft import LoraConfig, TaskType, get_peft_model

        parts: dict[str, Any] = {"target_modules": ["query", "value"], "modules_to_save": ["pooler"]}
        config = LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=8, **parts)
        trained = get_peft_model(model, config)
    few = STEPS.get(len(train) // len(names), 0) * (LORA_TIMES if lora else 1)
    profile = et.get_profile("quick")
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            learning_rate=learning_rate,
            per_device_train_batch_size=16 if few else profile.batch_size,
            per_device_eval_batch_size=64,
            max_steps=few or -1,
            num_train_epochs=profile.epochs,
            warmup_steps=0.1,
            weight_decay=0.01,
            save_strategy="no",
            train_sampling_strategy="group_by_length",
            report_to="none",
            disable_tqdm=True,
            seed=seed,
        )
        tokenized = et.tokenize(DatasetDict(train=train, judged=judged), tokenizer)
        trainer = Trainer(
            trained,
            arguments,
            train_dataset=tokenized["train"],
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        trainer.train()
        arguments.train_sampling_strategy = "random"  # or the predictions, too, would be in the order of length
        logits: Any = trainer.predict(tokenized["judged"]).predictions
    return logits.argmax(axis=1)


def scored(dataset: Dataset, predict: Callable[..., np.ndarray], *args: Any) -> dict[str, float]:
    """Return both scores of what is predicted for a data set."""
    y, predicted = dataset["label"][:], predict(*args)
    macro = f1_score(y, predicted, average="macro", zero_division=0)
    return {"macro_f1": float(macro), "accuracy": float(accuracy_score(y, predicted))}


class Runs:
    """What has been measured so far: in the file of results, and in one with a line for each run since then."""

    def __init__(self, path: Path, results: Path, again: Sequence[str] = ()):
        self.path = path
        self.data = digest(splits()["train"], splits()["validation"])
        rows = pd.read_parquet(results).drop(columns="part").to_dict("records") if results.is_file() else []
        before = [{name: value for name, value in row.items() if not pd.isna(value)} for row in rows]
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.found = [run for run in before if run["method"] not in again] + [json.loads(line) for line in lines]

    def get(self, measure: Callable[[], dict[str, float]], **about: Any) -> dict[str, Any]:
        """Return a run that is there, or measure and write it down."""
        about |= {"data": self.data}
        for run in self.found:
            if about.items() <= run.items():
                return run
        start = time.perf_counter()
        run = about | measure() | {"seconds": round(time.perf_counter() - start, 1)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")
        self.found.append(run)
        print({name: value for name, value in run.items() if name != "data"}, flush=True)
        return run


TRAINABLE: dict[str, Callable[..., np.ndarray]] = {
    "SetFit": set_fit,
    "LoRA": lambda *args: fine_tuned(*args, lora=True),
    "fine-tuned": fine_tuned,
}


def try_rates(method: str, runs: Runs) -> dict[str, float]:
    """Return the macro F1 of a method with three learning rates, on a draw and on texts that are not used otherwise."""
    train = drawn(16, TRIED_ON)
    y = features()["train"][1]
    others = np.setdiff1d(np.arange(len(y)), rows_of_draw(y, 64, TRIED_ON))
    judged = splits()["train"].select(np.random.default_rng(0).choice(others, 500, replace=False))
    found = {}
    for rate in OTHERS[method]:
        about = {"what": "rates", "method": method, "learning_rate": rate}
        args = (train, judged, rate, TRIED_ON)
        run = runs.get(partial(scored, judged, TRAINABLE[method], *args), **about)
        found[str(rate)] = round(run["macro_f1"], 4)
    return found


def curve(runs: Runs, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Measure the cheap methods and these on every draw; of what takes long, first one draw of every size."""
    validation = splits()["validation"]
    majority = DummyClassifier().fit(*features()["train"])
    about = {"what": "curve", "method": "majority", "per_label": 0, "draw": 0}
    yield runs.get(partial(scored, validation, majority.predict, validation["text"][:]), **about)
    for wording in WORDINGS:
        about = {"what": "curve", "method": wording, "per_label": 0, "draw": 0}
        yield runs.get(partial(scored, validation, zero_shot, wording), **about)
    for draw in range(DRAWS):
        for per_label in PER_LABEL:
            rows = rows_of_draw(features()["train"][1], per_label, draw)
            for method in CHEAP:
                about = {"what": "curve", "method": method, "per_label": per_label, "draw": draw}
                yield runs.get(partial(scored, validation, cheap, method, rows), **about)
    for draw in range(TRAINED_DRAWS):
        for per_label in PER_LABEL:
            for method in methods:
                about = {"what": "curve", "method": method, "per_label": per_label, "draw": draw}
                args = (drawn(per_label, draw), validation, USUAL[method], draw)
                yield runs.get(partial(scored, validation, TRAINABLE[method], *args), **about)
    # Bag of words, probe and full fine-tuning on all texts are those of benchmarks/results.py.
    every = np.arange(len(splits()["train"]))
    about = {"what": "curve", "method": "SetFit without pairs", "per_label": -1, "draw": 0}
    yield runs.get(partial(scored, validation, cheap, "SetFit without pairs", every), **about)
    for method in (method for method in methods if method != "fine-tuned"):
        about = {"what": "curve", "method": method, "per_label": -1, "draw": 0}
        args = (drawn(None, 0), validation, USUAL[method], 0)
        yield runs.get(partial(scored, validation, TRAINABLE[method], *args), **about)


def active_learning(start: int, uncertain: bool) -> list[float]:
    """Return the macro F1 on validation after each round of labeling, of the least certain texts or of random ones."""
    X, y = features()["train"]
    X_valid, y_valid = features()["validation"]
    random = np.random.default_rng(start)
    labeled = random.permutation(len(y))[:ASKED]
    found = []
    for _ in range(ROUNDS + 1):
        fitted = et.fit_probe(X[labeled], y[labeled])
        found.append(float(f1_score(y_valid, fitted.predict(X_valid), average="macro", zero_division=0)))
        others = np.setdiff1d(np.arange(len(y)), labeled)
        probabilities: Any = np.sort(fitted.predict_proba(X[others]), axis=1)
        margin = probabilities[:, -1] - probabilities[:, -2]  # small where two labels are about as probable
        chosen = others[np.argsort(margin, kind="stable")] if uncertain else random.permutation(others)
        labeled = np.concatenate([labeled, chosen[:ASKED]])
    return found


def label_rounds() -> pd.DataFrame:
    """Run active learning and its rival from the same starts."""
    rows = []
    for start in range(STARTS):
        for way in ("least certain", "random"):
            found = active_learning(start, way == "least certain")
            labels = ASKED * np.arange(1, len(found) + 1)
            rows.append(pd.DataFrame({"way": way, "start": start, "labels": labels, "macro_f1": found}))
    return pd.concat(rows, ignore_index=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", nargs="+", default=[], help="forget the results of these methods")
    parser.add_argument("--methods", nargs="+", choices=TRAINABLE, help="only measure these: two can run at once")
    options = parser.parse_args()
    runs = Runs(RUNS, FEW_LABELS, options.again)
    measured = [*curve(runs, options.methods or [*TRAINABLE])]
    if options.methods:
        return
    other_rates = {method: try_rates(method, runs) for method in TRAINABLE}
    measured += [run for run in runs.found if run["what"] == "rates"]
    start = time.perf_counter()
    rounds = label_rounds()
    seconds = sum(run["seconds"] for run in runs.found)
    about = circumstances(splits(), et.get_profile("quick"), range(DRAWS), start, "setfit", "peft")
    about["seconds"] = round(seconds + time.perf_counter() - start)
    about["labels"] = splits()["train"].features["label"].num_classes
    about["learning_rates"] = USUAL
    about["other_rates"] = other_rates
    write("few labels", about, {FEW_LABELS: pd.DataFrame(measured), ACTIVE_LEARNING: rounds})


if __name__ == "__main__":
    main()
