"""Save a model with a card that says what was measured, and push it to the Hub."""

import copy
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd
from huggingface_hub import CommitOperationAdd, EvalResult, HfApi, ModelCard, ModelCardData
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.checkpoints import EMBEDDED_CHECKPOINT, HUB_ID
from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning, HubError, SettingsError
from emotion_tutorial.hub import HUB_DATASET, translate_hub_errors
from emotion_tutorial.models import label_names_of
from emotion_tutorial.reading import file_format
from emotion_tutorial.replacing import as_folder, replaced_whole, unused, whole
from emotion_tutorial.texts import as_matrix, as_texts, shorten
from emotion_tutorial.tokenization import context_size

SAVED_FILES = "saved_files.json"
"""The digests of the files that `save_model` wrote, beside them: `push_model` uploads these and nothing else."""
CARD, TOKENS = "README.md", "special_tokens_map.json"
METRICS = ["name", "metric", "value", "low", "high", "support"]
"""The levels of the index, and the columns, of what `evaluate` returns."""
PER_LABEL = ("precision", "recall", "f1")
KNOWN_DATA = {"hub": HUB_DATASET, "embedded": "the bundled corpus of emotion_tutorial"}
"""Data sets of English texts with emotions, on which the card can say more."""


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    *,
    name: str | None = None,
    data: str | None = None,
    checkpoint: str | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    metrics: pd.DataFrame | None = None,
    metrics_split: str | None = None,
    untouched: bool = False,
    limits: Sequence[str] = (),
    language: str | None = None,
    license: str | None = None,  # noqa: A002 - the Hub's name for it
) -> Path:
    """Write a model, its tokenizer and a model card into a folder that `load_classifier` and `pipeline` read.

    Like `save_pretrained`, it replaces files of the same name and deletes nothing. They are replaced when all of them
    are written. If the process is killed meanwhile, the folder holds the old model, or a complete new one that loading
    puts in place. On Windows the old weights cannot be replaced while another program has them mapped into its memory:
    then this is an `OSError`, and nothing was changed. `load_classifier` does not keep them mapped.

    The card claims nothing that it was not told. It knows the bundled texts and the tweets of `dair-ai/emotion`, and
    says what models that were trained on them must not be used for. If the configuration has a number
    `calibration_temperature`, the card says that the probabilities were calibrated with it.

    Parameters
    ----------
    model, tokenizer
        Of one fine-tuned checkpoint.
    folder
        Created if it is not there.
    name
        The model's name in the card. None: that of the folder.
    data, checkpoint
        As in a profile: what the model was trained on, and from which checkpoint. Of a path, the card has the last
        part at most. What `load_splits` would take from the Hub is named in the header as a data set of the Hub.
    hyperparameters
        Name to value; with the seed, others can repeat the training.
    metrics
        As `evaluate` returns them.
    metrics_split
        The name of the split that the metrics are of. None: the card says that it was not named, because a name that
        nobody gave, such as `test`, would be a claim.
    untouched
        Whether the texts that were measured took part in no decision, such as the choice of the best epoch. The card
        says so only if this is True.
    limits
        Sentences on what the model cannot do, was not tested for or must not be used for; Markdown is left as it is.
    language, license
        For the card's header, such as `en` and `mit`. None: no license, and English for the data that are known.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    CheckpointError
        If the model does not choose one of several labels.
    DataError
        If the metrics lack a column, have a value that is not finite or a label that is not the model's, or a limit is
        not a string.
    SettingsError
        If something is no model, no tokenizer, no folder or no dictionary of hyperparameters.
    """
    folder, length = as_folder(folder), context_size(tokenizer, model)
    label_names, sentences = label_names_of(getattr(model, "config", None)), as_texts(limits, "limits")[0]
    title, source, base = str(name or folder.resolve().name), str(data or ""), str(checkpoint or "")
    base = EMBEDDED_CHECKPOINT if base == "embedded" else base.partition("@")[0]
    is_path = os.path.exists(os.path.expanduser(source)) or re.match(r"[~./\\]|[A-Za-z]:", source)  # noqa: PTH110, PTH111
    dataset = KNOWN_DATA.get(source) or (PureWindowsPath(source).name if is_path else source)
    is_on_hub = re.fullmatch(r"[\w-]+/[\w.-]+", dataset) and not file_format(Path(dataset))  # as load_splits sees it
    if not isinstance(hyperparameters or {}, Mapping):
        raise SettingsError(f"hyperparameters= is {shorten(hyperparameters)}. Give a dictionary of names to values.")
    rows, split = [] if metrics is None else _rows_of(metrics, label_names), str(metrics_split or "") or None
    where: Any = dict.fromkeys(("dataset_name", "dataset_type"), dataset or "unnamed data")
    where |= {"dataset_split": split, "task_type": "text-classification"}
    overall = {str(row["metric"]): round(row["value"], 4) for row in rows if row["metric"] not in PER_LABEL}
    results = [
        EvalResult(**where, metric_type=key.rpartition("_")[2], metric_name=key.replace("_", " "), metric_value=value)
        for key, value in overall.items()
    ]
    header = ModelCardData(
        language=language or ("en" if dataset in KNOWN_DATA.values() else None),
        license=license,
        base_model=base if re.fullmatch(HUB_ID, base) and not os.path.exists(base) else None,  # noqa: PTH110
        datasets=dataset if is_on_hub else None,
        model_name=title,
        eval_results=results or None,
    )
    facts: dict[str, Any] = {"title": title, "labels": label_names, "length": length, "limits": sentences}
    facts |= {"data": source, "dataset": dataset, "hyperparameters": hyperparameters or {}, "metrics": rows}
    facts |= {"split": split, "untouched": untouched, "config": model.config, "escaped": escaped}
    facts["versions"] = {package: importlib.metadata.version(package) for package in ("torch", "transformers")}
    card = ModelCard.from_template(header, str(Path(__file__).with_name("model_card.md")), **facts)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer("")  # it remembers how its last call cut and padded texts
    if not isinstance(model.config.id2label, Mapping):  # transformers writes a list, but reads none
        model.config.id2label = dict(enumerate(label_names))
    with replaced_whole(folder) as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        if (folder / TOKENS).is_file():  # of an earlier version of transformers, whose file would win over the new ones
            (new / TOKENS).write_text(json.dumps(tokenizer.special_tokens_map), encoding="utf-8")
        card.save(new / CARD)
        _keep_readme(folder)
        written = {path.relative_to(new).as_posix(): _digest(path) for path in new.rglob("*") if path.is_file()}
        (new / SAVED_FILES).write_text(json.dumps(written, indent=1), encoding="utf-8")
    return folder


