"""Find and read files of any number of texts with ids, and tell the rows that are malformed."""

import csv
import io
import re
import warnings
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, TypeAlias

import fsspec
import pyarrow as pa
import pyarrow.parquet
from tqdm.auto import tqdm

from emotion_tutorial.exceptions import DataError, DataWarning, NotFoundError, SettingsError, damage_is_said
from emotion_tutorial.texts import HALF_CHARACTER, shorten

FORMATS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz")
CHECKED = pa.schema({"file": pa.string(), "row": pa.int64(), "id": pa.string(), "reason": pa.string()})
"""A malformed row: its place, from 0 in a parquet file and its last line in others, and what is wrong with it. A row of
this without a reason says how many rows of a file are in order, and of which type their ids are."""
HIDDEN_ROW = "a field in quotes has a line that looks like a row (if it is none, save the file as parquet)"

Tables: TypeAlias = Iterator[pa.Table]
Reader: TypeAlias = Callable[[str], Iterator[tuple[pa.Table, pa.Table]]]
Row: TypeAlias = tuple[int, Any, Any, str]


def locate(address: str) -> tuple[Any, str]:
    """Return the file system of a path or an address, and the path there.

    Raises
    ------
    SettingsError
        If fsspec does not know the address, or what opens it is not installed.
    """
    try:
        return fsspec.core.url_to_fs(str(address))
    except (ImportError, ValueError) as error:
        raise SettingsError(f"{address} cannot be opened: {error}. Install that, or give another address.") from error


def find_files(source: str) -> list[str]:
    """Return the addresses of the file, the files in a folder, or those that fit a pattern, in order.

    Those whose names begin with `_` or `.` are passed over. What else isn't read, such as files in another format and
    folders in the folder, is named in a `DataWarning`.

    Raises
    ------
    NotFoundError
        If there is none.
    SettingsError
        As `locate` does.
    """
    system, path = locate(source)
    if system.isfile(path):
        found = [path]
    else:
        found = system.ls(path, detail=False) if system.isdir(path) else system.glob(path)
    found = [name for name in sorted(found) if name.rstrip("/").rpartition("/")[2][:1] not in "_."]
    files = [name for name in found if name.lower().endswith(FORMATS) and system.isfile(name)]
    if not files:
        raise NotFoundError(
            f"There is no file named {', '.join(FORMATS)} at {shorten(source, 300)}. Check the address."
        )
    if others := [name for name in found if name not in files]:
        said = f"Not read: {len(others)} of {len(found)} files and folders at {shorten(source, 200)}, as {others[0]}"
        warnings.warn(f"{said}. What is read ends in {', '.join(FORMATS)}.", DataWarning, stacklevel=3)
    return [system.unstrip_protocol(name) for name in files]


