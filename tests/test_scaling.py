"""Files of any number of texts: in this process, and on a Ray cluster of two nodes whose parts are killed."""

import json
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from pyarrow.fs import LocalFileSystem
from transformers import BertConfig, BertForSequenceClassification

import emotion_tutorial as et
from emotion_tutorial.__main__ import main
from emotion_tutorial.scaling import ModelActor, _write, map_files
from emotion_tutorial.text_files import find_files, read_rows
from emotion_tutorial.text_model import TextModel

NAMES = ["calm", "cross", "merry"]
TEXTS = ["i feel well", 'what a "long", and\nrather terrible day', "NA", "tea 😀", "007", "never again " * 300]
on_a_cluster = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Ray does not support clusters of several nodes on Windows"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Save a small random classifier, of weights so large that it does not say the same of all texts."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**sizes, initializer_range=0.3, id2label=dict(enumerate(NAMES)))
    return et.save_model(
        BertForSequenceClassification(config), et.load_tokenizer("embedded"), tmp_path_factory.mktemp("m")
    )


@pytest.fixture(scope="module")
def export(model, tmp_path_factory) -> Path:
    loaded, tokenizer = et.load_classifier(model, device="cpu"), et.load_tokenizer(model)
    return et.export_onnx(loaded, tokenizer, tmp_path_factory.mktemp("float32"), quantize=False)


@pytest.fixture(scope="module")
def int8(model, tmp_path_factory) -> Path:
    loaded, tokenizer = et.load_classifier(model, device="cpu"), et.load_tokenizer(model)
    return et.export_onnx(loaded, tokenizer, tmp_path_factory.mktemp("int8"))


def write_texts(folder: Path, files: int, rows: int, suffix: str = ".csv", texts: list[str] = TEXTS) -> pd.DataFrame:
    """Write files of texts, with ids and a third column, and return all of them by their ids."""
    ids = [f"{i:05}" if suffix == ".csv" else 7 * i for i in range(files * rows)]
    frame = pd.DataFrame({"key": ids, "said": [f"{texts[i % len(texts)]} {i}" for i in range(len(ids))], "x": 1})
    folder.mkdir()
    for place in range(files):
        part = frame[place * rows : (place + 1) * rows]
        if suffix == ".parquet":
            part.to_parquet(folder / f"{place}.parquet")
        else:
            part.to_csv(folder / f"{place}{suffix}", index=False)
    return frame.set_index("key")


def classify(model: Path, source: Path | str, output: Path, *options: str) -> pd.DataFrame:
    columns = ["--id-column", "key", "--text-column", "said"]
    main(["classify", str(model), str(source), "--output", str(output), "--cpu", *columns, *options])
    return pd.read_parquet(output).set_index("id")


def test_labels_scores_and_vectors_are_those_of_the_library_and_rows_keep_their_ids(model, tmp_path, capsys):
    texts = write_texts(tmp_path / "in", 2, 30, ".parquet")
    found = classify(model, tmp_path / "in", tmp_path / "out", "--scores", "--vectors=mean", "--batch-size", "7")
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done == {"output": str(tmp_path / "out"), "files": 2, "texts": 60, "bad": 0}
    assert json.loads((tmp_path / "out" / "_SUCCESS").read_text()) == done
    assert [*found.index] == [*texts.index]  # in order, as it was one process
    loaded, tokenizer = et.load_classifier(model, device="cpu"), et.load_tokenizer(model)
    with pytest.warns(et.DataWarning, match="10 texts .* were cut"):
        expected = et.predict_proba(texts["said"], loaded, tokenizer)
    np.testing.assert_allclose(found[[f"score_{name}" for name in NAMES]], expected, atol=1e-5)
    assert [*found["label"]] == [*expected.idxmax(axis=1)]
    np.testing.assert_allclose(found["score"], expected.max(axis=1), atol=1e-5)
    assert [*found["truncated"]] == [text.startswith("never") for text in texts["said"]]
    split = Dataset.from_dict({"text": texts["said"].tolist()})
    with pytest.warns(et.DataWarning, match="were cut"):
        states = et.extract_hidden_states(split, loaded, tokenizer, pooling="mean", precision="float32", cache=False)
    np.testing.assert_allclose(np.stack(found["vector"]), states["hidden_state"][:], atol=1e-5)
    assert pq.read_schema(next((tmp_path / "out").glob("*.parquet"))).field("vector").type == pa.list_(pa.float32())


