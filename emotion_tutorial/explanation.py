"""Which words of a text drove a classifier's label."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import CheckpointError, DataError, MissingExtraError
from emotion_tutorial.inference import predict_logits
from emotion_tutorial.models import label_names_of
from emotion_tutorial.tokenization import context_size

TOKENS_PER_BATCH = 2048
"""How many tokens gradients are computed for at once: the steps of a long text are taken a few at a time."""

TOLERANCE = 0.02
"""How far the sum of the attributions may be from the difference of the probabilities."""


def explain(
    text: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, label: str | None = None, steps: int = 50
) -> pd.DataFrame:
    """Return how much each word of a text adds to the probability of a label, by integrated gradients.

    The text is compared with a baseline, in which [PAD] stands for each token but [CLS] and the like. On
    the straight way from there, in the space of the word embeddings, the gradients are summed.

    Parameters
    ----------
    text
        One that is longer than the model's context is cut there, and a `DataWarning` says so.
    model, tokenizer
        Of one fine-tuned checkpoint. The model computes where it is, and is left as it was.
    label
        The name of the label to explain. None: the predicted one.
    steps
        On the way from the baseline to the text. More are slower and more exact. Where the sum of the attributions
        shows that they are too few, four and sixteen times as many are taken.

    Returns
    -------
    DataFrame
        A row a word (what white space separates), in the order of the text: `word`; `attribution`
        (float64), a part of the probability, above 0 for the label and below against it; `label`, the one
        that is explained. A word beyond the context has 0. The attributions sum to p(text) - p(baseline),
        as a rule within 0.02.

    Raises
    ------
    DataError
        If the text is no string, or the model has no such label.
    CheckpointError
        If the tokenizer has no [PAD] or cannot say where a token stands in the text, or the model does
        not read the embedding of each token once, as encoder-decoders do not.
    ValueError
        If `steps` is below 1.
    MissingExtraError
        If captum is not installed.

    Notes
    -----
    Sundararajan, Taly and Yan 2017, Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
    """
    names = label_names_of(model.config)
    _check(text, tokenizer, names, label, steps)
    words = list(re.finditer(r"\S+", text))
    attributions = np.zeros(len(words))
    if words:
        limits = {"truncation": True, "max_length": context_size(tokenizer)}
        encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, **limits)
        with _evaluation_mode(model):
            with _reads_each_token_once(model, len(encoded["input_ids"])):
                logits = predict_logits([text], model, tokenizer)
            label = names[int(logits.argmax())] if label is None else label
            of_tokens = _integrated_gradients(encoded, names.index(label), model, tokenizer.pad_token_id, steps)
        # A token belongs to the first word that does not end before it: some tokens begin with the space.
        owners = np.searchsorted([word.end() for word in words], [end for _, end in encoded["offset_mapping"]])
        np.add.at(attributions, owners.clip(max=len(words) - 1), of_tokens)
    return pd.DataFrame({"word": [word[0] for word in words], "attribution": attributions, "label": label})


def _check(text: str, tokenizer: PreTrainedTokenizerBase, names: list[str], label: str | None, steps: int) -> None:
    if not isinstance(text, str):
        raise DataError(f"The text is {text!r} ({type(text).__name__}), not a string.")
    if label is not None and label not in names:
        raise DataError(f"The model has no label {label!r}. Take one of {', '.join(names)}.")
    if steps < 1:
        raise ValueError(f"steps is {steps}. Take 1 or more; 50 is enough for most texts.")
    kind = type(tokenizer).__name__
    if not tokenizer.is_fast:
        raise CheckpointError(f"{kind} is no fast tokenizer: it cannot say where a token stands. Load a fast one.")
    if tokenizer.pad_token_id is None:
        raise CheckpointError(f"{kind} has no [PAD] to put in place of words. Set its pad_token, as for training.")


@contextmanager
def _evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """Turn dropout off, and give each module its own mode back at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _reads_each_token_once(model: PreTrainedModel, tokens: int) -> Iterator[None]:
    """Refuse a model whose embedding layer gives anything but (1, tokens, dim), once, for a text."""
    shapes: list[torch.Size] = []
    layer = model.get_input_embeddings()
    if isinstance(layer, torch.nn.Embedding):
        hook = layer.register_forward_hook(lambda *call: shapes.append(call[-1].shape))
        try:
            yield
        finally:
            hook.remove()
    if [shape[:2] for shape in shapes] != [(1, tokens)]:
        raise CheckpointError(
            f"{type(model).__name__} does not read the embedding of each token once, so that what a word adds "
            "cannot be told. Take an encoder, such as BERT or DistilBERT."
        )


def _integrated_gradients(
    encoded: BatchEncoding, target: int, model: PreTrainedModel, pad: int, steps: int
) -> npt.NDArray[np.float64]:
    """Return the attribution of each token, (tokens,) float64."""
    try:
        from captum.attr import LayerIntegratedGradients
    except ImportError as error:
        raise MissingExtraError('captum is not installed. Run: pip install "emotion-tutorial[notebooks]".') from error

    def probability(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=ids, attention_mask=mask).logits
        return logits.float().softmax(dim=-1)[:, target]

    ids, mask, special = (
        torch.tensor([encoded[name]], device=model.device)
        for name in ("input_ids", "attention_mask", "special_tokens_mask")
    )
    baselines = torch.where(special.bool(), ids, pad)
    layer = model.get_input_embeddings()
    with torch.no_grad():
        of_text, embedded = probability(ids, mask), layer(baselines)
        hook = layer.register_forward_hook(lambda *_: embedded)
        try:
            expected = float(of_text - probability(ids, mask))
        finally:
            hook.remove()
    # Along the way only the layer's output changes: the model gets the text's ids, so that positions stay.
    gradients = LayerIntegratedGradients(probability, layer)
    batch = max(1, TOKENS_PER_BATCH // ids.shape[1])
    for n_steps in (steps, 4 * steps, 16 * steps):
        [attributions] = gradients.attribute(
            ids, baselines=baselines, additional_forward_args=(mask,), n_steps=n_steps, internal_batch_size=batch
        )
        found = attributions.cpu().double().sum(dim=-1).numpy()
        if abs(found.sum() - expected) < TOLERANCE:
            break
    return found
