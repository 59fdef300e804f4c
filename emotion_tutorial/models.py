"""A checkpoint's tokenizer, encoder and classifier, loaded in float32 and checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.devices import best_device
from emotion_tutorial.exceptions import CheckpointError, DataError

WEIGHTS = {"dtype": torch.float32, "use_safetensors": True}
"""How weights are loaded: a checkpoint may be stored in half precision, which is slow on many CPUs."""


def load_tokenizer(checkpoint: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that a checkpoint was trained with.

    It pads on the right, so that no token's position depends on the other texts in a batch. A tokenizer without a
    padding token, as GPT-2 and Llama have it, pads with the one that the model's configuration names, else with its
    end-of-text token. Raises as `locate_checkpoint` does.
    """
    folder = locate_checkpoint(checkpoint, weights=False)
    tokenizer = _from_pretrained(transformers.AutoTokenizer, checkpoint, folder)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        named = getattr(_from_pretrained(transformers.AutoConfig, checkpoint, folder), "pad_token_id", None)
        known = named is not None and 0 <= named < len(tokenizer)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(named) if known else tokenizer.eos_token
    if tokenizer.pad_token is None:
        advice = "Give it one with tokenizer.add_special_tokens, and save it again."
        raise CheckpointError(f"The tokenizer of {checkpoint} has no padding token and no end-of-text token. {advice}")
    return tokenizer


def load_encoder(checkpoint: str | Path, device: str | torch.device | None = None) -> PreTrainedModel:
    """Load a checkpoint's body as a feature extractor: in float32, frozen and in evaluation mode.

    Its output's `last_hidden_state` has the shape (texts, tokens, dim).

    Parameters
    ----------
    checkpoint
        `embedded`, a Hub id or a folder.
    device
        Where to put it. None: `best_device()`.

    Raises
    ------
    CheckpointError
        If it is damaged or an encoder-decoder, or gives a text other results when it is padded; else as
        `locate_checkpoint` does.
    """
    folder = locate_checkpoint(checkpoint)
    _load_config(checkpoint, folder)
    encoder = _from_pretrained(transformers.AutoModel, checkpoint, folder, **WEIGHTS)
    _check_padding(checkpoint, encoder.requires_grad_(False).eval())
    return encoder.to(device or best_device())


def load_classifier(
    checkpoint: str | Path,
    label_names: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    *,
    new_head: bool = False,
) -> PreTrainedModel:
    """Load a saved classifier, or a checkpoint's body with a new head of one logit per label.

    Parameters
    ----------
    checkpoint
        `embedded`, a Hub id or a folder. A body without a head gets a new, random one: seed PyTorch first
        (`transformers.set_seed`). A fine-tuned classifier keeps its own.
    label_names
        In id order; stored in the configuration, so that predictions can be read. None: those of a saved classifier.
    device
        Where to put it. None: `best_device()`.
    new_head
        Replace the head that a fine-tuned classifier has, to train it for other labels.

    Returns
    -------
    PreTrainedModel
        In float32 and evaluation mode. Its output's `logits` have the shape (texts, labels).

    Raises
    ------
    CheckpointError
        If a fine-tuned classifier has other labels, or the same in another order; if no names are given and it has
        no head; if it is damaged or an encoder-decoder, or gives a text other results when it is padded. Else as
        `locate_checkpoint` does.
    DataError
        If there are fewer than two labels.
    """
    folder, kind = locate_checkpoint(checkpoint), transformers.AutoModelForSequenceClassification
    config = _load_config(checkpoint, folder)
    own = label_names_of(config) if any("SequenceClass" in name for name in config.architectures or []) else None
    options: dict[str, Any] = {}
    if label_names is not None:
        names = list(label_names)
        unnamed = [f"LABEL_{i}" for i in range(len(names))]
        if len(names) < 2:
            raise DataError(f"A classifier needs two labels or more, got {names}.")
        if own not in (None, names, unnamed) and not new_head:
            found = (
                f"{checkpoint} was fine-tuned for the labels {', '.join(own)}, in this order; got {', '.join(names)}"
            )
            raise CheckpointError(f"{found}. Leave label_names= out, or replace its head and train it: new_head=True.")
        options = {"num_labels": len(names), "id2label": dict(enumerate(names)), "problem_type": None}
        options["label2id"] = {name: i for i, name in enumerate(names)}
    elif own is None or new_head:
        raise CheckpointError(f"{checkpoint} brings no labels for the head. Give label_names= to put a new one on.")
    if own is None or not new_head:
        model = _from_pretrained(kind, checkpoint, folder, **WEIGHTS, **options)
    else:
        saved = _from_pretrained(kind, checkpoint, folder, **WEIGHTS)
        model = kind.from_config(_load_config(checkpoint, folder, **options), dtype=torch.float32)
        model.base_model.load_state_dict(saved.base_model.state_dict())
    if model.config.pad_token_id in (None, -1):  # by which a decoder finds the last token of each text
        model.config.pad_token_id = load_tokenizer(checkpoint).pad_token_id
    _check_padding(checkpoint, model.eval())
    return model.to(device or best_device())


def label_names_of(config: Any) -> list[str]:
    """Return the label names in a model's configuration, in id order."""
    return [str(config.id2label[i]) for i in sorted(config.id2label)]


def _load_config(checkpoint: str | Path, folder: Path, **options: Any) -> Any:
    config = _from_pretrained(transformers.AutoConfig, checkpoint, folder, **options)
    if config.is_encoder_decoder:
        advice = "Choose an encoder such as BERT, or a decoder such as GPT-2."
        raise CheckpointError(f"{checkpoint} is an encoder-decoder ({config.model_type}), and not supported. {advice}")
    return config


def _check_padding(checkpoint: str | Path, model: PreTrainedModel) -> None:
    """Refuse a model that cannot read a short text, or reads it otherwise beside a longer one, as FNet and XLNet do."""
    kind, pad = f"{checkpoint} ({type(model).__name__})", getattr(model.config, "pad_token_id", None) or 0
    middle = getattr(model.config.get_text_config(), "vocab_size", 256) // 2
    long = [token for token in range(middle, middle + 6) if token != pad][:5]
    ids, mask = torch.tensor([[long[0], pad, pad, pad, pad], long]), torch.tensor([[1, 0, 0, 0, 0], [1] * 5])
    try:
        with torch.no_grad():
            alone = model(input_ids=ids[:1, :1], attention_mask=mask[:1, :1])[0][0]
            padded = model(input_ids=ids, attention_mask=mask)[0][0]
        difference = (padded[: len(alone)] - alone).abs().max() / alone.abs().max()
    except Exception as error:
        raise CheckpointError(f"{kind} fails on a short text: {error!r}") from error
    if difference > 1e-3:  # about 1e-6 in the models that work
        advice = "Choose another architecture, such as BERT or GPT-2."
        raise CheckpointError(f"{kind} gives a text other results when it shares a batch with longer ones. {advice}")


def _from_pretrained(auto_class: Any, checkpoint: str | Path, folder: Path, **options: Any) -> Any:
    """Load from a folder: nothing is downloaded here, and no code that lies beside the weights is run."""
    try:
        return auto_class.from_pretrained(folder, trust_remote_code=False, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"Could not load {checkpoint}: {str(error).strip().splitlines()[0]}") from error
