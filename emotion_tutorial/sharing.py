"""Save a model with a card that says what was measured, and push it to the Hub."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData, constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.caching import replaced_whole
from emotion_tutorial.exceptions import CheckpointError, DataError, HubError, TutorialError
from emotion_tutorial.hub import HUB_DATASET, LOCAL_TROUBLE, hub_unavailable, patiently
from emotion_tutorial.models import EMBEDDED_CHECKPOINT, label_names_of
from emotion_tutorial.tokenization import context_size

SHARED_FILES = ["README.md", "*.json", "*.txt", "*.model", "*.safetensors"]
"""What `push_model` uploads: no checkpoints of the training, no pickles, nothing hidden."""


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path, **card: Any) -> Path:
    """Write a model, its tokenizer and a model card into a folder that `load_classifier` and `pipeline` read.

    Like `save_pretrained`, it replaces files of the same name and deletes nothing. Each file is replaced at once, when
    all of them are written, so that an interrupted save leaves the old model as it was.

    Parameters
    ----------
    model, tokenizer
        Of one fine-tuned checkpoint.
    folder
        Created if it is not there.
    **card
        For `model_card`: `name` (else that of the folder), `data`, `checkpoint`, `hyperparameters`,
        `metrics`, `limits`, ...

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OSError
        If the system does not let us write there.
    """
    folder = Path(folder)
    text = model_card(model, tokenizer, **({"name": folder.resolve().name} | card))
    with replaced_whole(folder) as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        text.save(new / "README.md")
    return folder


def model_card(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    data: str | None = None,
    checkpoint: str | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    metrics: pd.DataFrame | None = None,
    limits: Sequence[str] = (),
    **metadata: Any,
) -> ModelCard:
    """Write a model card of what is known and what was measured; what is not given is not claimed.

    Parameters
    ----------
    model, tokenizer
        They give the labels and the longest input.
    name
        Of the model.
    data, checkpoint
        As in a profile: what it was trained on, and from which checkpoint.
    hyperparameters
        Name to value.
    metrics
        As of `evaluate`, on texts that took part in no decision.
    limits
        Sentences on what the model cannot do or was not tested for.
    **metadata
        More fields for the card's header, such as `language="en"` or `license="mit"`.

    Returns
    -------
    huggingface_hub.ModelCard
    """
    if checkpoint == "embedded":
        checkpoint = EMBEDDED_CHECKPOINT
    elif checkpoint and Path(checkpoint).exists():
        checkpoint = None  # a folder's path means nothing to others
    dataset = {"hub": HUB_DATASET, "embedded": "the embedded corpus of emotion_tutorial"}.get(data or "", data)
    if dataset and Path(dataset).exists():
        dataset = Path(dataset).name
    labels = label_names_of(model.config)
    header = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=checkpoint,
        datasets=dataset if data == "hub" else None,
        model_name=name,
        eval_results=_eval_results(metrics, dataset or "unnamed data") if metrics is not None else None,
        **metadata,
    )
    origin = f" It is {checkpoint.partition('@')[0]}, fine-tuned" if checkpoint else " It was trained"
    origin += f" on {dataset}." if dataset else "."
    usage = (
        "```python\nfrom transformers import pipeline\n\n"
        'classify = pipeline("text-classification", model="...")  # folder or Hub id\n'
        'classify("I saw a movie today and it was really good.", top_k=None)\n```'
    )
    limits = [f"It reads {context_size(tokenizer)} tokens of a text at most.", *_weakest(metrics), *limits]
    sections = {
        f"# {name}": f"Gives a text one of {len(labels)} labels: {', '.join(labels)}.{origin}",
        "## Use": usage,
        "## Measured": "Nothing was measured." if metrics is None else _metrics_text(metrics),
        "## Limits": "\n".join(f"- {limit}" for limit in limits),
        "## Training": _table(["hyperparameter", "value"], (hyperparameters or {}).items()) if hyperparameters else "",
        "## Versions": ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "transformers")) + ".",
    }
    body = "\n\n".join(f"{heading}\n\n{text}" for heading, text in sections.items() if text)
    return ModelCard(f"---\n{header.to_yaml()}\n---\n\n{body}\n")


def push_model(folder: str | Path, repo_id: str, *, private: bool = True) -> str:
    """Upload a saved model to the Hub, and check that it arrived.

    It is one commit: others see all of it or nothing. To repeat it does no harm: files that are
    there already are not sent again. Log in first, with `hf auth login` in a terminal,
    `huggingface_hub.notebook_login()`, or the environment variable `HF_TOKEN`.

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
        If the folder holds no saved model.
    HubError
        If there is no token, or it has expired or may not write there; if the repository is public and the model
        should be private; if the Hub does not answer, or holds other bytes than were sent.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{folder} holds no saved model (config.json, model.safetensors). Call save_model first.")
    api = huggingface_hub.HfApi()
    try:
        repo_id = _create(api, repo_id, private)
        commit = patiently(
            repo_id,
            lambda: api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                allow_patterns=SHARED_FILES,
                ignore_patterns="*/*",
                commit_message="Upload model, tokenizer and card",
            ),
        )
        arrived = patiently(repo_id, lambda: api.verify_repo_checksums(repo_id, local_dir=folder))
    except TutorialError:
        raise
    except LocalTokenNotFoundError as error:
        raise HubError(
            "You are not logged in to the Hub, so nothing was uploaded. Run `hf auth login` in a terminal, or "
            f"huggingface_hub.notebook_login() in a notebook, with a token of the kind 'write' ({_token_page()})."
        ) from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise _token_refused(repo_id, error) from error
        raise hub_unavailable(repo_id, error) from error
    except (HTTPError, OSError, RuntimeError) as error:  # the client's own error when an upload fails is the last
        if getattr(error, "errno", None) in LOCAL_TROUBLE:
            raise
        raise hub_unavailable(repo_id, error) from error
    if arrived.mismatches:
        names = ", ".join(mismatch["path"] for mismatch in arrived.mismatches)
        raise HubError(f"The Hub's {repo_id!r} holds other bytes than {folder} ({names}). Push again.")
    return commit.commit_url


