"""Promises that span modules, or that hold for the code and its tests as a whole."""

import ast
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Trainer

import emotion_tutorial as et
from emotion_tutorial import features
from emotion_tutorial.__main__ import main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def arguments(small, tiny_checkpoint, tmp_path) -> list[str]:
    """Write the splits as CSV files; return what names them, a checkpoint and the folder `out`."""
    (tmp_path / "data").mkdir()
    for split, dataset in small.items():
        et.to_frame(dataset)[["text", "label_name"]].to_csv(tmp_path / "data" / f"{split}.csv", index=False)
    paths = {"data": tmp_path / "data", "checkpoint": tiny_checkpoint, "output": tmp_path / "out"}
    return [*(f"--{name}={path}" for name, path in paths.items()), "--label-column=label_name", "--cpu"]


@pytest.mark.parametrize("command", [["finetune", "--epochs=1", "--batch-size=16"], ["extract"]], ids=lambda c: c[0])
@pytest.mark.parametrize("cpu", [True, False])
def test_cpu_leaves_the_accelerator_alone(arguments, monkeypatch, command, cpu):
    """Pretend that there is one, and see where a model is put; without `--cpu` it is the accelerator."""
    places: list[str] = []

    def record(self, place, *rest, **options):
        places.append(str(place))
        raise RuntimeError("seen")

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *args, **options: torch.device("meta"))
    train = lambda self, *_, **__: record(self, "cpu" if self.args.use_cpu else "meta")  # noqa: E731
    monkeypatch.setattr(Trainer, "train", train)
    monkeypatch.setattr(features, "forward_in_batches", lambda model, *rest, **options: record(model, model.device))
    with pytest.raises(RuntimeError, match="seen"):
        main([command[0], *command[1:], *(a for a in arguments if cpu or a != "--cpu")])
    assert places == ["cpu" if cpu else "meta"]


def test_hundreds_of_classes_and_many_texts_fit_into_memory():
    y_true, y_pred = np.random.default_rng(0).integers(0, 300, (2, 20_000))
    evaluate = et.evaluate  # imported before memory is counted, which is slow
    tracemalloc.start()
    try:
        metrics = evaluate(y_true, y_pred, [f"class {i}" for i in range(300)], resamples=100)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert len(metrics) == 3 * 300 + 3


TEST_FILES = [
    ROOT / "conftest.py",
    *(path for folder in ("tests", "tools", "benchmarks") for path in sorted((ROOT / folder).glob("*.py"))),
]


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_tests_run_on_every_system(path):
    """Windows lacks some modules and forks; on macOS two sockets could share a port."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.Try)
    at_import = [node for part in tree.body if not isinstance(part, skipped) for node in ast.walk(part)]
    imported = {alias.name for node in at_import if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in at_import if isinstance(node, ast.ImportFrom)}
    assert not imported & {"resource", "fcntl", "pwd", "grp", "termios", "pty"}
    texts = {node.value for node in at_import if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert not texts & {"forkserver", "fork"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"SO_REUSEADDR", "SO_REUSEPORT"}


FRAGILE = {
    "forward without hooks": r"type\(\w+\)\.forward",
    "samplers of the Trainer": r"_get_(train|eval)_sampler",
    "datasets' stratification": r"datasets\.utils\.stratify",
    "frames of the interpreter": r"\b_getframe\b",
    "allocator": r"mallopt",
    "modules of everything, such as a hidden TensorFlow": r"\bsys\.modules\b(?!\.get\()",
    "environment": r"os\.environ(\[[^\]]*\] = |\.(setdefault|update|pop)\()|os\.putenv",
    "logging of everything": r"\blogging\.disable\(",
    "standard output": r"redirect_stdout",
}


@pytest.mark.parametrize("pattern", FRAGILE.values(), ids=FRAGILE)
def test_package_uses_no_private_part_and_changes_nothing_of_the_whole_process(pattern):
    for path in (ROOT / "emotion_tutorial").rglob("*.py"):
        code = ast.unparse(ast.parse(path.read_text(encoding="utf-8")))  # without comments
        assert not re.search(pattern, code), path.name
