"""Write a web page on which an exported classifier answers in the reader's own browser."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from emotion_tutorial.exceptions import CheckpointError, DataError, NotFoundError, SettingsError, needed_from
from emotion_tutorial.onnx_classifier import ABOUT, MODEL, TOKENIZER, OnnxClassifier, find_export
from emotion_tutorial.replacing import as_folder, replaced_whole
from emotion_tutorial.texts import as_texts, require_number, shorten

OURS = Path(__file__).parent / "live"
COPIED = {  # not .mjs: some servers of files do not know that as a script
    "onnxruntime-web/dist/ort.wasm.min.mjs": (
        "ort.js",
        "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    ),
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs": (
        "ort-wasm.js",
        "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    ),
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm": (
        "ort-wasm.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
    "@huggingface/tokenizers/dist/tokenizers.min.mjs": (
        "tokenizers.js",
        "258e46332101335ce8d95aed7745b19ac3b46d37f3e159a89cf894c2ea9b1d3a",
    ),
}
"""The files of the versions in live/package.json that the page has, its name for them, and their SHA-256."""
LIMITS = "It knows nothing but the texts it was trained on, and it is wrong at times. Don't use it to judge people."
ORT_NOTICES = ("LICENSE", "ThirdPartyNotices.txt")
"""Files of the Python package of the same project: that for browsers comes without them."""


def write_page(
    export: str | Path,
    folder: str | Path,
    *,
    title: str = "Try the classifier",
    examples: Sequence[str] = (),
    threshold: float = 0.0,
    limits: str = LIMITS,
    packages: str | Path | None = None,
) -> Path:
    """Write a folder of static files that any web server can publish; its `index.html` classifies what is typed.

    The model runs in the browser, on one thread, and nothing that is typed leaves it. The weights are those of the
    export. Where the export rounds activations to int8, the page computes in float32 instead: a browser's kernels round
    otherwise than a processor's, and would give some texts another label. `OnnxClassifier(folder / "model")` gives the
    probabilities that the page shows.

    Parameters
    ----------
    export
        A folder that `export_onnx` wrote, or a saved model with one in it.
    folder
        Where the page goes, about 40 MB for a small encoder. Other files in it stay.
    title
        The heading of the page.
    examples
        Texts that a visitor can click.
    threshold
        The probability, from 0 to 1, below which the page would rather not say. 0: it always answers.
    limits
        What the page says about what it is not for.
    packages
        A `node_modules` folder that holds onnxruntime-web and @huggingface/tokenizers. None: npm fetches them.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    CheckpointError
        If `export` is no export or a damaged one, or has a unigram tokenizer, which browsers cut otherwise.
    SettingsError
        If a setting is none, or `folder` is the export itself.
    NotFoundError
        If the JavaScript packages are not there and npm cannot fetch them.
    DataError
        If an example is no text, or the JavaScript packages are not of the versions that were tested.
    """
    texts, _ = as_texts(examples, "examples=") if len(examples) else ([], None)
    require_number(0.0, 1.0, threshold=threshold)
    for name, value in {"title": title, "limits": limits}.items():
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise SettingsError(f"{name}= is {shorten(value)}. Give a text.")
    export, folder = as_folder(export), as_folder(folder)
    about = OnnxClassifier(export, threads=1).about  # whole, readable, and of its model as it is now
    export = find_export(export) or export
    tokenizer = (export / TOKENIZER).read_text(encoding="utf-8")
    if json.loads(tokenizer)["model"]["type"] == "Unigram":
        raise CheckpointError(f"{export} has a unigram tokenizer. @huggingface/tokenizers splits some texts otherwise.")
    if folder.resolve() in (export.resolve(), export.resolve().parent):
        raise SettingsError(f"{folder} holds the model. Choose another folder for the page.")
    with tempfile.TemporaryDirectory() as scratch, replaced_whole(folder) as new:
        scripts = _node_modules(packages, Path(scratch))
        shutil.copytree(OURS, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns("package.json"))
        (new / "lib").mkdir()
        for path, (name, _) in COPIED.items():
            shutil.copyfile(scripts / path, new / "lib" / name)
        (new / "model").mkdir()
        for name in (TOKENIZER, ABOUT):
            shutil.copyfile(export / name, new / "model" / name)
        _compute_in_float32(export / MODEL, new / "model" / MODEL)
        (new / "NOTICES.txt").write_text(_notices(scripts), encoding="utf-8")
        page = (OURS / "index.html").read_text(encoding="utf-8")
        (new / "index.html").write_text(page.replace("TITLE", _escaped(title)), encoding="utf-8")
        wanted = ("label_names", "max_length", "empty_text_id", "truncation_side", "split_special_tokens")
        settings: dict[str, Any] = {name: about[name] for name in wanted}
        settings |= {"examples": [text for text in texts if text.strip()], "threshold": float(threshold)}
        settings |= {"limits": limits, "max_words": 60}
        loaded = ("model/model.onnx", "model/tokenizer.json", "lib/ort-wasm.wasm")
        settings["bytes"] = sum((new / name).stat().st_size for name in loaded)
        content = [json.dumps(settings).encode(), *((new / name).read_bytes() for name in loaded)]
        settings["version"] = hashlib.sha256(b"".join(content)).hexdigest()[:16]
        OnnxClassifier(new / "model", threads=1)
        (new / "page.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return folder


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _node_modules(packages: str | Path | None, scratch: Path) -> Path:
    """Return a folder that holds the JavaScript packages; npm fetches them, and runs no script of theirs."""
    wanted = json.loads((OURS / "package.json").read_text(encoding="utf-8"))["dependencies"]
    versions = " and ".join(f"{name} {version}" for name, version in wanted.items())
    if packages is None:
        if (npm := shutil.which("npm")) is None:
            raise NotFoundError("npm is not installed. Install Node.js, or give a node_modules folder as packages.")
        shutil.copy(OURS / "package.json", scratch)
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["it gives no reason"])[-1]
            raise NotFoundError(f"npm could not fetch {versions}: {said}")
    found = scratch / "node_modules" if packages is None else as_folder(packages)
    for path, (_, digest) in COPIED.items():
        if not (found / path).is_file():
            raise NotFoundError(f"{found} has no {path}. Give a node_modules folder with {versions}.")
        with (found / path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise DataError(f"{found / path} is not that of {versions}. Give a node_modules folder with these.")
    return found


def _compute_in_float32(source: Path, target: Path) -> None:
    """Copy a graph; products of int8 activations become float32 ones, with the same int8 weights."""
    with needed_from("onnx"):
        import onnx
        from onnx import helper
    to = onnx.TensorProto.FLOAT
    model = onnx.load(source)
    graph = model.graph
    shifted_weights: dict[str, str] = {}  # which several layers may share
    made_by = {name: node for node in graph.node for name in node.output}
    used_by = {name: node for node in graph.node for name in node.input}
    for node in [node for node in graph.node if node.op_type == "MatMulInteger"]:
        # x -> DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul by both scales, as quantize_dynamic writes it. Not
        # DequantizeLinear: onnxruntime makes products of it and MatMul that round activations again.
        cast = used_by[node.output[0]]
        scaled = used_by[cast.output[0]]
        [scales] = [made_by[name] for name in scaled.input if name != cast.output[0]]
        x, weights, zero_point = made_by[node.input[0]].input[0], node.input[1], node.input[3]
        new = []
        if weights not in shifted_weights:
            casts = [helper.make_node("Cast", [name], [f"{name}_float32"], to=to) for name in (weights, zero_point)]
            shifted_weights[weights] = f"{weights}_shifted"
            new = [*casts, helper.make_node("Sub", [made.output[0] for made in casts], [shifted_weights[weights]])]
        product = helper.make_node("MatMul", [x, shifted_weights[weights]], [f"{node.output[0]}_float32"])
        rescaled = helper.make_node("Mul", [*product.output, scales.input[1]], [*scaled.output])
        place = [*graph.node].index(node)
        for old in (node, cast, scaled, scales):
            graph.node.remove(old)
        for offset, made in enumerate((*new, product, rescaled)):
            graph.node.insert(place + offset, made)
    used = {name for node in graph.node for name in node.input}
    for node in [node for node in graph.node if node.op_type == "DynamicQuantizeLinear"]:
        if not used & {*node.output}:
            graph.node.remove(node)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "MatMulNBits" and attribute.name == "accuracy_level":
                attribute.i = 1  # activations in float32
    onnx.save(model, target)


def _notices(scripts: Path) -> str:
    """Return the licenses of what the page is made of."""
    texts = {"@huggingface/tokenizers": scripts / "@huggingface" / "tokenizers" / "LICENSE"}
    for path in metadata.files("onnxruntime") or []:
        if path.name in ORT_NOTICES:
            texts[f"onnxruntime-web: {path.name}"] = Path(str(path.locate()))
    card = "The model is its publisher's, under the license that its model card names.\n"
    rule = "=" * 80
    parts = [f"\n{rule}\n{name}\n{rule}\n{path.read_text(encoding='utf-8')}" for name, path in texts.items()]
    return card + "".join(parts)