def test_an_export_says_the_same_and_csv_stays_as_it_is_written(model, export, int8, tmp_path):
    texts = write_texts(tmp_path / "in", 3, 40)
    found = {}
    for name, path in {"torch": model, "export": export, "int8": int8}.items():
        found[name] = classify(path, tmp_path / "in" / "*.csv", tmp_path / name, "--scores")
        assert [*found[name].index] == [*texts.index]  # "00007" is not 7
    pd.testing.assert_frame_equal(found["export"], found["torch"], atol=1e-5)
    assert (found["int8"]["label"] == found["torch"]["label"]).mean() > 0.9
    np.testing.assert_allclose(found["int8"].filter(like="score_").sum(axis=1), 1, atol=1e-6)
    expected = et.OnnxClassifier(export)
    with pytest.warns(et.DataWarning, match="were cut"):
        scores = expected.predict_proba(texts["said"])  # with the commas, quotes and line breaks that the file had
    np.testing.assert_allclose(found["export"].filter(like="score_"), scores, atol=1e-5)
    with pytest.raises(SystemExit, match=r"SettingsError: .* gives no vectors"):
        classify(export, tmp_path / "in", tmp_path / "vectors", "--vectors", "cls")


BAD = {  # a file; of one row its place, its id and what is wrong with it; the ids of the others
    "too many fields": ("key,said\na,fine\nb,one,two\nc,fine\n", 3, None, "3 fields, not 2: .*two", ["a", "c"]),
    "no text": ("key,said\na,fine\nb,\nc,fine\n", 3, "b", "no text", ["a", "c"]),
    "no id": ("key,said\na,fine\n,alone\nc,fine\n", 3, None, "no id", ["a", "c"]),
    "another encoding": ("key,said\na,fine\nb,caf\udce9\nc,fine\n", 3, "b", "the text is not UTF-8", ["a", "c"]),
    "an open quote": ('key,said\n1,"fine\n2,one\n3,fine"\n4,a\n', 4, "1", "a field in quotes .*: '2,one'", ["4"]),
    "no text, in parquet": ({"key": ["a", "b"], "said": ["", "fine"]}, 0, "a", "no text", ["b"]),
    "a large id": ({"key": [2**63, 1], "said": ["a", "b"]}, 0, f"{2**63}", f"the id is {2**63}, beyond 64 bits", [1]),
    "a missing value": ({"key": [1, 2, 3], "said": ["fine", None, "fine"]}, 1, "2", "no text", [1, 3]),
    "a number": ({"key": ["a"], "said": [1]}, 0, "a", "the text is 1, not a string", []),
    "a fraction": ({"key": [0.5], "said": ["fine"]}, 0, "0.5", "the id is 0.5, not a string or a whole number", []),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_row_is_named_or_set_aside(case, export, tmp_path):
    content, row, key, said, others = BAD[case]
    path = tmp_path / ("bad.parquet" if isinstance(content, dict) else "bad.csv")
    if isinstance(content, dict):
        pd.DataFrame(content).to_parquet(path)
    else:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SystemExit, match=rf"^DataError: .*bad\.\w+, row {row}, id {key}: {said}.*--skip-bad"):
        classify(export, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if others:
        assert [*classify(export, path, tmp_path / "out", "--skip-bad").index] == others
    else:
        with pytest.raises(SystemExit, match=r"^DataError: .* has no row with an id and a text"):
            classify(export, path, tmp_path / "out", "--skip-bad")
    [bad] = pq.read_table(tmp_path / "out" / "_bad").to_pylist()
    assert (Path(bad["file"]), bad["row"], bad["id"]) == (path, row, key)
    assert re.match(said, bad["reason"])


def test_file_that_cannot_be_read_on_is_an_error_even_if_rows_may_be_skipped(export, tmp_path):
    cases = {
        "quote": ('key,said\na,fine\nb,"open\nc,fine\n', r"quote\.csv, line 4: .*Close the quotes"),
        "names": ("id,text\na,fine\n", r"names\.csv has no column 'key' among \['id', 'text'\]\. .*--id-column"),
        "twice": ("key,said,said\na,b,c\n", "has 2 column 'said'"),
        "empty": ("", "has no column 'key'"),
        "header": ("key,said\n", "no row with an id and a text"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / f"{name}.csv").write_text(content)
        with pytest.raises(SystemExit, match=f"^DataError: .*{said}"):
            classify(export, tmp_path / f"{name}.csv", tmp_path / "out", "--skip-bad")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SystemExit, match=r"^DataError: .*damaged\.parquet could not be read"):
        classify(export, tmp_path / "damaged.parquet", tmp_path / "out", "--skip-bad")
    (tmp_path / "mixed").mkdir()
    pd.DataFrame({"key": [1], "said": ["fine"]}).to_parquet(tmp_path / "mixed" / "a.parquet")
    pd.DataFrame({"key": ["1"], "said": ["fine"]}).to_parquet(tmp_path / "mixed" / "b.parquet")
    with pytest.raises(
        SystemExit, match=r"^DataError: The ids are int64 in .*a\.parquet and \w*string in .*b\.parquet"
    ):
        classify(export, tmp_path / "mixed", tmp_path / "out")


def test_large_file_is_read_and_written_in_parts(export, tmp_path):
    (tmp_path / "large.csv").write_text("key,said\n" + "".join(f"{i},good\n" for i in range(50_000)) + '1,"open\n')
    tables = read_rows("key", "said", 100, find_files(str(tmp_path / "large.csv"))[0])
    assert [good.num_rows for good, _ in islice(tables, 3)] == [100] * 3  # the end has not been seen yet
    with pytest.raises(et.DataError, match="unexpected end of data"):
        list(tables)
    write_texts(tmp_path / "in", 2, 500, texts=["good"])
    columns = {"id_column": "key", "text_column": "said"}
    map_files(str(tmp_path / "in"), str(tmp_path / "out"), {"model": str(export)}, rows_per_file=300, **columns)
    assert sorted(pq.read_metadata(path).num_rows for path in (tmp_path / "out").glob("*.parquet")) == [
        100,
        300,
        300,
        300,
    ]


def test_files_are_found_in_folders_by_patterns_and_addresses(export, tmp_path):
    write_texts(tmp_path / "in", 1, 5, ".csv.gz")
    for name in ("_SUCCESS", ".hidden.csv", "_half.parquet", "notes.txt"):
        (tmp_path / "in" / name).write_text("")
    with pytest.warns(et.DataWarning, match=r"^Not read: 1 of 2 files .*notes\.txt"):
        [file] = find_files(str(tmp_path / "in"))
    assert file.endswith("in/0.csv.gz")
    for source in (file, f"{tmp_path}/i*/*.gz"):
        assert find_files(str(source)) == [file]
    odd = (tmp_path / "in").rename(tmp_path / "in[1]")  # a name, not a pattern
    (odd / "notes.txt").unlink()
    (odd / "day.parquet").mkdir()  # as Spark writes it
    with pytest.warns(et.DataWarning, match=r"^Not read: 1 of 2 files .*day\.parquet"):
        assert len(find_files(str(odd))) == 1
    (odd / "day.parquet").rmdir()
    file = file.replace("/in/", "/in[1]/")
    assert find_files(str(odd)) == [file]
    for output in ("memory://results", f"file://{(tmp_path / 'a folder').as_posix()}"):
        columns = {"id_column": "key", "text_column": "said"}
        assert map_files(file, output, {"model": str(export)}, **columns)["texts"] == 5
    with pytest.raises(et.SettingsError, match=r"^memory://results holds files already"):
        map_files(file, "memory://results", {"model": str(export)}, **columns)
    with pytest.raises(et.NotFoundError, match=r"no file named .parquet, .* at 'nowhere'"):
        find_files("nowhere")
    with pytest.raises(et.SettingsError, match="Protocol not known: gopher"):
        find_files("gopher://texts")


def test_output_that_holds_something_is_refused(export, tmp_path):
    write_texts(tmp_path / "in", 1, 5)
    classify(export, tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "_SUCCESS").unlink()  # as a run that was interrupted leaves it
    with pytest.raises(SystemExit, match=r"^SettingsError: .*out holds files already.*interrupted"):
        classify(export, tmp_path / "in", tmp_path / "out")


def test_lines_of_a_text_are_no_rows_and_rows_in_quotes_are(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b'key\tsaid\n1\t"one\tand\nmore, 2\tor 3"\n2\t"hi\n3\tyou\n4\ttoo"\n5\tend\n')
    [(good, bad)] = read_rows("key", "said", 100, find_files(str(tmp_path / "a.tsv"))[0])
    (tmp_path / "text.csv").write_text('key,said\n7,"Numbers:\n1,000 people came.\nThanks, Bob"\n')
    [(fine, none)] = read_rows("key", "said", 100, find_files(str(tmp_path / "text.csv"))[0])
    assert (fine.num_rows, none.num_rows) == (1, 0)
    assert good.to_pylist() == [{"id": "1", "text": "one\tand\nmore, 2\tor 3"}, {"id": "5", "text": "end"}]
    assert [(row["row"], row["id"]) for row in bad.to_pylist()] == [(6, "2")]


def test_results_are_written_by_the_main_thread_which_can_be_interrupted(tmp_path):
    def tables() -> Iterator[pa.Table]:
        assert threading.current_thread() is threading.main_thread()
        yield from (pa.table({"id": range(i, i + 4)}) for i in range(0, 20, 4))

    _write(tables(), LocalFileSystem(), str(tmp_path / "out"), 7)
    sizes = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "out").iterdir())]
    assert sizes == [7, 7, 6]
    assert pd.read_parquet(tmp_path / "out")["id"].sort_values().tolist() == [*range(20)]