def _rows_of(metrics: Any, label_names: list[str]) -> list[dict[Any, Any]]:
    """Return what `evaluate` found as rows, those on all labels together first."""
    frame = metrics.reset_index() if isinstance(metrics, pd.DataFrame | pd.Series) else pd.DataFrame()
    if missing := [column for column in METRICS if column not in frame.columns]:
        raise DataError(f"metrics= has no column {', '.join(map(repr, missing))}; give it what evaluate returns.")
    if other := {*map(str, frame["name"])} - {"overall", *label_names}:
        raise DataError(f"metrics= has the labels {shorten(other)}, which are not the model's: {shorten(label_names)}.")
    frame[METRICS[2:]] = as_matrix(frame[METRICS[2:]], "metrics")
    return sorted(frame.to_dict("records"), key=lambda row: row["metric"] in PER_LABEL)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _saved_files(folder: Path) -> dict[str, str]:
    """Return the digests of the files that `save_model` wrote last; nothing if it wrote none."""
    try:
        return dict(json.loads((folder / SAVED_FILES).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return {}


def _keep_readme(folder: Path) -> None:
    """Keep a card that is not as `save_model` wrote it, as somebody may have worked on it."""
    if (folder / CARD).is_file() and _digest(folder / CARD) != _saved_files(folder).get(CARD):
        kept = unused(folder, "README-{}.md")
        shutil.copy2(folder / CARD, kept)  # which is there even if the save fails
        warnings.warn(f"{folder / CARD} was written by hand, and is now called {kept.name}.", DataWarning, stacklevel=4)


def escaped(thing: object) -> str:
    """Return what Markdown and HTML show as this text, in one line and one cell of a table; ? for half a character."""
    text = " ".join(str(thing).encode(errors="replace").decode().split())
    return re.sub(r"([\\`*\[\]<>|#~$&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def push_model(folder: str | Path, repo_id: str, *, private: bool = True) -> str:
    """Upload a saved model to the Hub.

    Exactly the files that `save_model` wrote are uploaded, whatever else lies in the folder. It is one commit: others
    see all of it or nothing, and repeating it does no harm. Log in first, with
    `hf auth login` in a terminal, `huggingface_hub.notebook_login()`, or the environment variable `HF_TOKEN`.

    Parameters
    ----------
    folder
        As written by `save_model`.
    repo_id
        `owner/name`, or a name under your own account.
    private
        Whether only you can see it.

    Returns
    -------
    str
        The address of the commit; of the newest one if nothing had changed.

    Raises
    ------
    CheckpointError
        If the folder holds no saved model, or a file but the card was changed since it was saved.
    HubError
        If there is no token, it is not accepted, the repository should be private but is public or the other way
        round, or the Hub does not answer.
    SettingsError
        If it is no name of a repository.
    """
    folder = as_folder(folder)
    with whole(folder):
        saved = _saved_files(folder)
        if not saved:
            raise CheckpointError(f"{folder} holds no saved model: no list of files in {SAVED_FILES}. Call save_model.")
        for name, digest in saved.items():  # the card may be edited by hand
            path = folder / name
            if not path.is_file() or (name != CARD and _digest(path) != digest):
                raise CheckpointError(f"{name} in {folder} is not what save_model wrote. Call save_model.")
        api = HfApi()
        with translate_hub_errors(repo_id, push=True):
            user = api.whoami()["name"]  # raises if there is no token, or one that is not accepted
            repo_id = repo_id if "/" in repo_id else f"{user}/{repo_id}"
            api.create_repo(repo_id, private=private, exist_ok=True)
            if private != api.model_info(repo_id).private:
                found = f"{repo_id!r} is on the Hub already and is {'public' if private else 'private'}"
                advice = f"Choose another name, or pass private={not private} if that is as it should be"
                raise HubError(f"{found}, so nothing was uploaded. {advice}.")
            files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in saved]
            return api.create_commit(repo_id, files, commit_message="Upload model, tokenizer and card").commit_url
