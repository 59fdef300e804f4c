"""Which words of a text drove a classifier's label."""

import threading
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import DataWarning, SettingsError, needed_from
from emotion_tutorial.inference import evaluating, predict_proba, require_finite
from emotion_tutorial.models import label_names_of
from emotion_tutorial.texts import require_number
from emotion_tutorial.tokenization import context_size, encode_with_offsets
from emotion_tutorial.words import word_spans

TOKENS_PER_BATCH = 2048
"""How many tokens gradients are computed for at once: the steps of a long text are taken a few at a time."""
TOLERANCE = 0.02
"""How far the sum of the attributions may be from the difference of the probabilities."""


def explain(
    text: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, label: str | None = None, steps: int = 50
) -> pd.DataFrame:
    """Return how much each word of a text adds to the probability of a label, by integrated gradients.

    The text is compared with a baseline in which each token except [CLS] and the like is replaced by the padding
    token. The gradients are summed up along the straight line from there to the text, in the space of the word
    embeddings.

    Parameters
    ----------
    text
        One text. If it is longer than the model's context, it is cut there, and a `DataWarning` says so.
    model, tokenizer
        Of one fine-tuned checkpoint. The model computes where it is, without dropout, and is left as it was.
    label
        The name of the label to explain. None means the predicted one.
    steps
        How many steps are taken from the baseline to the text. More are slower and more exact.

    Returns
    -------
    DataFrame
        One row per piece of the text, in its order; see `word_spans`: what white space separates, or a single
        character in a script without spaces. `word` is the piece; `attribution` (float64) is a part of the
        probability, above 0 for the label and below 0 against it; `label` is the one that is explained. Beyond the
        context an attribution is 0. The attributions sum to p(text) - p(baseline); a `DataWarning` says so if they
        miss it by more than 0.02.

    Raises
    ------
    DataError
        If the text is not a string.
    SettingsError
        If the model has no such label, or there is not one step.
    CheckpointError
        If the tokenizer cannot say which characters a token covers, or the model does not read the embedding of each
        token once; otherwise as `predict_proba` does.
    MissingExtraError
        If captum is not installed.

    Notes
    -----
    Sundararajan, Taly and Yan 2017, Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
    """
    with needed_from("notebooks"):
        from captum.attr import IntegratedGradients
    limit = context_size(tokenizer, model)
    encoded = encode_with_offsets(text, tokenizer, truncation=True, max_length=limit)
    names, pieces = label_names_of(model.config), word_spans(text)
    require_number(1, steps=steps)
    predicted = predict_proba(text, model, tokenizer, progress=False)  # which warns if the text is cut
    label = str(predicted.iloc[0].idxmax()) if label is None else label
    if label not in names:
        raise SettingsError(f"The model has no label {label!r}. Choose one of {', '.join(names)}.")
    attributions = np.zeros(len(pieces))
    if pieces and encoded["input_ids"]:
        layer: Any = model.get_input_embeddings()
        thread = threading.get_ident()

        def probability(embeddings: torch.Tensor) -> torch.Tensor:
            # Only the layer's output changes on the way: the model gets the text's ids, so that positions stay.
            inputs = ids.expand(len(embeddings), -1)
            with layer.register_forward_hook(lambda *_: embeddings if threading.get_ident() == thread else None):
                logits = model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
            return logits.float().softmax(dim=-1)[:, names.index(label)]

        with torch.inference_mode(False), evaluating(model):
            ids = torch.tensor([encoded["input_ids"]], device=model.device)
            special = torch.tensor([encoded["special_tokens_mask"]], device=model.device).bool()
            of_tokens, [gap] = IntegratedGradients(probability).attribute(
                layer(ids).detach(),
                baselines=layer(torch.where(special, ids, tokenizer.pad_token_id)).detach(),
                n_steps=steps,
                internal_batch_size=max(1, TOKENS_PER_BATCH // ids.shape[1]),
                return_convergence_delta=True,
            )
        sums = of_tokens[0].detach().cpu().double().sum(dim=-1).numpy()
        require_finite(sums[None], "texts")
        if abs(gap) > TOLERANCE:
            message = f"The attributions miss {float(gap):+.3f} of the probability. Take more than {steps} steps."
            warnings.warn(message, DataWarning, stacklevel=2)
        # A token counts for the pieces that it covers, in equal parts; some tokens begin with the space before them.
        ends = [end for _, end in pieces]
        for (start, end), value in zip(encoded["offset_mapping"], sums, strict=True):
            last = min(int(np.searchsorted(ends, end)), len(pieces) - 1)
            first = min(int(np.searchsorted(ends, start, side="right")), last)
            attributions[first : last + 1] += value / (last + 1 - first)
    words = [text[start:end] for start, end in pieces]
    return pd.DataFrame({"word": words, "attribution": attributions, "label": label})
