"""A model that is given tables of texts and ids."""

from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import softmax

from emotion_tutorial.exceptions import CheckpointError, SettingsError
from emotion_tutorial.onnx_classifier import ABOUT, OnnxClassifier
from emotion_tutorial.replacing import as_folder


class TextModel:
    """A model that is given tables of texts, in this process or in an actor of Ray.

    Parameters
    ----------
    model
        The folder of an export, as `export_onnx` wrote it; or a checkpoint that computes with torch, as
        `load_classifier` takes it, or `load_encoder` if there are to be no labels.
    labels, scores
        Whether to return the most probable label with its probability, and the probability of each label.
    pooling
        How the hidden states of a text become its vector, as in `extract_hidden_states`. None: no vectors.
    precision
        `float32`, `bfloat16`, or `auto` for bfloat16 where the hardware computes in it. An export has its own.
    device, threads
        As in `load_classifier`, and as in `OnnxClassifier`. With torch, the threads are those of the whole process.
    """

    def __init__(
        self,
        model: str,
        *,
        labels: bool = True,
        scores: bool = False,
        pooling: Any = None,
        precision: str = "float32",
        device: str | None = None,
        threads: int | None = None,
    ):
        if pooling not in (None, "cls", "mean"):
            raise SettingsError(f"pooling is {pooling!r}. Use 'cls' or 'mean', or None for no vectors.")
        self.labels, self.scores, self.pooling = labels, scores, pooling
        self.export: OnnxClassifier | None = None
        self.body: Any = None
        if labels and (as_folder(model) / ABOUT).is_file():
            if pooling:
                raise SettingsError(f"{model} is an export, which gives no vectors. Name the model that was exported.")
            self.export = OnnxClassifier(model, threads=threads)
            self.names = self.export.label_names
            return
        import torch  # not above, because an export starts sooner without it

        from emotion_tutorial.devices import has_bfloat16
        from emotion_tutorial.features import pooling_for
        from emotion_tutorial.models import label_names_of, load_classifier, load_encoder, load_tokenizer
        from emotion_tutorial.tokenization import context_size

        if threads:
            torch.set_num_threads(threads)
        self.tokenizer = load_tokenizer(model)
        self.model = load_classifier(model, device=device) if labels else load_encoder(model, device)
        self.names = label_names_of(self.model.config) if labels else []
        self.limit = context_size(self.tokenizer, self.model)
        if precision == "auto":
            precision = "bfloat16" if has_bfloat16(self.model.device) else "float32"
        self.model.to(getattr(torch, precision))
        if pooling:
            self.pooling = pooling_for(pooling, self.tokenizer, self.limit)
            self.model.base_model.register_forward_hook(lambda *call: setattr(self, "body", call[-1]))

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return a row for each row of a table of `id` and `text`, in their order.

        Returns
        -------
        Table
            `id`; `label`, and its probability `score`; `truncated`, whether the text is longer than the model reads and
            was cut there; for each label its name after `score_`; `vector`. Scores and vectors are float32.
        """
        texts = table["text"].to_pylist()
        try:
            logits, cut, vectors = self._compute(texts)
        except CheckpointError as error:
            raise CheckpointError(f"Among {len(texts)} texts from id {table['id'][0]} on: {error}") from error
        columns: dict[str, Any] = {"id": table["id"]}
        if self.labels:
            shares = softmax(logits.astype(np.float64), axis=1).astype(np.float32)
            columns["label"] = pa.array([self.names[best] for best in shares.argmax(axis=1)])
            columns["score"] = shares.max(axis=1)
        columns["truncated"] = np.isin(np.arange(len(texts)), [*cut])
        if self.scores:
            columns |= {f"score_{name}": shares[:, place] for place, name in enumerate(self.names)}
        if self.pooling:
            columns["vector"] = pa.array(list(vectors), pa.list_(pa.float32()))
        return pa.table(columns)

    def _compute(self, texts: list[str]) -> tuple[Any, Any, Any]:
        """Return logits, the rows that were cut, and vectors."""
        if self.export:
            return (*self.export.compute_logits(texts), None)
        from emotion_tutorial.features import pool
        from emotion_tutorial.inference import forward_in_batches, require_finite
        from emotion_tutorial.tokenization import encode

        ids, cut = encode(texts, self.tokenizer, self.limit)
        found: dict[str, Any] = {}
        for rows, output, mask in forward_in_batches(self.model, ids, self.tokenizer, "texts", progress=False):
            parts = {"logits": output.logits} if self.labels else {}
            if self.pooling:
                parts["vectors"] = pool(self.body.last_hidden_state, mask, self.pooling)
            for name, part in parts.items():
                found.setdefault(name, np.empty((len(texts), part.shape[1]), dtype=np.float32))
                found[name][rows] = part.float().cpu().numpy()
        for values in found.values():
            require_finite(values, "texts")
        return found.get("logits"), cut, found.get("vectors")
