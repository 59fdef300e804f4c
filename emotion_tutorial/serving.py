"""A service that classifies texts over HTTP, with a page to try it in a browser."""

import asyncio
import importlib.util
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from emotion_tutorial.exceptions import MissingExtraError
from emotion_tutorial.onnx_classifier import ABOUT, OnnxClassifier

try:
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
    from fastapi_offline import FastAPIOffline  # the pages of documentation, without a network
    from pydantic import AliasChoices, BaseModel, BeforeValidator, Field
    from starlette.middleware.body_limit import RequestBodyLimitMiddleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
except ImportError as error:
    raise MissingExtraError(f'{error.name} is not installed. Run: pip install "emotion-tutorial[serve]".') from error

MAX_TEXTS = 64
MAX_CHARACTERS = 5_000
MAX_BYTES = 2_000_000
"""Of a request; a character may take several bytes."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(folder: str | Path, *, allowed_hosts: Sequence[str] = ("127.0.0.1", "localhost", "[::1]")) -> FastAPI:
    """Return the service as an ASGI application, for uvicorn or any other server.

    `POST /predict` classifies, `GET /health` says what runs, `/docs` documents both, `/` is a page to try it.
    Requests that arrive while a batch is computed are computed together in the next. Texts are not logged, nor
    kept.

    Parameters
    ----------
    folder
        As written by `export_onnx`; or a saved model with such a folder in it, named `onnx`. Then, if torch and
        captum are installed, `POST /explain` tells which words decided, and the page colours them.
    allowed_hosts
        What a request may call this machine: other names are refused, so that a web page that a name was
        redirected for cannot talk to a local service. `*` allows all.

    Raises
    ------
    CheckpointError, DataError
        If the folder holds no export, or it cannot be used; as of `OnnxClassifier`.
    MissingExtraError
        If fastapi or onnxruntime is not installed.
    """
    folder = Path(folder)
    exported = folder if (folder / ABOUT).is_file() or not (folder / "onnx").is_dir() else folder / "onnx"
    classifier = OnnxClassifier(exported)
    classifier.predict_proba("the first prediction is the slowest")
    explain = _explainer(folder)
    batches = _Batches(classifier.predict_proba)
    page = (Path(__file__).parent / "serving.html").read_text(encoding="utf-8")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(batches.work())
        yield
        worker.cancel()

    app: FastAPI = FastAPIOffline(title="Text classification", version="1", lifespan=lifespan, redoc_url=None)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts))
    app.add_exception_handler(RequestValidationError, _refuse)

    @app.post("/predict", responses={413: {"description": "Too many texts, or too long"}})
    async def predict(request: Texts) -> Predictions:
        """Give each label's probability for one text or a list of them."""
        texts = [request.texts] if isinstance(request.texts, str) else request.texts
        rows = await batches.compute(_within_limits(texts))
        return Predictions(
            predictions=[
                Prediction(
                    label=classifier.label_names[int(row.argmax())],
                    probabilities=dict(zip(classifier.label_names, map(float, row), strict=True)),
                )
                for row in rows
            ]
        )

    @app.post("/explain", responses={404: {"description": "The torch model is not there"}})
    async def explanation(request: Text) -> Explanation:
        """Say how much each word adds to the probability of the most probable label."""
        if explain is None:
            raise HTTPException(404, f"Words are not explained: {_missing_for_explanations(folder)}.")
        [text] = _within_limits([request.text])
        async with batches.alone:  # one at a time: it is much slower than a prediction
            label, words = await asyncio.to_thread(explain, text)
        return Explanation(label=label, words=[Word(word=w, attribution=a) for w, a in words])

    @app.get("/health")
    async def health() -> Health:
        """Say that the service runs, and what."""
        return Health(
            status="ok",
            labels=classifier.label_names,
            quantized=classifier.about["quantized"],
            explains=explain is not None,
            max_texts=MAX_TEXTS,
            max_characters=MAX_CHARACTERS,
        )

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"})

    return app


def _only_text(value: object, where: str = "texts") -> object:
    """Refuse what is not a text with words; JSON can hold anything."""
    if isinstance(value, list):
        if not value:
            raise ValueError(f"{where} is an empty list. Send one text at least.")
        return [_only_text(text, f"{where}[{i}]") for i, text in enumerate(value)]
    if not isinstance(value, str):
        raise ValueError(f"{where} is of the JSON type of {value.__class__.__name__}, not a string.")
    if not value.strip():
        raise ValueError(f"{where} has no words. Send a text.")
    if found := _CONTROL.search(value):
        raise ValueError(f"{where} has the control character {found[0]!r} at {found.start()}. Remove it.")
    return value


