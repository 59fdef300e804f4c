"""The claims of docs/security.md."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from emotion_tutorial import load_classifier, load_encoder, load_tokenizer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SOURCES = [
    *(ROOT / "emotion_tutorial").rglob("*.py"),
    *(ROOT / "tools").glob("*.py"),
    *(ROOT / "benchmarks").glob("*.py"),
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


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
    (folder / "evil.py").write_text(
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\nfrom transformers import BertModel as Evil\n"
        "from transformers import BertConfig as EvilConfig, BertTokenizerFast as EvilTokenizer\n"
    )
    config = json.loads((folder / "config.json").read_text())
    names = ("AutoModel", "AutoModelForSequenceClassification")
    config["auto_map"] = {"AutoConfig": "evil.EvilConfig"} | dict.fromkeys(names, "evil.Evil")
    (folder / "config.json").write_text(json.dumps(config))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))

    load_encoder(folder, "cpu")
    load_classifier(folder, ["no", "yes"], "cpu")
    load_tokenizer(folder)
    assert not marker.exists()
    # The trap works: whoever trusts it runs it. In a process of its own, because transformers then marks
    # the class that the code names, here a built-in one, as one whose code is to be saved with every model.
    trusting = (
        "from transformers import AutoModel; import sys; AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)"
    )
    subprocess.run([sys.executable, "-c", trusting, str(folder)], check=True, capture_output=True)
    assert marker.exists()


def test_nothing_is_trusted_or_unpickled():
    unsafe = r"trust_remote_code\s*=\s*True|weights_only\s*=\s*False|\bpickle\b\.|joblib\.load"
    assert not [path for path in SOURCES if re.search(unsafe, path.read_text("utf-8"))]


def test_no_shell():
    cells = [cell.source for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells]
    for source in [*cells, *(path.read_text("utf-8") for path in SOURCES)]:
        assert not re.search(r"shell\s*=\s*True|os\.system\(|os\.popen\(", source)


def test_dependencies_are_audited_every_week():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    triggers = workflow[True]  # YAML reads the key `on` as a truth value
    assert triggers["schedule"]
    weekly = [job for job in workflow["jobs"].values() if "== 'schedule'" in job.get("if", "")]
    assert any("pip-audit" in step.get("run", "") for job in weekly for step in job["steps"])
