"""A classifier that was exported to ONNX: class probabilities without torch or transformers.

It needs NumPy, tokenizers and onnxruntime only. Where nothing else is wanted:
``pip install --no-deps emotion-tutorial`` and ``pip install lazy-loader numpy onnxruntime tokenizers``.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning, MissingExtraError

try:
    import onnxruntime
    from tokenizers import Tokenizer
except ImportError as error:
    raise MissingExtraError(f'{error.name} is not installed. Run: pip install "emotion-tutorial[onnx]".') from error

BATCH_SIZE = 16
"""Texts computed together: more gain nothing on a CPU (notebook 7)."""

MODEL, TOKENIZER, ABOUT = "model.onnx", "tokenizer.json", "export.json"


class OnnxClassifier:
    """A folder that `export_onnx` wrote, ready to classify texts.

    The model and the tokenizer are checked against the digests in the folder's `export.json`.

    Parameters
    ----------
    folder
        As written by `export_onnx`.
    threads
        Of the CPU, for one prediction. None: all.

    Attributes
    ----------
    label_names : list of str
        In label-id order.
    about : dict
        What `export.json` says: the figures of the export check, versions, digests.

    Raises
    ------
    CheckpointError
        If the folder is not an export, or a file of it is missing or was changed.
    DataError
        If it does not name each label of the model.
    MissingExtraError
        If onnxruntime is not installed.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None):
        folder = Path(folder)
        self.about = _read_about(folder)
        self.label_names: list[str] = self.about["label_names"]
        for name, expected in self.about["sha256"].items():
            _check_digest(folder / name, expected)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.about["max_length"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        outputs = self._session.get_outputs()[0].shape[-1]
        if outputs != len(self.label_names):
            raise DataError(
                f"{folder / ABOUT} names {len(self.label_names)} labels, the model has {outputs}. Export it again."
            )

    def predict_proba(self, texts: str | Sequence[str]) -> npt.NDArray[np.float64]:
        """Return how probable the model finds each label for each text.

        Parameters
        ----------
        texts
            One text, or any number of them. One that is longer than the model's context is cut there, and a
            `DataWarning` says so.

        Returns
        -------
        ndarray, (texts, labels), float64
            Columns in the order of `label_names`; a row sums to 1. Of a quantized model, the last digits
            depend on the texts that are computed together: activations are rounded by their range in a batch.

        Raises
        ------
        DataError
            If something is no string, or holds half a character (a lone surrogate).
        """
        logits = self.predict_logits(texts).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, texts: str | Sequence[str]) -> list[str]:
        """Return the most probable label's name for each text; see `predict_proba`."""
        return [self.label_names[i] for i in self.predict_logits(texts).argmax(axis=1)]

    def predict_logits(self, texts: str | Sequence[str], *, batch_size: int = BATCH_SIZE) -> npt.NDArray[np.float32]:
        """Return the logits, (texts, labels) float32, in the order of the texts; see `predict_proba`."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        for row, text in enumerate(texts):
            _check_text(text, row)
        encoded = self._tokenizer.encode_batch(texts)
        if cut := [row for row, encoding in enumerate(encoded) if encoding.overflowing]:
            warnings.warn(
                f"{len(cut)} texts are longer than the {self.about['max_length']} tokens that the model reads, and "
                f"were cut there: rows {', '.join(map(str, cut[:5]))}{' ...' if len(cut) > 5 else ''}.",
                DataWarning,
                stacklevel=3,
            )
        logits = np.empty((len(texts), len(self.label_names)), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(encoded[row].ids))  # of like length together
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            shape = len(rows), len(encoded[rows[-1]].ids)
            ids = np.full(shape, self.about["pad_token_id"], dtype=np.int64)
            mask = np.zeros(shape, dtype=np.int64)
            for place, row in enumerate(rows):
                ids[place, : len(encoded[row].ids)] = encoded[row].ids
                mask[place, : len(encoded[row].ids)] = 1
            [logits[rows]] = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return logits


def _check_text(text: object, row: int) -> None:
    if not isinstance(text, str):
        raise DataError(f"texts[{row}] is {text!r} ({type(text).__name__}), not a string. Leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"texts[{row}] holds half a character, {text[error.start]!r} at {error.start}. Read it with its encoding."
        ) from error


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    if not path.is_file():
        raise CheckpointError(f"{folder} is not an export: it has no {ABOUT}. Make one with export_onnx.")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        missing = {"label_names", "max_length", "pad_token_id", "sha256"} - about.keys()
        missing |= {MODEL, TOKENIZER} - about.get("sha256", {}).keys()
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is not what export_onnx writes: {error}. Export the model again.") from error
    if not about.get("label_names"):
        raise DataError(f"{path} names no labels. Export the model again, with names in config.id2label.")
    if missing:
        raise CheckpointError(f"{path} says nothing of {', '.join(sorted(missing))}. Export the model again.")
    return about


def _check_digest(path: Path, expected: str) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing. Export the model again, or copy the whole folder.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise CheckpointError(
            f"{path} has the SHA-256 {found}, expected {expected}: it is damaged or was changed. Copy the folder again."
        )