class Texts(BaseModel):
    """What to classify."""

    texts: Annotated[str | list[str], BeforeValidator(_only_text)] = Field(
        description=f"One text, or up to {MAX_TEXTS}, of {MAX_CHARACTERS:,} characters at most. `text` will do too.",
        examples=["what a day", ["what a day", "never again"]],
        validation_alias=AliasChoices("texts", "text"),
    )


class Text(BaseModel):
    """What to explain."""

    text: Annotated[str, BeforeValidator(lambda value: _only_text(value, "text"))] = Field(
        description=f"{MAX_CHARACTERS:,} characters at most."
    )


class Prediction(BaseModel):
    """Of one text."""

    label: str = Field(description="The most probable label.")
    probabilities: dict[str, float] = Field(description="Of each label, in label-id order. They sum to 1.")


class Predictions(BaseModel):
    """Of all texts, in their order."""

    predictions: list[Prediction]


class Word(BaseModel):
    """A word and what it adds to the probability of the label."""

    word: str
    attribution: float


class Explanation(BaseModel):
    """Why a label."""

    label: str
    words: list[Word]


class Health(BaseModel):
    """What runs."""

    status: str
    labels: list[str]
    quantized: bool
    explains: bool
    max_texts: int
    max_characters: int


class _Batches:
    """Compute together what arrives together: while one batch is computed, the next gathers.

    Nobody waits for a batch to fill.
    """

    def __init__(self, compute: Callable[[list[str]], npt.NDArray[np.float64]]):
        self._compute = compute
        self._waiting: asyncio.Queue[tuple[list[str], asyncio.Future[npt.NDArray[np.float64]]]] = asyncio.Queue()
        self.alone = asyncio.Lock()

    async def compute(self, texts: list[str]) -> npt.NDArray[np.float64]:
        """Wait for the rows of these texts."""
        rows: asyncio.Future[npt.NDArray[np.float64]] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((texts, rows))
        return await rows

    async def work(self) -> None:
        """Compute batch after batch."""
        while True:
            requests = [await self._waiting.get()]
            while not self._waiting.empty() and sum(len(texts) for texts, _ in requests) < MAX_TEXTS:
                requests.append(self._waiting.get_nowait())
            try:
                rows = await asyncio.to_thread(self._compute, [text for texts, _ in requests for text in texts])
            except Exception as error:  # noqa: BLE001  of whatever kind: those who wait get it, the others go on
                for _, waiting in requests:
                    if not waiting.done():
                        waiting.set_exception(error)
                continue
            for texts, waiting in requests:
                if not waiting.done():  # its client may have left
                    waiting.set_result(rows[: len(texts)])
                rows = rows[len(texts) :]


def _within_limits(texts: list[str]) -> list[str]:
    if len(texts) > MAX_TEXTS:
        raise HTTPException(413, f"{len(texts)} texts; at most {MAX_TEXTS} in a request. Send several requests.")
    for i, text in enumerate(texts):
        if len(text) > MAX_CHARACTERS:
            raise HTTPException(
                413, f"texts[{i}] has {len(text):,} characters; at most {MAX_CHARACTERS:,}. Send a shorter text."
            )
    return texts


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    """Answer with one sentence, and without the text that was sent."""
    first: dict[str, Any] = error.errors()[0]  # type: ignore[attr-defined]
    if first["type"] == "json_invalid":
        message = f"The body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}."
    elif first["type"] == "value_error":
        message = str(first["ctx"]["error"])
    else:
        message = 'Send JSON such as {"texts": ["what a day"]}, with the header Content-Type: application/json.'
    return JSONResponse({"detail": message}, status_code=422)


def _missing_for_explanations(folder: Path) -> str | None:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        return "the folder has no torch model (export_onnx into a folder named onnx in a saved model)"
    missing = [name for name in ("torch", "transformers", "captum") if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else None


def _explainer(folder: Path) -> Callable[[str], tuple[str, list[tuple[str, float]]]] | None:
    """Return a function from a text to its label and its words' attributions, if what it needs is there."""
    if _missing_for_explanations(folder):
        return None
    # Only here: the rest works without torch.
    from emotion_tutorial.explanation import explain
    from emotion_tutorial.models import load_classifier, load_tokenizer

    model, tokenizer = load_classifier(folder, device="cpu"), load_tokenizer(folder)

    def explained(text: str) -> tuple[str, list[tuple[str, float]]]:
        frame = explain(text, model, tokenizer, steps=20)
        label = frame["label"].iloc[0]
        return label, list(zip(frame["word"], map(float, frame["attribution"]), strict=True))

    return explained
