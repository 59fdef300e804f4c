"""One file in, a frame of texts and labels out: pandas, pyarrow and json parse, data.py checks what comes out."""

import codecs
import csv
import json
import warnings
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import ZipFile

import pandas as pd
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from emotion_tutorial.exceptions import DataError, DataWarning
from emotion_tutorial.texts import shorten

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def file_format(path: Path) -> str | None:
    """Return which of the formats of `READERS` a file's name says, compressed or not; None if none of them."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSIONS]
    return suffixes[-1] if suffixes and suffixes[-1] in READERS else None


def read_file(
    path: str | Path, text_column: str = "text", label_column: str = "label", encoding: str = "utf-8"
) -> pd.DataFrame:
    """Read a file of labelled texts, without converting anything: "NA", "007" and "1e5" stay texts.

    Parameters
    ----------
    path
        A `.csv`, `.tsv`, `.json` or `.jsonl` (an array of objects, or one object per line), `.parquet` or `.txt`
        file. All but parquet may be compressed, as in `reviews.csv.gz`. A `.txt` file has lines of `text;label` and
        no header; the last `;` separates, so texts may contain others. If the columns of a `.csv` or `.tsv` file
        are there only under another of the separators `,` `;` tab `|`, it is read with that one, and a `DataWarning`
        says so.
    text_column, label_column
        Names of the columns to read. In `.txt` files there are no names.
    encoding
        Of text files. UTF-8 may begin with a byte order mark.

    Returns
    -------
    DataFrame
        With these two columns, one row per text. What is missing is missing; no row is left out except blank lines.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file's format is unknown or its content does not have it, or a column is not there.
    """
    path = Path(path)
    form = file_format(path)
    if form is None:
        raise DataError(f"{path}: files named {path.suffix!r} are not supported. Save it as {', '.join(READERS)}.")
    try:
        return READERS[form](path, text_column, label_column, encoding)
    except (UnicodeError, LookupError) as error:
        reason = str(error)
        if isinstance(error, UnicodeDecodeError):
            with _open(path, encoding, errors="replace") as file:
                line = next((number for number, text in enumerate(file, 1) if "\ufffd" in text), 0)
            reason = f"line {line} has the byte 0x{error.object[error.start]:02x}, {error.reason}"
        raise DataError(
            f"{path} is not in the encoding {encoding!r}: {reason}. If it is text, name its encoding, such as "
            'encoding="cp1252" (Windows, Western European) or "utf-16", or save it as UTF-8 (in a spreadsheet: '
            "'CSV UTF-8'). If it is a spreadsheet, an archive or parquet, save it as CSV or give it its right suffix."
        ) from error
    except Exception as error:
        if isinstance(error, DataError | MemoryError) or getattr(error, "errno", None):  # they say what is wrong
            raise
        reason = " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
        quotes = " Put quotes around texts with separators, quotes or line breaks." if form in (".csv", ".tsv") else ""
        raise DataError(f"{path} could not be read as {form}: {reason}.{quotes} Correct the file.") from error


def require_columns(source: str, found: Iterable[Any], *wanted: str, advice: str = "") -> None:
    """Raise a DataError unless each of the wanted columns is there exactly once, and they differ."""
    if len(set(wanted)) < len(wanted):
        raise DataError(f"{source}: text_column= and label_column= both name {wanted[0]!r}. Name the two columns.")
    names = list(found)
    for column in wanted:
        if column not in names:
            there = ", ".join(map(shorten, names[:10])) or "no columns"
            advice = f"name the right ones with text_column= and label_column=.{advice}"
            raise DataError(f"{source}: no column {column!r}. It has {there}; {advice}")
        if names.count(column) > 1:
            raise DataError(f"{source}: {names.count(column)} columns are named {column!r}. Rename all but one.")


def _open(path: Path, encoding: str, **options: str) -> TextIOWrapper:
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"  # skips a byte order mark
    if path.suffix.lower() == ".zip" and len(names := ZipFile(path).namelist()) != 1:
        raise DataError(f"{path} holds {len(names)} files. Unpack it, and give the one to read.")
    return LocalFileSystem().open(str(path), "rt", encoding=encoding, compression="infer", **options)


def _read_parquet(path: Path, text_column: str, label_column: str, _: str) -> pd.DataFrame:
    require_columns(str(path), pq.read_schema(path).names, text_column, label_column)
    table = pq.read_table(path, columns=[text_column, label_column])
    table.validate(full=True)  # texts that are not UTF-8
    return table.to_pandas(ignore_metadata=True)


def _read_lines(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    rows = []
    with _open(path, encoding) as file:
        for number, line in enumerate(file, 1):
            text, separator, label = line.rpartition(";")
            if separator:
                rows.append((text.strip(), label.strip()))
            elif line.strip():
                raise DataError(f"{path}, line {number}: no ';' between text and label in {shorten(line.strip())}.")
    return pd.DataFrame(rows, columns=[text_column, label_column], dtype=object)


def _read_delimited(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    usual = "\t" if file_format(path) == ".tsv" else ","
    with _open(path, encoding, newline="") as file, warnings.catch_warnings():
        start = list(islice(file, 100))
        first_rows = {each: next(filter(None, csv.reader(start, delimiter=each)), []) for each in (usual, *SEPARATORS)}
        headers = {separator: [name.strip() for name in row] for separator, row in first_rows.items()}
        fitting = [separator for separator, names in headers.items() if {text_column, label_column} <= set(names)]
        best = (fitting or sorted(headers, key=lambda separator: -len(headers[separator])))[0]
        advice = f" If its first line is data, write {text_column + usual + label_column!r} above it."
        require_columns(str(path), headers[best], text_column, label_column, advice=advice)
        if best != usual:
            message = f"{path}: {SEPARATORS[best]} separate the columns, not {SEPARATORS[usual]} as its name says."
            warnings.warn(message, DataWarning, stacklevel=4)  # at the caller of load_splits
        # pandas only warns about a first row that is longer than the header, and drops what does not fit.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        file.seek(0)
        frame = pd.read_csv(file, sep=best, dtype=str, na_filter=False, index_col=False)
    frame.columns = headers[best]
    return frame[[text_column, label_column]]


def _read_json(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    rows = []
    with _open(path, encoding) as file:
        is_array = file.read(1000).lstrip().startswith("[")
        file.seek(0)
        for number, found in enumerate(json.load(file) if is_array else file, 1):
            if not is_array and not found.strip():
                continue
            where = f"{path}, {'object' if is_array else 'line'} {number}"
            try:
                thing = found if is_array else json.loads(found)
                rows.append((thing[text_column], thing[label_column]))
            except (KeyError, TypeError):
                require_columns(where, thing if isinstance(thing, dict) else [], text_column, label_column)
            except (ValueError, RecursionError) as error:
                reason = str(error).partition(":")[0]  # what follows counts from the start of the line
                raise DataError(f"{where}: not JSON ({reason}). Write one object per line, or one array.") from error
    return pd.DataFrame(rows, columns=[text_column, label_column], dtype=object)


Reader: TypeAlias = Callable[[Path, str, str, str], pd.DataFrame]
READERS: dict[str, Reader] = {".csv": _read_delimited, ".tsv": _read_delimited, ".txt": _read_lines}
READERS |= {".json": _read_json, ".jsonl": _read_json, ".parquet": _read_parquet}
"""What reads a file, by what its name ends with."""
