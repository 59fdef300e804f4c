"""Read one file of texts and labels; pandas, pyarrow and json parse it, and data.py checks the result."""

import codecs
import csv
import json
import re
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from io import StringIO, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from datasets import Dataset, Features
from fsspec.implementations.local import LocalFileSystem

from emotion_tutorial.exceptions import DataError, DataWarning, SettingsError
from emotion_tutorial.texts import shorten

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LONG_LINE = 10_000
"""Lines from this length are shortened to look for quotes in, because the csv module refuses long fields."""
QUOTES = "Put quotes around texts with separators, quotes or line breaks."
RECORDS = 'Write one object per line, or one array of objects; pandas does with DataFrame.to_json(orient="records").'


class MissingLabelsError(DataError):
    """The column of texts is there, but the column of labels is not."""


def file_format(path: Path) -> str | None:
    """Return the format of `READERS` that a file's name announces, compressed or not; None if there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSIONS]
    return suffixes[-1] if suffixes and suffixes[-1] in READERS else None


def read_file(
    path: str | Path, text_column: str = "text", label_column: str = "label", encoding: str = "utf-8"
) -> pd.DataFrame | Dataset:
    """Read a file of labeled texts without converting anything: "NA", "007" and "1e5" stay texts.

    Parameters
    ----------
    path
        A `.csv`, `.tsv`, `.json` or `.jsonl` (an array of objects, or one object per line), `.parquet` or `.txt`
        file. All but parquet may be compressed, as in `reviews.csv.gz`. A `.txt` file has lines of `text;label` and
        no header; the last `;` separates, so texts may contain others. A carriage return alone belongs to the text,
        unless no line ends in another way.
    text_column, label_column
        Names of the columns to read. A `.txt` file has no names.
    encoding
        The encoding of a text file. UTF-8 may begin with a byte order mark.

    Returns
    -------
    DataFrame or Dataset
        The two columns, one row per text; a `Dataset` if a parquet file brings names for its labels. Missing values
        stay missing. No row is left out except blank lines.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the format of the file is unknown, its content does not follow the format, or a column is not there.

    Notes
    -----
    If the columns of a `.csv` or `.tsv` file are found only with another of the separators `,` `;` tab `|`, that one
    is used, and a `DataWarning` says so. A first line such as `sep=;`, which is meant for Excel, is obeyed.

    Quotes are doubled inside a text in quotes, or have a backslash in front of them, as the rows of the file demand; in
    the second case a backslash may have one in front of it, too. Spaces between a separator and a quote are skipped.
    If neither reading fits a file that is separated by tabs, its quotes are taken as part of the texts. A field in
    quotes that goes over several lines and seems to contain whole rows causes a `DataWarning`.
    """
    if wrong := [given for given in (text_column, label_column, encoding) if not isinstance(given, str)]:
        raise SettingsError(f"{wrong[0]!r} is no name of a column or an encoding. Give strings.")
    path = Path(path)
    form = file_format(path)
    if form is None:
        raise DataError(f"{path}: files named {path.suffix!r} are not supported. Save it as {', '.join(READERS)}.")
    try:
        return READERS[form](path, text_column, label_column, encoding)
    except (UnicodeError, LookupError) as error:
        reason = str(error)
        if isinstance(error, UnicodeDecodeError):
            # UTF-8 texts may have a \ufffd of their own, while only some encodings can escape any byte.
            is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
            errors, mark = ("surrogateescape", "[\udc80-\udcff]") if is_utf8 else ("replace", "\ufffd")
            with _open(path, encoding, errors=errors) as file:
                line = next((number for number, text in enumerate(file, 1) if re.search(mark, text)), 0)
            reason = f"line {line} has the byte 0x{error.object[error.start]:02x}, {error.reason}"
        raise DataError(
            f"{path} is not in the encoding {encoding!r}: {reason}. If it is text, name its encoding, such as "
            'encoding="cp1252" (Windows, Western European) or "utf-16", or save it as UTF-8 (in a spreadsheet: '
            "'CSV UTF-8'). If it is a spreadsheet, an archive or parquet, save it as CSV or give it its right suffix."
        ) from error
    except Exception as error:
        if isinstance(error, DataError | MemoryError | Warning) or getattr(
            error, "errno", None
        ):  # they say what is wrong
            raise
        reason = " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
        quotes = f" {QUOTES}" if form in (".csv", ".tsv") else ""
        raise DataError(f"{path} could not be read as {form}: {reason}.{quotes} Correct the file.") from error


def require_columns(source: str, found: Iterable[Any], text_column: str, label_column: str, advice: str = "") -> None:
    """Raise a DataError unless both columns are there exactly once, and are not the same one."""
    if text_column == label_column:
        raise DataError(f"{source}: text_column= and label_column= both name {text_column!r}. Name the two columns.")
    names = list(found)
    for column, kind in ((text_column, DataError), (label_column, MissingLabelsError)):
        if column not in names:
            there = ", ".join(map(shorten, names[:10])) or "no columns"
            advice = f"name the right ones with text_column= and label_column=.{advice}"
            raise kind(f"{source}: no column {column!r}. It has {there}; {advice}")
        if names.count(column) > 1:
            raise DataError(f"{source}: {names.count(column)} columns are named {column!r}. Rename all but one.")


def _open(path: Path, encoding: str, **options: str) -> TextIOWrapper:
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"  # skips a byte order mark
    if path.suffix.lower() == ".zip" and len(names := ZipFile(path).namelist()) != 1:
        raise DataError(f"{path} holds {len(names)} files. Unpack it, and give the one to read.")
    return LocalFileSystem().open(str(path), "rt", encoding=encoding, compression="infer", **options)


def _read_parquet(path: Path, text_column: str, label_column: str, _: str) -> pd.DataFrame | Dataset:
    require_columns(str(path), pq.read_schema(path).names, text_column, label_column)
    table = pq.read_table(path, columns=[text_column, label_column])
    table.validate(full=True)  # texts that are not UTF-8
    frame = table.to_pandas(ignore_metadata=True)
    if b"huggingface" in (table.schema.metadata or {}):  # which has the names of the labels
        features = Features.from_arrow_schema(table.schema)
        return Dataset.from_pandas(frame, features=Features({name: features[name] for name in frame}))
    return frame


def _read_lines(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    rows = []
    with _open(path, encoding, newline="") as file:
        content = file.read()
    for number, line in enumerate(content.split("\n" if "\n" in content else "\r"), 1):
        text, separator, label = line.rpartition(";")
        if number == 1 and line.strip() == f"{text_column};{label_column}":
            raise DataError(f"{path}: its first line names the columns. Take it out, or save the file as .csv.")
        if separator:
            rows.append((text.strip(), label.strip()))
        elif line.strip():
            raise DataError(f"{path}, line {number}: no ';' between text and label in {shorten(line.strip())}.")
    return pd.DataFrame(rows, columns=[text_column, label_column], dtype=object)


def _read_delimited(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    with _open(path, encoding, newline="") as file:
        hint = re.fullmatch(r'"?sep=(.)"?[\r\n]*', file.readline())  # for Excel
        begin = file.tell() if hint else 0
        usual = hint[1] if hint else "\t" if file_format(path) == ".tsv" else ","
        file.seek(begin)
        start = [line for line in islice(file, 100) if line.strip()]
        # csv.Sniffer only guesses: it cannot be told the names of the columns, which decide the matter.
        candidates = (usual,) if hint else (usual, *SEPARATORS)
        readers = {each: csv.reader(start, delimiter=each, skipinitialspace=True) for each in candidates}
        headers = {each: [*map(str.strip, next(reader, []))] for each, reader in readers.items()}
        fitting = [separator for separator, names in headers.items() if {text_column, label_column} <= set(names)]
        best = (fitting or sorted(headers, key=lambda separator: -len(headers[separator])))[0]
        advice = f" If its first line is data, write {text_column + usual + label_column!r} above it."
        require_columns(str(path), headers[best], text_column, label_column, advice=advice)
        if best != usual:
            message = f"{path}: {SEPARATORS[best]} separate the columns, not {SEPARATORS[usual]} as its name says."
            warnings.warn(message, DataWarning, stacklevel=4)  # at the caller of load_splits
        file.seek(begin)
        has_quotes = any('"' in chunk for chunk in iter(partial(file.read, 1_000_000), ""))
        options = _find_quoting(file, begin, best, len(headers[best]), '"' in start[0]) if has_quotes else {}
        file.seek(begin)
        content: Any = StringIO(_double_backslashes(file.read())) if "escapechar" in options else file
        frame = pd.read_csv(content, sep=best, dtype=str, na_filter=False, **options)
        if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much in the first row for an index
            raise DataError(f"{path}: the first row has more fields than the header. {QUOTES} Correct the file.")
        frame.columns = pd.Index(headers[best])
        if has_quotes:
            _warn_of_swallowed_rows(frame, path, label_column, best)
    return frame[[text_column, label_column]]


def _find_quoting(file: TextIOWrapper, begin: int, separator: str, fields: int, quoted: bool) -> dict[str, Any]:
    """Return what the quotes in a file mean, as options for pandas: the usual, or what gives each row its fields.

    `quoted` says whether the header has quotes.
    """
    fault, is_text = "", separator == "\t" and not quoted
    other: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if is_text else {"escapechar": "\\"}
    file.seek(begin)
    opening = re.compile('{0} +"[^"\r\n{0}]'.format(re.escape(separator)))  # of a field in quotes, after spaces
    has_spaces = any(map(opening.search, file))
    spacings: list[dict[str, Any]] = [{"skipinitialspace": True}, {}] if has_spaces else [{}]
    for options in (spacing | quoting for spacing in spacings for quoting in ({}, other)):
        file.seek(begin)
        lines = map(_double_backslashes, file) if "escapechar" in options else file
        short = (line if len(line) < LONG_LINE else re.sub(r"\w[\w ]*", "_", line) for line in lines)
        reader = csv.reader(short, delimiter=separator, strict=True, **options)
        try:
            if all(len(row) in (0, fields) for row in reader):
                return options
        except csv.Error as error:
            if "field limit" not in str(error):  # csv refuses long texts, pandas does not
                fault = fault or f"line {reader.line_num + bool(begin)}: {error}"
    if "expected after" in fault and not is_text:
        raise csv.Error(fault)
    return other if fault and is_text else {}  # of a quote that is not closed, pandas says where it begins


def _double_backslashes(text: str) -> str:
    """Double each backslash that is not an escape, because parsers take away a single one before any character."""
    return r"\\".join(part.replace("\\", r"\\").replace(r'\\"', r"\"") for part in text.split(r"\\"))


def _warn_of_swallowed_rows(frame: pd.DataFrame, path: Path, label_column: str, separator: str) -> None:
    """Warn if a field of several lines has a line that looks like a row: one of its fields is a label."""
    labels = set(frame[label_column]) - {""}
    for _, column in frame.items():
        for row in np.flatnonzero(column.str.contains("[\r\n]")):
            lines = [line for line in column[row].replace('"', "").splitlines() if separator in line]
            if found := next((line for line in lines if not labels.isdisjoint(line.split(separator))), None):
                message = f"a field in quotes has several lines, and one looks like a row: {shorten(found)}"
                message = f"{path}, row {row}: {message}. Correct the quotes, if rows are lost in it."
                return warnings.warn(message, DataWarning, stacklevel=5)  # at the caller of load_splits
    return None


def _read_json(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    rows = []
    with _open(path, encoding) as file:
        is_array = next((line for line in file if line.strip()), "").lstrip().startswith("[")
        file.seek(0)
        for number, found in enumerate(json.load(file) if is_array else file, 1):
            if not is_array and not found.strip():
                continue
            where = f"{path}, {'object' if is_array else 'line'} {number}"
            try:
                thing = found if is_array else json.loads(found)
                rows.append((thing[text_column], thing.get(label_column)))
            except (KeyError, TypeError):
                names = thing if isinstance(thing, dict) else []
                require_columns(where, names, text_column, label_column, advice=f" {RECORDS}")
            except (ValueError, RecursionError) as error:
                reason = str(error).partition(":")[0]  # what follows counts from the start of the line
                raise DataError(f"{where}: not JSON ({reason}). {RECORDS}") from error
            if isinstance(rows[-1][0], dict | list):
                raise DataError(f"{where}: {text_column!r} is {shorten(rows[-1][0])}, not a text. {RECORDS}")
    if rows and all(label is None for _, label in rows):
        require_columns(str(path), thing, text_column, label_column)
    return pd.DataFrame(rows, columns=[text_column, label_column], dtype=object)


Reader: TypeAlias = Callable[[Path, str, str, str], pd.DataFrame | Dataset]
READERS: dict[str, Reader] = {".csv": _read_delimited, ".tsv": _read_delimited, ".txt": _read_lines}
READERS |= {".json": _read_json, ".jsonl": _read_json, ".parquet": _read_parquet}
"""What reads a file, by what its name ends with."""
