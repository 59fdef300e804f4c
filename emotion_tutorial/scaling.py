"""Labels or vectors for files of any number of texts, in one process or on a Ray cluster."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, count
from socket import gethostname
from typing import Any, Literal
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
from pyarrow.fs import FileType, FSSpecHandler, PyFileSystem
from tqdm.auto import tqdm

from emotion_tutorial.exceptions import DataError, SettingsError, TutorialError, needed_from
from emotion_tutorial.onnx_classifier import ABOUT
from emotion_tutorial.replacing import as_folder
from emotion_tutorial.text_files import (
    Tables,
    find_files,
    locate,
    malformed_rows,
    read_rows,
    rows_checked,
    rows_in_order,
)
from emotion_tutorial.text_model import TextModel
from emotion_tutorial.texts import require_number

FINISHED, BAD = "_SUCCESS", "_bad"
"""In the output: the file that is written last, and a folder. pandas, Arrow and Spark pass over names that begin so."""
ROWS_PER_FILE, BYTES_PER_TASK = 100_000, 1 << 20
"""Of the output, and of the texts that an actor is given at a time."""
ACTOR_CORES, TASK_CORES = 0.9, 0.1
"""What an actor reserves of a core, and what a task that reads or writes does. If actors reserve all cores of a small
cluster, reading and writing wait; with these there is room on every core, also when only one is left. And because they
differ, Ray does not read a file where it is computed, so that all actors share a single large file."""


class ModelActor:
    """A `TextModel` in an actor, loaded with the first texts: of an earlier error Ray passes on the words alone.

    Before that it looks for a file in the output, so that machines that don't see the same folder are noticed at once.
    """

    def __init__(self, place: Any, seen: str, model: dict[str, Any]):
        self.place, self.seen, self.arguments = place, seen, model
        self.model: TextModel | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return what the model does."""
        if self.model is None:
            if self.place.get_file_info(self.seen).type == FileType.NotFound:
                folder = self.seen.rpartition("/")[0]
                advice = "Choose a folder or an address that all machines see."
                raise SettingsError(f"{gethostname()} does not see the output {folder}. {advice}")
            self.model = TextModel(**self.arguments)
        return self.model(table)


def map_files(
    source: str,
    output: str,
    model: dict[str, Any],
    *,
    id_column: str = "id",
    text_column: str = "text",
    engine: Literal["local", "ray"] = "local",
    batch_size: int = 1024,
    concurrency: int | None = None,
    num_gpus: float = 0,
    skip_bad: bool = False,
    rows_per_file: int = ROWS_PER_FILE,
) -> dict[str, Any]:
    """Give the texts of any number of files to a `TextModel`, and write what it returns to a folder of parquet files.

    The files are read twice: a first pass looks for malformed rows, so that none turns up after hours of computing.
    Both engines give the same results: in float32, scores agree to 0.00001. An int8 export rounds by batch, so that its
    last digits depend on which rows are computed together, and two labels of nearly equal scores may change places.

    Parameters
    ----------
    source
        A `.parquet`, `.csv` or `.tsv` file (the latter two in UTF-8, perhaps with `.gz`), a folder of them, or a
        pattern such as `texts/*.csv`; on this machine, or any address that fsspec knows, such as `s3://bucket/texts`.
    output
        A folder, likewise, that is empty or not there. The file `_SUCCESS`, with what is returned, is written last.
    model
        The arguments of `TextModel`.
    id_column, text_column
        Names of two columns. Ids are strings or whole numbers, and in a CSV file strings. A row keeps its id, and not
        its place. Nobody checks that ids differ.
    engine
        `local` computes in this process. `ray` computes on the cluster that `RAY_ADDRESS` names, or that runs on this
        machine, and otherwise starts one here for as long as it takes.
    batch_size, concurrency, num_gpus
        As in Ray Data: how many rows the model is given together, how many actors there are (None: one for each core,
        or as many as the GPUs are enough for), and how many GPUs each has, which may be a part of one. The latter
        two are for Ray alone.
    skip_bad
        Whether malformed rows are written to the folder `_bad` in the output, with the reason: those without an id or
        a text (an empty one counts as missing), with an id or a text of a wrong kind or not in UTF-8, with more or
        fewer fields than the header, or with a line in quotes that looks like a row. Otherwise the first is an error.
    rows_per_file
        Of the output. With Ray, at least as many.

    Returns
    -------
    dict
        The `output`, how many `files` were read, how many rows the output has (`texts`), and how many are in `_bad`
        (`bad`). The rows of the output have been counted: there are as many as were found in order.

    Raises
    ------
    DataError
        If a file or a row is malformed, or a row is missing in the output.
    NotFoundError, SettingsError
        If there is no such file, if the output is not empty or not seen by all machines, if an export is to compute on
        GPUs, or if the cluster has no room for an actor.
    MissingExtraError
        If Ray is not installed.
    """
    require_number(1, batch_size=batch_size, rows_per_file=rows_per_file)
    require_number(1, concurrency=1 if concurrency is None else concurrency)
    require_number(0.0, num_gpus=num_gpus)
    if engine == "local" and (concurrency is not None or num_gpus):
        raise SettingsError("--num-gpus and --concurrency need --engine ray. Add or omit them.")
    if num_gpus and model.get("device") == "cpu":
        raise SettingsError("--num-gpus reserves GPUs, and --cpu leaves them alone. Omit one of them.")
    files, (system, folder) = find_files(source), locate(output)
    if system.exists(folder) and system.ls(folder):
        advice = "Delete them, if they are of a run that was interrupted, or choose another folder for --output."
        raise SettingsError(f"{output} holds files already. {advice}")
    read, place = partial(read_rows, id_column, text_column, batch_size), PyFileSystem(FSSpecHandler(system))
    how = _in_process(model) if engine == "local" else _on_ray(model, batch_size, concurrency, num_gpus)
    counts = {"texts": 0, "bad": 0}
    with how as (stream, compute):
        checked = stream(files, partial(rows_checked, read))
        _write(malformed_rows(checked, skip_bad, counts), place, f"{folder}/{BAD}", rows_per_file)
        if not counts["texts"]:
            raise DataError(f"{source} has no row with an id and a text. Give other files.")
        compute(files, partial(rows_in_order, read), counts["texts"], place, folder, rows_per_file)
    system.invalidate_cache()
    written = pyarrow.dataset.dataset(folder, filesystem=place, format="parquet").count_rows()
    if written != counts["texts"]:
        why = "Did the files change, or did another run write there? Choose another folder, and run it again."
        raise DataError(f"{output} has {written} rows for {counts['texts']} texts. {why}")
    done = {"output": output, "files": len(files), **counts}
    system.pipe_file(f"{folder}/{FINISHED}", json.dumps(done).encode())
    return done