def read_rows(id_column: str, text_column: str, rows: int, address: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield the rows of a file, so many at a time: `id` and `text` of those in order, and `CHECKED` of the others.

    Raises
    ------
    DataError
        If the file is damaged, or does not have exactly one column of each name.
    """
    name = address.removeprefix("file://")
    parse = _read_parquet if name.lower().endswith(FORMATS[0]) else _read_delimited
    with damage_is_said(name, "Correct the file."), fsspec.open(address, "rb", compression="infer") as file:
        found = parse(file, name, id_column, text_column)
        while some := list(islice(found, rows)):
            checked = [(*row, said or _fault(id=row[1], text=row[2])) for *row, said in some]
            good = [(key, text) for _, key, text, fault in checked if not fault]
            bad = [(name, row, _printable(key), fault) for row, key, _, fault in checked if fault]
            yield _as_table(good, ["id", "text"]), _as_table(bad, CHECKED.names).cast(CHECKED)


def rows_in_order(read: Reader, address: str) -> Tables:
    """Yield the rows of a file that are in order."""
    return (good for good, _ in read(address) if good.num_rows)


def rows_checked(read: Reader, address: str) -> Tables:
    """Yield the rows of a file that are malformed, and how many are in order."""
    for good, bad in read(address):
        summary = [(address.removeprefix("file://"), good.num_rows, str(good["id"].type), None)]
        yield pa.concat_tables([_as_table(summary if good.num_rows else [], CHECKED.names).cast(CHECKED), bad])


def malformed_rows(checked: Tables, skip_bad: bool, counts: dict[str, int]) -> Tables:
    """Yield what `rows_checked` found malformed, and add to `counts` how many rows are, and how many `texts` there are.

    Raises
    ------
    DataError
        If a row is malformed, and not to be skipped; or if some files have other ids than others.
    """
    types: dict[str, str] = {}
    for table in tqdm(checked, "reading", unit="batch", delay=2):
        bad = table.filter(table["reason"].is_valid())
        for summary in table.filter(table["reason"].is_null()).to_pylist():
            counts["texts"] += summary["row"]
            types.setdefault(summary["id"], summary["file"])
        if len(types) > 1:
            found = " and ".join(f"{kind} in {file}" for kind, file in types.items())
            raise DataError(f"The ids are {found}. Save all of them as strings, or all as whole numbers.")
        if bad.num_rows and not skip_bad:
            row = bad.slice(0, 1).to_pylist()[0]
            advice = "Correct it, or set such rows aside with --skip-bad."
            raise DataError(f"{row['file']}, row {row['row']}, id {row['id']}: {row['reason']}. {advice}")
        counts["bad"] += bad.num_rows
        if bad.num_rows:
            yield bad


def _read_parquet(file: Any, name: str, *columns: str) -> Iterator[Row]:
    parquet = pyarrow.parquet.ParquetFile(file, pre_buffer=False)  # it would keep what has been read
    _require_columns(name, parquet.schema_arrow.names, columns)
    batches = parquet.iter_batches(1024, columns=[*columns])
    pairs = chain.from_iterable(
        zip(*(batch[column].to_pylist() for column in columns), strict=True) for batch in batches
    )
    return ((row, key, text, "") for row, (key, text) in enumerate(pairs))


def _read_delimited(file: Any, name: str, *columns: str) -> Iterator[Row]:
    lines = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    reader = csv.reader(lines, delimiter="\t" if ".tsv" in name[-7:].lower() else ",", strict=True)
    try:
        header = next(reader, [])
        _require_columns(name, header, columns)
        id_place, text_place = map(header.index, columns)
        for fields in reader:
            if len(fields) == len(header):
                hidden = _find_hidden_row(fields, id_place, reader.dialect.delimiter)
                fault = f"{HIDDEN_ROW}: {shorten(hidden)}" if hidden else ""
                yield reader.line_num, fields[id_place], fields[text_place], fault
            elif fields:
                yield reader.line_num, None, None, f"{len(fields)} fields, not {len(header)}: {shorten(fields)}"
    except csv.Error as error:  # which does not tell where the next row begins
        advice = "Close the quotes, and double those within a text; a field has at most 131,072 characters."
        raise DataError(f"{name}, line {reader.line_num}: {error}. {advice}") from error


def _find_hidden_row(fields: list[str], id_place: int, delimiter: str) -> str:
    """Return a line in a row of several lines that has as many fields, and an id that could be the next; or nothing.

    For the csv module, a text that begins with a quote goes on until the next one, over all the rows between them.
    """
    for field in fields:
        for line in re.split(r"\r\n?|\n", field)[1:]:
            parts = line.split(delimiter)
            if len(parts) == len(fields) and _could_follow(parts[id_place], fields[id_place]):
                return line
    return ""


def _could_follow(key: str, before: str) -> bool:
    """Tell whether an id could be that of a next row: the next number, a long one, or with marks in the same places."""
    if key.isdecimal() and before.isdecimal():
        return int(key) == int(before) + 1 or (len(before) >= 6 and abs(len(key) - len(before)) <= 1)
    has_digits = re.search(r"\d", key) and re.search(r"\d", before)
    return bool(has_digits) and re.sub(r"\w", "x", key) == re.sub(r"\w", "x", before)


def _require_columns(name: str, there: list[str], columns: tuple[str, ...]) -> None:
    for option, column in zip(("--id-column", "--text-column"), columns, strict=True):
        if (count := there.count(column)) != 1:
            found = f"{name} has {count or 'no'} column {column!r} among {shorten(there, 300)}"
            raise DataError(f"{found}. Name one with {option}. Each row needs an id, because rows change their places.")


def _fault(**given: Any) -> str:
    """Return what is wrong with an id or a text, or nothing."""
    for name, value in given.items():
        if value is None or value == "":
            return f"no {name}"
        if not isinstance(value, str) and (name == "text" or type(value) is not int):
            return f"the {name} is {shorten(value)}, not a string{' or a whole number' * (name == 'id')}"
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"the {name} is {value}, beyond 64 bits with a sign: save it as a string"
        if isinstance(value, str) and HALF_CHARACTER.search(value):
            return f"the {name} is not UTF-8"
    return ""


def _printable(key: Any) -> str | None:
    return None if key in (None, "") else str(key).encode("utf-8", "replace").decode()


def _as_table(rows: list[tuple[Any, ...]], names: list[str]) -> pa.Table:
    return pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})