def _create(api: huggingface_hub.HfApi, repo_id: str, private: bool) -> str:
    """Create the repository if it is not there; return its whole id."""
    user = patiently(repo_id, api.whoami)["name"]  # raises if there is no token, or one that is not accepted
    repo_id = repo_id if "/" in repo_id else f"{user}/{repo_id}"
    patiently(repo_id, lambda: api.create_repo(repo_id, private=private, exist_ok=True))
    if private and not patiently(repo_id, lambda: api.model_info(repo_id)).private:
        raise HubError(
            f"{repo_id!r} is on the Hub already and is public, so nothing was uploaded. Choose another name, or "
            "pass private=False if everyone may see this model."
        )
    return repo_id


def _token_refused(repo_id: str, error: HfHubHTTPError) -> HubError:
    if error.response.status_code == 401:
        return HubError(
            "The Hub does not accept your token (status 401): it has expired or was revoked. Nothing is shown as "
            f"uploaded that is not. Make a new one of the kind 'write' ({_token_page()}), log in with "
            "`hf auth login`, and push again."
        )
    return HubError(
        f"Your token may not write to {repo_id!r} (status 403). It needs the kind 'write', and {repo_id!r} must be "
        f"yours or your organization's ({_token_page()}). Log in with it (`hf auth login`) and push again."
    )


def _token_page() -> str:
    return f"{constants.ENDPOINT}/settings/tokens"


def _eval_results(metrics: pd.DataFrame, dataset: str) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split="test",
            metric_type=row["metric"].rpartition("_")[2],
            metric_name=row["metric"].replace("_", " "),
            metric_value=round(row["value"], 4),
        )
        for row in _rows(metrics)
        if row["name"] == "overall"
    ]


def _metrics_text(metrics: pd.DataFrame) -> str:
    rows = [row for row in _rows(metrics) if row["metric"] not in ("precision", "recall")]
    rows.sort(key=lambda row: row["name"] != "overall")
    cells = [
        (
            "all" if row["name"] == "overall" else row["name"],
            row["metric"].replace("_", " "),
            f"{row['value']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            row["support"],
        )
        for row in rows
    ]
    table = _table(["label", "metric", "value", "95 % interval", "texts"], cells)
    return f"On the test split, {rows[0]['support']:,} texts that took part in no decision:\n\n{table}"


def _rows(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    columns = ["name", "metric", "value", "low", "high", "support"]
    if missing := [column for column in columns if column not in metrics.columns]:
        raise DataError(f"Missing column {', '.join(map(repr, missing))}; metrics= wants what evaluate gives.")
    return [{str(name): value for name, value in row.items()} for row in metrics.to_dict("records")]


def _weakest(metrics: pd.DataFrame | None) -> list[str]:
    """Return a sentence on the label that it is worst at."""
    if metrics is None:
        return []
    by_label = metrics[metrics["metric"] == "f1"].sort_values("value")
    if by_label.empty:
        return []
    worst = by_label.iloc[0]
    return [f"It is worst at {worst['name']}: F1 {worst['value']:.3f}, measured on {worst['support']} texts."]


def _table(columns: Sequence[str], rows: Any) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)
