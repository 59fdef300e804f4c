"""Which words of a text drove a classifier's label."""

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning, MissingExtraError, SettingsError
from emotion_tutorial.inference import predict_proba
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

    The text is compared with a baseline in which each token but [CLS] and the like is replaced by the padding token.
    On the straight way from there to the text, in the space of the word embeddings, the gradients are summed.

    Parameters
    ----------
    text
        One that is longer than the model's context is cut there, and a `DataWarning` says so.
    model, tokenizer
        Of one fine-tuned checkpoint. The model computes where it is, without dropout, and is left as it was.
    label
        The name of the label to explain. None: the predicted one.
    steps
        Steps on the way from the baseline to the text. More are slower and more exact.

    Returns
    -------
    DataFrame
        One row per word (what white space separates), in the order of the text: `word`; `attribution`
        (float64), a part of the probability, above 0 for the label and below 0 against it; `label`, the one
        that is explained. A word beyond the context has 0. The attributions sum to p(text) - p(baseline); a
        `DataWarning` says so if they miss more than 0.02 of it.

    Raises
    ------
    DataError
        If the text is not a string.
    SettingsError
        If the model has no such label, or there is not one step.
    CheckpointError
        If the tokenizer cannot say which characters a token covers, or the model does not read the embedding of each
        token once.
    MissingExtraError
        If captum is not installed.

    Notes
    -----
    Sundararajan, Taly and Yan 2017, Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise MissingExtraError('captum is not installed. Run: pip install "emotion-tutorial[notebooks]".') from error
    names = label_names_of(model.config)
    if not isinstance(text, str):
        raise DataError(f"The text is {text!r} ({type(text).__name__}), not a string.")
    if label is not None and label not in names:
        raise SettingsError(f"The model has no label {label!r}. Choose one of {', '.join(names)}.")
    if steps < 1:
        raise SettingsError(f"steps is {steps}. Take 1 or more; 50 is enough for most texts.")
    if not tokenizer.is_fast:
        raise CheckpointError(f"{type(tokenizer).__name__} cannot say where a token stands. Load a fast tokenizer.")
    predicted = predict_proba(text, model, tokenizer)
    layer: Any = model.get_input_embeddings()
    label = label or str(predicted.iloc[0].idxmax())
    words = list(re.finditer(r"\S+", text))
    attributions = np.zeros(len(words))
    if words:
        limits = {"truncation": True, "max_length": context_size(tokenizer)}
        encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, **limits)
        ids, special = (
            torch.tensor([encoded[name]], device=model.device) for name in ("input_ids", "special_tokens_mask")
        )

        def probability(embeddings: torch.Tensor) -> torch.Tensor:
            # Only the layer's output changes on the way: the model gets the text's ids, so that positions stay.
            inputs = ids.expand(len(embeddings), -1)
            with layer.register_forward_hook(lambda *_: embeddings):
                logits = model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
            return logits.float().softmax(dim=-1)[:, names.index(label)]

        was_training = model.training
        model.eval()
        try:
            of_tokens, [gap] = IntegratedGradients(probability).attribute(
                layer(ids).detach(),
                baselines=layer(torch.where(special.bool(), ids, tokenizer.pad_token_id)).detach(),
                n_steps=steps,
                internal_batch_size=max(1, TOKENS_PER_BATCH // ids.shape[1]),
                return_convergence_delta=True,
            )
        except (IndexError, RuntimeError) as error:
            raise CheckpointError(f"{type(model).__name__} cannot be explained: {error}") from error
        finally:
            model.train(was_training)
        if abs(gap) > TOLERANCE:
            message = f"The attributions miss {float(gap):+.3f} of the probability. Take more than {steps} steps."
            warnings.warn(message, DataWarning, stacklevel=2)
        # A token belongs to the first word that does not end before it: some tokens begin with the space.
        owners = np.searchsorted([word.end() for word in words], [end for _, end in encoded["offset_mapping"]])
        sums = of_tokens[0].detach().cpu().double().sum(dim=-1).numpy()
        np.add.at(attributions, owners.clip(max=len(words) - 1), sums)
    return pd.DataFrame({"word": [word[0] for word in words], "attribution": attributions, "label": label})
