"""A service that classifies texts over HTTP."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from emotion_tutorial.exceptions import DataError, MissingExtraError
from emotion_tutorial.onnx_classifier import ABOUT, OnnxClassifier

try:
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.concurrency import run_in_threadpool
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, RedirectResponse
    from fastapi_offline import FastAPIOffline  # its documentation pages need no network
    from pydantic import BaseModel, Field
    from starlette.middleware.body_limit import RequestBodyLimitMiddleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
except ImportError as error:
    raise MissingExtraError(f'{error.name} is not installed. Run: pip install "emotion-tutorial[serve]".') from error

MAX_TEXTS, MAX_CHARACTERS, MAX_BYTES = 64, 5_000, 2_000_000
"""In a request: texts, characters in each of them, and bytes in all."""
MAX_WAITING = 32
"""Requests that are being answered or wait for it; more are told to come back later."""

Text = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]


class Texts(BaseModel):
    """What to classify."""

    texts: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)] = Field(
        examples=["what a day", ["what a day", "never again"]]
    )


class Prediction(BaseModel):
    """For one text."""

    label: str = Field(description="The most probable label.")
    probabilities: dict[str, float] = Field(description="Of each label, in label-id order. They sum to 1.")


class Predictions(BaseModel):
    """For all texts, in their order."""

    predictions: list[Prediction]


def create_app(folder: str | Path, *, allowed_hosts: Sequence[str] = ("127.0.0.1", "localhost", "[::1]")) -> FastAPI:
    """Return the service as an ASGI application, for uvicorn or any other server, or to be mounted in another app.

    `POST /predict` classifies, `GET /health` says what runs, `/docs` documents both and lets you try them in a browser.
    Texts are neither logged nor kept.

    Parameters
    ----------
    folder
        As written by `export_onnx`; or a saved model with such a folder in it, named `onnx`.
    allowed_hosts
        The names by which a request may call this machine. Others are refused, so that a web page whose name was
        redirected cannot talk to a local service. `*` allows all.

    Raises
    ------
    CheckpointError
        If the folder holds no export, or it is damaged.
    MissingExtraError
        If fastapi or onnxruntime is not installed.
    """
    folder = Path(folder)
    classifier = OnnxClassifier(folder if (folder / ABOUT).is_file() else folder / "onnx")
    classifier.predict_proba("the first prediction is the slowest")
    app: FastAPI = FastAPIOffline(title="Text classification", version="2", redoc_url=None)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts))
    app.state.waiting = 0

    @app.post("/predict", responses={503: {"description": "Too many requests are waiting"}})
    async def predict(request: Texts) -> Predictions:
        """Return each label's probability for one text or a list of them."""
        if app.state.waiting >= MAX_WAITING:
            raise HTTPException(503, "Too many requests are waiting. Try again later.", {"Retry-After": "1"})
        app.state.waiting += 1
        try:
            frame = await run_in_threadpool(classifier.predict_proba, request.texts)
        finally:
            app.state.waiting -= 1
        rows = [{str(name): float(value) for name, value in row.items()} for row in frame.to_dict("records")]
        predictions = [Prediction(label=max(row, key=row.__getitem__), probabilities=row) for row in rows]
        return Predictions(predictions=predictions)

    @app.get("/health")
    def health() -> dict[str, str | bool | list[str]]:
        """Say that the service runs, and what."""
        return {"status": "ok", "labels": classifier.label_names, "quantized": classifier.about["quantized"]}

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")

    @app.exception_handler(RequestValidationError)
    def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        """Say what is wrong with a request, without repeating the text that was sent."""
        return JSONResponse({"detail": [{"loc": e["loc"], "msg": e["msg"]} for e in error.errors()]}, status_code=422)

    @app.exception_handler(DataError)
    def refuse_text(_: Request, error: DataError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=422)

    return app