@contextmanager
def _in_process(model: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield a function that returns what another reads in files, and one that writes what the model makes of it."""
    worker = TextModel(**model)

    def stream(files: list[str], read: Callable[[str], Tables]) -> Tables:
        return chain.from_iterable(map(read, files))

    def compute(files: list[str], read: Callable[[str], Tables], total: int, *where: Any) -> None:
        def results() -> Tables:
            with tqdm(total=total, unit="text", delay=2) as bar:
                for table in stream(files, read):
                    yield worker(table)
                    bar.update(table.num_rows)

        _write(results(), *where)

    yield stream, compute


@contextmanager
def _on_ray(model: dict[str, Any], batch_size: int, concurrency: int | None, num_gpus: float) -> Iterator[Any]:
    """Do as `_in_process` does, on a cluster. Errors of this package and of the system are raised as themselves."""
    with needed_from("ray"):
        import ray
        from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy

    if (saved := as_folder(model["model"])).is_dir():
        model = model | {"model": str(saved.absolute())}
        if num_gpus and (saved / ABOUT).is_file():
            raise SettingsError(f"{saved} is an export, which computes on CPUs only. Name the saved model instead.")
    model = model | {"threads": 1} | ({} if num_gpus else {"device": "cpu"})
    context = DataContext.get_current().copy()
    context.target_max_block_size, context.raise_original_map_exception = BYTES_PER_TASK, True

    def load(files: list[str], read: Callable[[str], Tables]) -> Dataset:
        def read_each(batch: Any) -> Iterator[Any]:
            for address in batch["item"]:
                yield from read(str(address))

        # Without a limit, as many files would be read at once as there are tenths of cores, each in a process.
        readers = TaskPoolStrategy(size=max(1, int(ray.cluster_resources().get("CPU", 1))))
        return ray.data.from_items(files).map_batches(read_each, compute=readers, batch_size=1, num_cpus=TASK_CORES)

    def stream(files: list[str], read: Callable[[str], Tables]) -> Tables:
        yield from load(files, read).iter_batches(batch_size=None, batch_format="pyarrow")

    def compute(files: list[str], read: Callable[[str], Tables], _: int, place: Any, folder: str, rows: int) -> None:
        has = ray.cluster_resources()
        cores, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
        on_gpus = gpus * int(1 / num_gpus) if 0 < num_gpus < 1 else int(gpus / (num_gpus or 1))
        size = concurrency or (min(cores - 1, on_gpus) if num_gpus else cores)
        if size < 1 or (num_gpus and on_gpus < 1):
            raise SettingsError(
                f"{cores} cores and {gpus} GPUs have no room for an actor. Add some, or lower --num-gpus."
            )
        options: dict[str, Any] = {"num_gpus": num_gpus} if num_gpus else {"num_cpus": ACTOR_CORES}
        # Without this, tokenizing would take a thread for each core in each actor.
        options["runtime_env"] = {"env_vars": {"TOKENIZERS_PARALLELISM": "false"}}
        seen = f"{folder}/_{uuid4().hex}"
        options |= {"fn_constructor_args": (place, seen, model), "batch_size": batch_size, "batch_format": "pyarrow"}
        computed = load(files, read).map_batches(ModelActor, compute=ActorPoolStrategy(size=size), **options)
        light = {"num_cpus": TASK_CORES}
        place.create_dir(folder)
        place.open_output_stream(seen).close()
        try:
            computed.write_parquet(folder, filesystem=place, min_rows_per_file=rows, ray_remote_args=light)
        finally:
            with suppress(OSError):  # what failed before that has to be told
                place.delete_file(seen)

    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False)
    try:
        with DataContext.current(context):
            yield stream, compute
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        raise (cause if isinstance(cause, TutorialError | OSError) else error) from None
    finally:
        if started:
            ray.shutdown()


def _write(tables: Tables, place: Any, folder: str, rows: int) -> None:
    """Write files of so many rows, under names that another run does not have."""
    run, kept = uuid4().hex, next(tables, None)
    for number in count():
        while kept is not None and kept.num_rows < rows and (more := next(tables, None)) is not None:
            kept = pa.concat_tables([kept, more])
        if kept is None or not kept.num_rows:
            return
        place.create_dir(folder)
        pyarrow.parquet.write_table(kept[:rows], f"{folder}/{run}-{number:06}.parquet", filesystem=place)
        kept = kept[rows:]
