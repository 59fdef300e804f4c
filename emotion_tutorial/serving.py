"""A service that classifies texts over HTTP."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from scipy.special import softmax

from emotion_tutorial.exceptions import CheckpointError, DataError, SettingsError, needed_from
from emotion_tutorial.onnx_classifier import BATCH_SIZE, OnnxClassifier
from emotion_tutorial.texts import as_texts, shorten

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST = r"\*|(\*\.)?[\w.-]+|\[[0-9a-f:]+\]"
LOCAL = ("127.0.0.1", "localhost", "[::1]")
MAX_TEXTS, MAX_CHARACTERS, MAX_BYTES = 64, 5_000, 2_000_000
"""In a request: texts, characters in each of them, and bytes in all."""
MAX_SECONDS = 30
"""The time in which a request must have arrived."""
MAX_WAITING = 32
"""Requests that are being received or answered; more are told to come back later.

One thread computes, `BATCH_SIZE` texts of one request after those of another. So what the service needs beside the
model is bounded, whatever it is sent: `MAX_WAITING` times `MAX_BYTES`, in which the texts wait, some three times over
(bytes, JSON, strings), and one batch of `onnx_classifier.BATCH_TOKENS` tokens.
"""


def create_app(folder: str | Path, *, allowed_hosts: Sequence[str] = LOCAL, threads: int | None = None) -> "FastAPI":
    """Return the service as an ASGI application, for uvicorn or any other server, or to be mounted in another app.

    `POST /predict` classifies, `GET /health` reports which model is running, `/docs` documents both and lets you try
    them in a browser. Texts are neither logged nor kept. See `MAX_WAITING` for what limits its memory.

    Parameters
    ----------
    folder
        As written by `export_onnx`; or a saved model with such a folder in it, named `onnx`.
    allowed_hosts
        The names by which a request may call this machine. Others are refused, so that a web page whose name was
        redirected cannot talk to a local service. `*` allows all.
    threads
        Threads of the CPU that compute a prediction. None means all.

    Raises
    ------
    CheckpointError
        If the folder holds no export, or it is damaged, or it was made from another model than the one that is saved
        there now.
    SettingsError
        If something is no folder, or no number of threads.
    MissingExtraError
        If fastapi or onnxruntime is not installed.
    """
    hosts = [allowed_hosts] if isinstance(allowed_hosts, str) else [*allowed_hosts] if allowed_hosts else [""]
    if wrong := [host for host in hosts if not re.fullmatch(HOST, str(host))]:
        advice = "Give names such as localhost, *.example.com, or * for all"
        raise SettingsError(f"allowed_hosts= has {shorten(wrong[0])}. {advice}.")
    with needed_from("serve"):
        from fastapi import FastAPI, Request, Response
        from fastapi.exceptions import RequestValidationError
        from fastapi.responses import JSONResponse, RedirectResponse
        from fastapi_offline import FastAPIOffline  # its documentation pages need no network
        from pydantic import BaseModel, Field
        from starlette.middleware.body_limit import RequestBodyLimitMiddleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import ClientDisconnect

    Text = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]

    class Texts(BaseModel):
        """What to classify."""

        texts: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)] = Field(
            examples=["what a day", ["what a day", "never again"]]
        )

    class Prediction(BaseModel):
        """The prediction for one text."""

        label: str = Field(description="The most probable label.")
        probabilities: dict[str, float] = Field(description="Of each label, in label-id order. They sum to 1.")
        truncated: bool = Field(description="Whether the text is longer than the model can read, and its end was cut.")

    class Predictions(BaseModel):
        """The predictions for all texts, in their order."""

        predictions: list[Prediction]

    classifier = OnnxClassifier(folder, threads=threads)
    names = classifier.label_names
    classifier.compute_logits(["the first prediction is the slowest"])
    computing = ThreadPoolExecutor(1)  # what waits for it is served in turn
    app: FastAPI = FastAPIOffline(title="Text classification", version="2", redoc_url=None)
    app.state.waiting = 0

    @app.middleware("http")
    async def bound(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse what is too much before its body is read into memory; of other methods none is ever read."""
        if request.method != "POST":
            return await answer(request)
        if app.state.waiting >= MAX_WAITING:
            detail = {"detail": "Too many requests are waiting. Try again later."}
            return JSONResponse(detail, 503, {"Retry-After": "1"})
        app.state.waiting += 1
        try:
            await asyncio.wait_for(request.body(), MAX_SECONDS)
            return await answer(request)
        except TimeoutError:
            return JSONResponse({"detail": f"The request did not arrive within {MAX_SECONDS} seconds."}, 408)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody will see
        finally:
            app.state.waiting -= 1

    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.post("/predict", responses={503: {"description": "Too many requests are waiting"}})
    async def predict(request: Texts) -> Predictions:
        """Return each label's probability for one text or a list of them."""
        texts, _ = as_texts(request.texts)
        predictions: list[Prediction] = []
        for start in range(0, len(texts), BATCH_SIZE):
            part = texts[start : start + BATCH_SIZE]
            logits, cut = await asyncio.get_running_loop().run_in_executor(computing, classifier.compute_logits, part)
            for row, shares in enumerate(softmax(logits.astype(np.float64), axis=1)):
                probabilities = dict(zip(names, shares.tolist(), strict=True))
                label = names[shares.argmax()]
                predictions.append(Prediction(label=label, probabilities=probabilities, truncated=row in cut))
        return Predictions(predictions=predictions)

    @app.get("/health")
    def health() -> dict[str, str | bool | list[str]]:
        """Report that the service is running, and which labels its model knows."""
        return {"status": "ok", "labels": names, "quantized": classifier.about["quantized"]}

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")

    @app.exception_handler(RequestValidationError)
    def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        """Say what is wrong with a request, without repeating the text that was sent."""
        return JSONResponse({"detail": [{"loc": e["loc"], "msg": e["msg"]} for e in error.errors()]}, status_code=422)

    @app.exception_handler(DataError)
    def refuse_text(_: Request, __: DataError) -> JSONResponse:
        return JSONResponse({"detail": "A text has half a character, a lone surrogate. Send whole ones."}, 422)

    @app.exception_handler(CheckpointError)
    def fail(_: Request, error: CheckpointError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=500)

    return app