def test_what_is_not_finite_is_told_with_an_id(model):
    worker = TextModel(str(model), device="cpu")
    worker.model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(et.CheckpointError, match=r"Among 2 texts from id 7 on: .*not finite"):
        worker(pa.table({"id": [7, 8], "text": ["one", "two"]}))


def test_settings_that_would_be_ignored_are_refused(model, export, tmp_path):
    write_texts(tmp_path / "in", 1, 5)
    ray = ["--engine", "ray"]
    for path, options, said in (
        (export, [*ray, "--num-gpus", "1"], "--cpu leaves them alone"),
        (export, [*ray, "--concurrency", "0"], "concurrency"),
        (export, ["--concurrency", "2"], "need --engine ray"),
        (export, ["--batch-size", "0"], "batch_size"),
    ):
        with pytest.raises(SystemExit, match=f"^SettingsError: .*{said}"):
            classify(path, tmp_path / "in", tmp_path / "out", *options)
    for options, said in (
        (["--data", str(tmp_path / "in"), "--skip-bad"], "need --engine ray"),
        (ray, "Name them with --data"),
    ):
        with pytest.raises(SystemExit, match=f"^SettingsError: .*{said}"):
            main(["extract", "--output", str(tmp_path / "out"), *options])
    with pytest.raises(et.SettingsError, match=r"is an export, which computes on CPUs only"):
        map_files(str(tmp_path / "in"), str(tmp_path / "out"), {"model": str(export)}, engine="ray", num_gpus=0.5)
    with pytest.raises(et.SettingsError, match=r"pooling is 'max'"):
        TextModel(str(model), pooling="max")


