"""A service that classifies texts over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from scipy.special import softmax

from emotion_tutorial.exceptions import needed_from
from emotion_tutorial.onnx_classifier import BATCH_SIZE, OnnxClassifier

if TYPE_CHECKING:
    from fastapi import FastAPI

LOCAL = ("127.0.0.1", "localhost", "[::1]")
MAX_TEXTS, MAX_CHARACTERS, MAX_BYTES = 64, 5_000, 2_000_000
"""In a request: texts, characters in each of them, and bytes in all."""
MAX_SECONDS = 30
"""The time in which a request must have arrived."""
MAX_WAITING = 64
"""Requests that are being received or answered; more are told to come back later. One text each takes a moment for all
of them, so that 50 people at once need not come back, and 64 of the largest take 430 MB while they wait."""


def create_app(folder: str | Path, *, allowed_hosts: Sequence[str] = LOCAL, threads: int | None = None) -> "FastAPI":
    """Return the service as an ASGI application, for uvicorn or any other server, or to be mounted in another app.

    `POST /predict` classifies, `GET /health` reports which model is running, `/docs` documents both and lets you try
    them in a browser. Texts are neither logged nor kept.

    One thread computes, `BATCH_SIZE` texts of one request after those of another. So what the service needs beside the
    model is bounded, whatever it is sent: `MAX_WAITING` times `MAX_BYTES`, in which the texts wait, some three times
    over (bytes, JSON, strings), and one batch of `onnx_classifier.BATCH_TOKENS` tokens.

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
    hosts = [allowed_hosts] if isinstance(allowed_hosts, str) else [*allowed_hosts]
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

    class Refusal(BaseModel):
        """Why a request was not answered."""

        detail: str

    class Mistake(BaseModel):
        """What is wrong with a request, and where."""

        loc: list[str | int]
        msg: str

    class Mistakes(BaseModel):
        """All that is wrong with a request."""

        detail: list[Mistake]

    classifier = OnnxClassifier(folder, threads=threads)
    names = classifier.label_names
    classifier.compute_logits(["the first prediction is the slowest"])
    plain = {"text/plain": {"schema": {"type": "string"}}}
    wait = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    refusals: dict[int | str, dict[str, Any]] = {
        400: {"description": "Unknown host, or unreadable body", "model": Refusal, "content": dict(plain)},
        408: {"description": f"The body did not arrive within {MAX_SECONDS} seconds", "model": Refusal},
        413: {"description": f"The body has more than {MAX_BYTES:,} bytes", "content": plain},
        422: {"description": "The body is not as described", "model": Mistakes},
        503: {"description": "Too many requests wait", "model": Refusal, "headers": wait},
    }
    computing = ThreadPoolExecutor(1)  # what waits for it is served in turn
    app: FastAPI = FastAPIOffline(title="Text classification", version="2", redoc_url=None)
    places = asyncio.Semaphore(MAX_WAITING)

    @app.middleware("http")
    async def bound(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse what is too much before its body is read into memory; of other methods none is ever read."""
        if request.method != "POST":
            return await answer(request)
        if places.locked():
            return JSONResponse({"detail": "Too many requests wait. Try again later."}, 503, {"Retry-After": "1"})
        async with places:
            try:
                await asyncio.wait_for(request.body(), MAX_SECONDS)
            except (TimeoutError, ClientDisconnect):
                return JSONResponse({"detail": f"The request did not arrive within {MAX_SECONDS} seconds."}, 408)
            return await answer(request)

    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.post("/predict", responses=refusals)
    async def predict(request: Texts) -> Predictions:
        """Return each label's probability for one text or a list of them."""
        texts = [request.texts] if isinstance(request.texts, str) else request.texts
        predictions: list[Prediction] = []
        for start in range(0, len(texts), BATCH_SIZE):
            part = texts[start : start + BATCH_SIZE]
            logits, cut = await asyncio.get_running_loop().run_in_executor(computing, classifier.compute_logits, part)
            for row, shares in enumerate(softmax(logits.astype(np.float64), axis=1)):
                found = dict(zip(names, shares.tolist(), strict=True))
                predictions.append(Prediction(label=names[shares.argmax()], probabilities=found, truncated=row in cut))
        return Predictions(predictions=predictions)

    @app.get("/health", responses={400: {"description": "Unknown host", "content": plain}})
    def health() -> dict[str, str | bool | list[str]]:
        """Report that the service is running, and which labels its model knows."""
        return {"status": "ok", "labels": names, "quantized": classifier.about["quantized"]}

    @app.get("/", include_in_schema=False)
    def index() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.exception_handler(RequestValidationError)
    def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        """Say what is wrong with a request, without repeating the text that was sent."""
        return JSONResponse({"detail": [{"loc": e["loc"], "msg": e["msg"]} for e in error.errors()]}, status_code=422)

    return app
