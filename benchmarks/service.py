"""Measure how many requests the service answers, how fast, and whether its memory grows.

Starts `python -m emotion_tutorial serve` and sends it requests of one text each: twenty a second for 15 seconds; then
20,000 from 50 clients at once, each with its next request as soon as it has an answer, which are so many that memory
that leaks would show. A client that is told to come back later does so; an answer that is any other error ends the
benchmark. Last, with `--largest`, each of the clients sends one request of the largest size that is allowed, all at
once. The clients share the machine with the service.

    python benchmarks/service.py                   # the model of the profile, trained if need be
    python benchmarks/service.py --folder FOLDER   # an export
    python benchmarks/service.py --json FILE       # also write the numbers into a file
"""

import argparse
import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from tqdm import tqdm

import emotion_tutorial as et

LARGEST = ["\N{GRINNING FACE} " * 2_380] * 64
"""The texts of the largest request: almost 2 MB of JSON, in which an emoji has 12 bytes; more than an encoder reads."""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="an export; else one is made of the profile's model")
    parser.add_argument("--seconds", type=float, default=15, help="of requests at 20 a second")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--clients", type=int, default=50, help="the service lets 64 requests wait")
    parser.add_argument("--requests", type=int, default=20_000, help="from all clients together")
    parser.add_argument("--largest", action="store_true", help="also measure the memory that large requests take")
    parser.add_argument("--json", type=Path, help="a file to write the numbers into")
    options = parser.parse_args()
    profile = et.get_profile()
    splits = et.load_splits(profile.data)
    texts = splits["validation"]["text"][:]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder
        if folder is None:
            trainer: Any = et.load_or_train(splits, profile)
            folder = et.export_onnx(trainer.model, trainer.processing_class, Path(scratch) / "onnx")
        with serving(folder, Path(scratch) / "log.txt") as (address, pid):
            steady = asyncio.run(at_a_rate(address, texts, options.rate, int(options.rate * options.seconds)))
            asyncio.run(at_once(address, texts, options.clients, max(1, options.requests // 10)))  # warm up
            before = psutil.Process(pid).memory_info().rss
            start = time.perf_counter()
            crowd = asyncio.run(at_once(address, texts, options.clients, options.requests))
            seconds = time.perf_counter() - start
            grown = psutil.Process(pid).memory_info().rss - before
            with peak_memory(pid) as peaks:
                if options.largest:
                    asyncio.run(at_once(address, [LARGEST], options.clients, options.clients))
    result: dict[str, float] = {"steady_requests": len(steady), "steady_rate": options.rate}
    for name, answers in (("steady", steady), ("crowd", crowd)):
        waits, refusals = zip(*answers, strict=True)
        result |= {f"{name}_p{p}_ms": round(float(np.percentile(waits, p)), 1) for p in (50, 99)}
        result[f"{name}_told_to_wait"] = sum(refusals)
    result |= {"crowd_requests": len(crowd), "crowd_clients": options.clients}
    result["requests_per_second"] = round(len(crowd) / seconds)
    result |= {"memory_mb": round((before + grown) / 1e6), "grown_mb": round(grown / 1e6, 1)}
    if options.largest:
        result["largest_peak_mb"] = round(max(peaks) / 1e6)
        print(f"{options.clients} of the largest requests at once: up to {result['largest_peak_mb']} MB")
    print(f"{options.rate:g} requests a second: median {result['steady_p50_ms']} ms, 99% {result['steady_p99_ms']} ms")
    print(
        f"{options.clients} clients at once: {result['requests_per_second']} requests a second, median "
        f"{result['crowd_p50_ms']} ms, 99% {result['crowd_p99_ms']} ms; all {len(crowd)} answered, "
        f"{result['crowd_told_to_wait']} times after being told to come back"
    )
    print(f"memory: {result['memory_mb']} MB, grown by {result['grown_mb']} MB over {len(crowd)} requests")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


@contextlib.contextmanager
def serving(folder: Path, log: Path) -> Iterator[tuple[str, int]]:
    """Start the service on a free port; give its address and process id."""
    command = [sys.executable, "-m", "emotion_tutorial", "serve", str(folder), "--port", "0"]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        while not (found := re.search(r"running on (http://\S+)", log.read_text())):
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        try:
            yield found[1], process.pid
        finally:
            process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def peak_memory(pid: int) -> Iterator[list[int]]:
    """Give a list that is filled with the resident memory of a process, in bytes, every 20 milliseconds."""
    process, done = psutil.Process(pid), threading.Event()
    found = [process.memory_info().rss]

    def watch() -> None:
        while not done.wait(0.02):
            found.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


async def ask(client: aiohttp.ClientSession, text: str | list[str]) -> tuple[float, int]:
    """Send one request until it is answered; return the milliseconds, and how often it was told to come back."""
    start, refusals = time.perf_counter(), 0
    while True:
        async with client.post("/predict", json={"texts": text}) as answer:
            await answer.read()
            if answer.status != 503:
                answer.raise_for_status()
                return 1000 * (time.perf_counter() - start), refusals
        refusals += 1
        await asyncio.sleep(float(answer.headers["Retry-After"]))


async def at_a_rate(address: str, texts: Sequence[str], rate: float, requests: int) -> list[tuple[float, int]]:
    """Send each request on time, whether or not those before it were answered."""

    async def later(i: int) -> tuple[float, int]:
        await asyncio.sleep(i / rate)
        return await ask(client, texts[i % len(texts)])

    async with aiohttp.ClientSession(address) as client:
        return await asyncio.gather(*map(later, range(requests)))


async def at_once(address: str, texts: Sequence[Any], clients: int, requests: int) -> list[tuple[float, int]]:
    """Send from so many clients at once, each its next request when it has an answer."""
    answers: list[tuple[float, int]] = []
    left = iter(tqdm(range(requests), unit="request"))

    async def one(client: aiohttp.ClientSession) -> None:
        for i in left:
            answers.append(await ask(client, texts[i % len(texts)]))

    patience = aiohttp.ClientTimeout(total=3600)
    async with aiohttp.ClientSession(address, timeout=patience) as client:  # no more than 100 connections
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return answers


if __name__ == "__main__":
    main()