def test_machine_that_does_not_see_the_output_says_so(export, tmp_path):
    actor = ModelActor(LocalFileSystem(), str(tmp_path / "labels" / "_seen"), {"model": str(export)})
    texts = pa.table({"id": [1], "text": ["fine"]})
    with pytest.raises(et.SettingsError, match=r"does not see the output .*labels\. Choose"):
        actor(texts)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "_seen").touch()
    assert actor(texts)["id"].to_pylist() == [1]


def test_ray_is_an_extra(export, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    write_texts(tmp_path / "in", 1, 5)
    with pytest.raises(SystemExit, match=r'^MissingExtraError: .*pip install "emotion-tutorial\[ray\]"'):
        classify(export, tmp_path / "in", tmp_path / "out", "--engine", "ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Start two nodes on this machine, with one core and with two, that only this test can talk to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_worker_niceness", "0")  # else what else runs on this machine comes first
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
        ray.init(cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def run_and_kill(folder: Path, export: Path, kill: Callable[[], None] | None = None) -> None:
    """Classify 12,000 texts on the cluster and in this process, and kill something when the first are written."""
    texts = write_texts(folder / "in", 24, 500, texts=[*TEXTS[:-1], "again " * 200])
    columns = {"id_column": "key", "text_column": "said"}
    one, many = (partial(map_files, str(folder / "in"), str(folder / name), **columns) for name in ("one", "many"))
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(many, {"model": str(export)}, engine="ray", batch_size=100, rows_per_file=1000)
        if kill:
            while not (written := len([*(folder / "many").glob("*.parquet")])) and not run.done():
                time.sleep(0.05)
            kill()
            assert 0 < written < 12
        assert run.result()["texts"] == 12_000
    one({"model": str(export)})
    expected, found = (pd.read_parquet(folder / name).set_index("id").sort_index() for name in ("one", "many"))
    assert [*found.index] == [*texts.index]
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)


class TestRay:
    pytestmark = on_a_cluster

    def test_gives_what_one_process_gives_row_by_row(self, cluster, export, tmp_path):
        run_and_kill(tmp_path, export)
        assert len([*(tmp_path / "many").glob("*.parquet")]) > 3

    def test_actor_that_is_killed_costs_no_row(self, cluster, export, tmp_path):
        def kill_one_that_computes() -> None:
            computing: list[psutil.Process] = []
            while not computing:
                others = psutil.Process().children(recursive=True)
                computing = [process for process in others if title(process).endswith(".submit")]
            computing[0].kill()

        def title(process: psutil.Process) -> str:
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                line = "".join(process.cmdline())
                return line if line.startswith("ray::MapWorker(MapBatches(ModelActor)") else ""
            return ""

        run_and_kill(tmp_path, export, kill_one_that_computes)

    def test_node_that_is_lost_costs_no_row(self, cluster, export, tmp_path):
        [larger] = cluster.worker_nodes
        run_and_kill(tmp_path, export, lambda: cluster.remove_node(larger, allow_graceful=False))
        cluster.add_node(num_cpus=2)

    def test_commands_name_what_is_wrong_and_write_vectors_and_bad_rows(
        self, cluster, model, tiny_checkpoint, tmp_path
    ):
        texts = write_texts(tmp_path / "in", 2, 20, ".parquet")
        pd.DataFrame({"key": [-1, -2], "said": ["fine", None]}).to_parquet(tmp_path / "in" / "bad.parquet")
        with pytest.raises(SystemExit, match=r"^DataError: .*bad\.parquet, row 1, id -2: no text"):
            classify(model, tmp_path / "in", tmp_path / "out", "--engine", "ray")
        with pytest.raises(SystemExit, match=r"^NotFoundError: .*nowhere"):
            classify(tmp_path / "nowhere", tmp_path / "in", tmp_path / "out", "--engine", "ray", "--skip-bad")
        command = ["extract", "--engine", "ray", "--data", str(tmp_path / "in"), "--checkpoint", str(tiny_checkpoint)]
        command += ["--pooling", "mean", "--precision", "float32", "--id-column", "key", "--text-column", "said"]
        main([*command, "--skip-bad", "--output", str(tmp_path / "states")])
        found = pd.read_parquet(tmp_path / "states").set_index("id").drop(index=-1).sort_index()
        assert [*found.index] == [*texts.index]
        assert len(pd.read_parquet(tmp_path / "states" / "_bad")) == 1
        encoder, tokenizer = et.load_encoder(tiny_checkpoint, "cpu"), et.load_tokenizer(tiny_checkpoint)
        split = Dataset.from_dict({"text": texts["said"].tolist()})
        with pytest.warns(et.DataWarning, match="were cut"):
            states = et.extract_hidden_states(
                split, encoder, tokenizer, pooling="mean", precision="float32", cache=False
            )
        np.testing.assert_allclose(np.stack(found["vector"]), states["hidden_state"][:], atol=1e-5)
