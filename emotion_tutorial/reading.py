"""One file in, a frame of texts and labels out. pandas parses; the checks are in data.py."""

import codecs
import csv
import warnings
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from emotion_tutorial.exceptions import DataError, DataWarning, NotFoundError

FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def file_format(path: Path) -> str | None:
    """Return which of `FORMATS` a file's name says, compressed or not; None if none of them."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def read_file(
    path: str | Path, text_column: str = "text", label_column: str = "label", encoding: str = "utf-8"
) -> pd.DataFrame:
    """Read a file of labelled texts, without converting anything: "NA", "007" and "1e5" stay texts.

    Parameters
    ----------
    path
        A `.csv`, `.tsv`, `.json` (an array of objects, or one object per line), `.jsonl`, `.parquet` or `.txt`
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
    NotFoundError
        If there is no such file.
    DataError
        If the file's format is unknown or its content does not have it, or a column is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}. Check the path; it is relative to {Path.cwd()}.")
    form = file_format(path)
    if form is None:
        raise DataError(f"{path}: files named {path.suffix!r} are not supported. Save it as one of {_list(FORMATS)}.")
    try:
        if form == ".parquet":
            return _read_parquet(path, text_column, label_column)
        if form == ".txt":
            return _read_lines(path, text_column, label_column, encoding)
        if form in (".csv", ".tsv"):
            return _read_delimited(path, text_column, label_column, encoding, "\t" if form == ".tsv" else ",")
        return _read_json(path, text_column, label_column, encoding, lines=form == ".jsonl")
    except (UnicodeError, LookupError) as error:
        raise DataError(
            f"{path} is not in the encoding {encoding!r}: {error}. Save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'), "
            'or name its encoding, such as encoding="cp1252" (Windows, Western European) or encoding="utf-16".'
        ) from error
    except Exception as error:
        if isinstance(error, DataError) or getattr(error, "errno", None):  # the system says itself what is wrong
            raise
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(f"{path} could not be read as {form}: {reason}. Correct the file, or save it again.") from error


def require_columns(source: str, found: Iterable[Any], *wanted: str, advice: str = "") -> None:
    """Raise a DataError unless each of the wanted columns is there exactly once, and they differ."""
    if len(set(wanted)) < len(wanted):
        raise DataError(f"{source}: text_column= and label_column= both name {wanted[0]!r}. Name the two columns.")
    names = [str(name) for name in found]
    for column in wanted:
        if column not in names:
            raise DataError(
                f"{source}: no column {column!r}. It has {_list(names[:20]) or 'no columns'}; name the right ones with "
                f"text_column= and label_column=.{advice}"
            )
        if names.count(column) > 1:
            raise DataError(f"{source}: {names.count(column)} columns are named {column!r}. Rename all but one.")


def shorten(thing: object) -> str:
    """Return how a thing is written in a message: not more than 60 characters of it."""
    return shown if len(shown := repr(thing)) <= 60 else shown[:60] + " ..."


def _list(things: Sequence[object]) -> str:
    return ", ".join(map(shorten, things))


def _open(path: Path, encoding: str, newline: str | None = None) -> TextIOWrapper:
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"  # skips a byte order mark
    return LocalFileSystem().open(str(path), "rt", encoding=encoding, newline=newline, compression="infer")


def _read_parquet(path: Path, *columns: str) -> pd.DataFrame:
    require_columns(str(path), pq.read_schema(path).names, *columns)
    return pd.read_parquet(path, columns=list(columns)).astype(object)


def _read_lines(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    with _open(path, encoding) as file:
        lines = file.read().split("\n")  # not splitlines(), which also splits at characters inside a text
    rows = []
    for number, line in enumerate(lines, 1):
        text, separator, label = line.rpartition(";")
        if separator:
            rows.append((text.strip(), label.strip()))
        elif line.strip():
            raise DataError(
                f"{path}, line {number}: no ';' between text and label in {shorten(line.strip())}. Write 'text;label' "
                "on every line, or save the data as .csv."
            )
    return pd.DataFrame(rows, columns=[text_column, label_column], dtype=object)


def _read_delimited(path: Path, text_column: str, label_column: str, encoding: str, usual: str) -> pd.DataFrame:
    headers = {}
    for separator in SEPARATORS:
        with _open(path, encoding, newline="") as file:
            header = next(filter(None, csv.reader(file, delimiter=separator)), [])
        headers[separator] = [name.strip() for name in header]
    fitting = [separator for separator, names in headers.items() if {text_column, label_column} <= set(names)]
    if usual not in fitting:
        best = fitting[0] if fitting else max(headers, key=lambda separator: len(headers[separator]))
        advice = f" If its first line is data, write {text_column + usual + label_column!r} above it."
        require_columns(str(path), headers[best], text_column, label_column, advice=advice)
        warnings.warn(
            f"{path}: {SEPARATORS[best]} separate the columns, not {SEPARATORS[usual]} as the name of the file says. "
            "It was read that way.",
            DataWarning,
            stacklevel=4,
        )
        usual = best
    require_columns(str(path), headers[usual], text_column, label_column)
    with _open(path, encoding, newline="") as file, warnings.catch_warnings():
        # pandas only warns about a first row that is longer than the header, and drops what does not fit.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(file, sep=usual, dtype=str, na_filter=False, index_col=False)
    frame.columns = frame.columns.str.strip()
    return frame[[text_column, label_column]]


def _read_json(path: Path, text_column: str, label_column: str, encoding: str, *, lines: bool) -> pd.DataFrame:
    with _open(path, encoding) as file:
        if not lines:
            lines = file.read(1000).lstrip()[:1] != "["
            file.seek(0)
        frame = pd.read_json(file, lines=lines, dtype=False)
    if len(frame.columns) or not frame.empty:
        require_columns(str(path), frame.columns, text_column, label_column)
    return frame.reindex(columns=[text_column, label_column])
