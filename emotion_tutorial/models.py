"""A checkpoint's tokenizer, encoder and classifier, loaded in float32 and checked."""

import re
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.devices import usable_device
from emotion_tutorial.exceptions import CheckpointError, DataError, TutorialError
from emotion_tutorial.replacing import whole
from emotion_tutorial.texts import as_texts, shorten

NO_CODE = {"trust_remote_code": False}
"""No code that lies beside the weights is run."""
WEIGHTS = NO_CODE | {"dtype": torch.float32, "use_safetensors": True, "disable_mmap": True}
"""How weights are loaded. Half precision is slow on many CPUs, and a file that is mapped must not be changed."""
DIVERGED = "not finite. The training has probably diverged (a loss of nan): train again with a lower learning rate."
READS_ALIKE: WeakSet[PreTrainedModel] = WeakSet()
"""The models that were found to read a text alike alone and beside a longer one."""
one_at_a_time = threading.RLock()
"""Held by who draws random numbers for a training: PyTorch has one source of them."""
_loading_lock = threading.RLock()


def load_tokenizer(checkpoint: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that a checkpoint was trained with.

    It cuts and pads on the right, so that no token's position depends on the other texts in a batch. A tokenizer
    without a padding token, such as GPT-2's and Llama's, pads with the special token that the model's configuration
    names, or else with its end-of-text token. Its `model_max_length` is at most what the model can read.

    Raises
    ------
    CheckpointError
        If its files are damaged, or there is no token to pad with that the model knows; otherwise as
        `locate_checkpoint` does.
    """
    folder = locate_checkpoint(checkpoint, weights=False)
    with whole(folder), _loading(checkpoint):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **NO_CODE)
        config: Any = transformers.AutoConfig.from_pretrained(folder, **NO_CODE)
        with torch.device("meta"):  # where a model has sizes and no weights
            body = transformers.AutoModel.from_config(config, **NO_CODE)
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions_of(body))
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes one that knows no words
        advice = "Save its tokenizer into the same folder: load_tokenizer(...).save_pretrained(folder)."
        raise CheckpointError(f"{checkpoint} has no tokenizer, or one without a vocabulary. {advice}")
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if tokenizer.pad_token is None:
        named: Any = getattr(config, "pad_token_id", None)
        known = named in tokenizer.all_special_ids  # another would be cut out of each text once it is saved as special
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(named) if known else tokenizer.eos_token
    size: Any = getattr(config.get_text_config(), "vocab_size", len(tokenizer))
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= size:
        found = f"The tokenizer of {checkpoint} pads with {tokenizer.pad_token}, and the model knows {size} tokens"
        advice = "Set pad_token to one of these, or call model.resize_token_embeddings(len(tokenizer)), and save both."
        raise CheckpointError(f"{found}. {advice}")
    return tokenizer


def load_encoder(checkpoint: str | Path, device: str | torch.device | None = None) -> PreTrainedModel:
    """Load a checkpoint's body as a feature extractor: in float32, frozen and in evaluation mode.

    Its output's `last_hidden_state` has the shape (texts, tokens, dim).

    Parameters
    ----------
    checkpoint
        `embedded`, a Hub id or a folder.
    device
        Where to put it. None means the best device that PyTorch finds.

    Raises
    ------
    CheckpointError
        If it is damaged, lacks weights (a pooler, which is not used, may be missing), is an encoder-decoder, or gives
        a text other results when it is padded; otherwise as `locate_checkpoint` does.
    SettingsError
        If there is no such device.
    """
    place, folder = usable_device(device), locate_checkpoint(checkpoint)
    with whole(folder):
        encoder = _load_weights(transformers.AutoModel, checkpoint, folder)
    _check_padding(checkpoint, encoder.requires_grad_(False).eval())
    return encoder.to(place)


def load_classifier(
    checkpoint: str | Path,
    label_names: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    *,
    new_head: bool = False,
) -> PreTrainedModel:
    """Load a saved classifier, or a checkpoint's body with a new head of one logit per label.

    The weights are read into memory: the files can be replaced afterward, and the model stays what it is.

    Parameters
    ----------
    checkpoint
        `embedded`, a Hub id or a folder. A body without a head gets a new, random one: seed PyTorch first
        (`transformers.set_seed`). A fine-tuned classifier keeps its own. With `label_names`, this waits for a training
        in another thread, whose random numbers it would take.
    label_names
        In id order; stored in the configuration, so that predictions can be read. None means those of a saved
        classifier.
    device
        Where to put it. None means the best device that PyTorch finds.
    new_head
        Whether the head of a fine-tuned classifier is replaced, to train it for other labels.

    Returns
    -------
    PreTrainedModel
        In float32 and evaluation mode. Its output's `logits` have the shape (texts, labels).

    Raises
    ------
    CheckpointError
        If a fine-tuned classifier has other labels, or the same in another order; if it does not give a text one
        label of several; if no names are given and it has no head; if it is damaged, lacks weights, gives values that
        are not finite, is an encoder-decoder, or gives a text other results when it is padded. Otherwise as
        `locate_checkpoint` does.
    DataError
        If the label names are not two different strings or more.
    SettingsError
        If there is no such device.
    """
    place, folder = usable_device(device), locate_checkpoint(checkpoint)
    with one_at_a_time if label_names is not None else nullcontext(), whole(folder):  # else no head is drawn
        kind, config = transformers.AutoModelForSequenceClassification, _load_config(checkpoint, folder)
        # Without the name of an architecture, labels with names of their own tell a classifier.
        kinds = config.architectures or ["SequenceClass"] * ("LABEL_0" not in config.id2label.values())
        has_head = any("SequenceClass" in name for name in kinds)
        own = label_names_of(config) if has_head and not new_head else None
        # A head of another kind, as of tokens, may have the same names.
        new_head |= not has_head and ("Classification" in str(kinds) or not kinds)
        options: dict[str, Any] = {}
        if label_names is not None:
            names, _ = as_texts(label_names, "label_names")
            if len(names) < 2 or len(set(names)) < len(names):
                raise DataError(f"A classifier needs two labels or more, all different; got label_names={names}.")
            unnamed = own == [f"LABEL_{i}" for i in range(len(names))] and set(own).isdisjoint(names)
            if own not in (None, names) and not unnamed:
                found = f"{checkpoint} has the labels {', '.join(own)}, in this order; got {', '.join(names)}"
                raise CheckpointError(f"{found}. Use these, or replace its head and train it with new_head=True.")
            options = {"num_labels": len(names), "id2label": dict(enumerate(names)), "problem_type": None}
            options["label2id"] = {name: i for i, name in enumerate(names)}
        elif own is None:
            raise CheckpointError(f"{checkpoint} brings no labels for the head. Give label_names= to put a new one on.")
        model = _load_weights(kind, checkpoint, folder, own is not None, **({} if new_head else options))
        if new_head:
            fresh = kind.from_config(_load_config(checkpoint, folder, **options), dtype=torch.float32, **NO_CODE)
            fresh.base_model.load_state_dict(model.base_model.state_dict())
            vars(fresh.config).pop("calibration_temperature", None)  # it was the old head's
            model = fresh
        if model.config.pad_token_id in (None, -1):  # by which a decoder finds the last token of each text
            model.config.pad_token_id = load_tokenizer(checkpoint).pad_token_id
    _check_padding(checkpoint, model.eval())
    return model.to(place)


def label_names_of(config: Any) -> list[str]:
    """Return the label names in the configuration of a model that gives a text one label of several, in id order.

    Raises
    ------
    CheckpointError
        If the model gives a text several labels or a number, or if `id2label` does not give each id from 0 on a name
        of its own.
    """
    given = getattr(config, "id2label", None) or {}
    names = {str(i): str(name) for i, name in (given.items() if isinstance(given, Mapping) else enumerate(given))}
    kinds = {getattr(config, "problem_type", None), getattr(config, "function_to_apply", None)}
    whole = {*names} == {str(i) for i in range(len(given))} and len({*names.values()}) == len(given) > 1
    if not whole or kinds - {None, "single_label_classification", "softmax"}:
        found = f"one of several labels with different names (id2label {shorten(given)}, type {kinds})"
        advice = "Set model.config.id2label, or replace the head and train it: load_classifier(..., new_head=True)."
        raise CheckpointError(f"The model does not choose {found}. {advice}")
    return [names[str(i)] for i in range(len(given))]


def positions_of(model: Any) -> int:
    """Return how many tokens a model can read at once; a very large number if it records no limit.

    A table of positions with a `padding_idx`, such as RoBERTa's, begins with rows for padding.
    """
    limits = [getattr(model.config.get_text_config(), "max_position_embeddings", None) or 0]
    for name, table in model.named_modules():
        if "position" in name.rpartition(".")[2] and getattr(table, "padding_idx", None) is not None:
            limits.append(table.num_embeddings - table.padding_idx - 1)
    return min((limit for limit in limits if limit > 0), default=int(1e30))


def _load_config(checkpoint: str | Path, folder: Path, **options: Any) -> Any:
    with _loading(checkpoint):
        return transformers.AutoConfig.from_pretrained(folder, **NO_CODE, **options)


def refuse_what_padding_changes(checkpoint: str | Path, model: PreTrainedModel, tolerance: float) -> torch.Tensor:
    """Return what a model gives for one token, if that is the same beside a longer text (with FNet or XLNet it is not).

    It may differ by `tolerance` times its largest value, as it does in half precision. A model is looked at once.

    Raises
    ------
    CheckpointError
        If it is such a model, or an encoder-decoder.
    """
    kind, pad = f"{checkpoint} ({type(model).__name__})", getattr(model.config, "pad_token_id", None) or 0
    if model.config.is_encoder_decoder:
        raise CheckpointError(f"{kind} is an encoder-decoder, and not supported. Choose an encoder such as BERT.")
    middle = getattr(model.config.get_text_config(), "vocab_size", 256) // 2
    long = [token for token in range(middle, middle + 6) if token != pad][:5]
    ids, mask = torch.tensor([[long[0], pad, pad, pad, pad], long]), torch.tensor([[1, 0, 0, 0, 0], [1] * 5])
    ids, mask = ids.to(model.device), mask.to(model.device)
    with torch.no_grad():
        alone = model(input_ids=ids[:1, :1], attention_mask=mask[:1, :1])[0][0]
        padded = model(input_ids=ids, attention_mask=mask)[0][0]
    if (padded[: len(alone)] - alone).abs().max() > tolerance * alone.abs().max():  # 1e-6 in models that work
        advice = "Choose another architecture, such as BERT or GPT-2."
        raise CheckpointError(f"{kind} gives a text other results when it shares a batch with longer ones. {advice}")
    READS_ALIKE.add(model)
    return alone


def _check_padding(checkpoint: str | Path, model: PreTrainedModel) -> None:
    """Refuse a model that was loaded and cannot read a short text, or only in another way beside a longer one."""
    with _loading(checkpoint):
        alone = refuse_what_padding_changes(checkpoint, model, tolerance=1e-3)
    if not alone.isfinite().all():
        raise CheckpointError(f"What {checkpoint} ({type(model).__name__}) gives is {DIVERGED}")


def _load_weights(kind: Any, checkpoint: str | Path, folder: Path, with_head: bool = False, **options: Any) -> Any:
    """Return a model whose files hold all its weights, except for those of a head that is yet to be trained."""
    with _loading(checkpoint):
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, found = kind.from_pretrained(folder, **WEIGHTS, **options)
    body = "" if model.base_model is model else f"{model.base_model_prefix}."
    lacking = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
    if not with_head:  # a pooler belongs to the head: many bodies never had one
        lacking = {name for name in lacking if name.startswith(body) and "pooler" not in name}
    numbers = rf"^{model.base_model_prefix}\.|(?<=\.)\d+"  # of layers; of a body, the prefix is missing
    known = {re.sub(numbers, "", name) for name in model.state_dict()}
    lacking |= {key for key in found["unexpected_keys"] if re.sub(numbers, "", key) in known}  # more layers
    if lacking:
        shown = f"{len(lacking)} weights are missing, or not of the shapes and layers in config.json: {min(lacking)}"
        advice = "Save or download it again; a missing head can be replaced: new_head=True."
        raise CheckpointError(f"Could not load {checkpoint}: {shown}. {advice}")
    return model


@contextmanager
def _loading(checkpoint: str | Path) -> Iterator[None]:
    """Say what is wrong with a checkpoint, and load by one thread at a time: meanwhile PyTorch has other defaults."""
    try:
        with _loading_lock:
            yield
    except (MemoryError, TutorialError):
        raise
    except Exception as error:
        said = textwrap.shorten(str(error) or repr(error), 300).rstrip(".")
        raise CheckpointError(f"Could not load {checkpoint}: {said}. Save or download it again.") from error
