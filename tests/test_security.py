"""The claims of docs/security.md."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from emotion_tutorial import load_classifier, load_encoder, load_tokenizer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SOURCES = [path for folder in ("emotion_tutorial", "tools", "benchmarks") for path in (ROOT / folder).rglob("*.py")]


def test_each_claim_names_tests_that_exist():
    claims = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| claim")]
    assert claims
    for claim in claims:
        tests = re.findall(r"`(tests/\w+\.py)::(\w+)`", claim)
        assert tests, claim
        for path, name in tests:
            assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), (path, name)


def test_code_beside_a_model_is_not_run(tiny_checkpoint, tmp_path):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    marker = tmp_path / "it ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nfrom transformers import BertModel as Evil\n")
    of_model = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForSequenceClassification"), "evil.Evil")
    traps = {"config.json": of_model, "tokenizer_config.json": {"AutoTokenizer": ["evil.Evil"] * 2}}
    for name, trap in traps.items():
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(settings | {"auto_map": trap}))
    load_encoder(folder, "cpu")
    load_classifier(folder, ["no", "yes"], "cpu")
    load_tokenizer(folder)
    assert not marker.exists()
    # The trap works: whoever trusts it runs it. In a process of its own, because transformers remembers what it ran.
    trusting = f"import transformers as t; t.AutoModel.from_pretrained({str(folder)!r}, trust_remote_code=True)"
    subprocess.run([sys.executable, "-c", trusting], check=False, capture_output=True)
    assert marker.exists()


def test_nothing_is_trusted_or_unpickled():
    unsafe = r"trust_remote_code\s*=\s*True|weights_only\s*=\s*False|\bpickle\.loads?\b|joblib\.load"
    assert not [path for path in SOURCES if re.search(unsafe, path.read_text("utf-8"))]


def test_a_keras_file_with_a_torch_module_is_refused(tmp_path):
    script = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras, torch
layer = keras.layers.TorchModuleWrapper(torch.nn.Linear(2, 2))
keras.Sequential([keras.Input((2,)), layer]).save(sys.argv[1])
keras.saving.load_model(sys.argv[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.keras")], capture_output=True, text=True, check=False
    )
    assert (tmp_path / "a.keras").is_file()
    assert "arbitrary code execution" in done.stderr


def test_notebooks_keep_no_pickle():
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            code = cell.source if cell.cell_type == "code" else ""
            assert not re.search(r"torch\.save\(|pickle\.|joblib\.|by_pairs\.(save|push)", code), code


def test_no_shell():
    cells = [
        cell.source for path in (ROOT / "notebooks").glob("*.ipynb") for cell in nbformat.read(path, as_version=4).cells
    ]
    for source in [*cells, *(path.read_text("utf-8") for path in SOURCES)]:
        assert not re.search(r"shell\s*=\s*True|os\.system\(|os\.popen\(", source)
