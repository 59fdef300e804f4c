"""What odd input gives: an error, or rows."""

# ruff: noqa: E501 - a table has long lines

import bz2
import lzma
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from emotion_tutorial import DataWarning, load_splits, to_frame


class Case(NamedTuple):
    """A file, how it is loaded, and what comes of it."""

    what: str
    file: str  # train.*: there are the same rows for validation and test
    content: bytes | dict[str, bytes] | None  # None: a folder
    outcome: str  # an error; or "rows", perhaps with a warning
    shown: str | list[tuple[str, str]]  # a part of the message; or the rows
    arguments: dict[str, Any] = {}  # noqa: RUF012 - of a tuple, which nobody changes


def parquet(text: Any, label: Any) -> bytes:
    return pd.DataFrame({"text": [text], "label": [label]}).to_parquet()


TWO = b"text,label\ni am well,joy\ni am not,fear\n"
TXT = b"i am well;joy\ni am not;fear\n"
JSON = b'[{"text": "i am well", "label": "joy"},\n {"text": "i am not", "label": "fear"}]'
BOTH = [("i am well", "joy"), ("i am not", "fear")]
CAFE = [("“café”", "joy"), ("no", "fear")]
DATED, NAMED = [("one", "0"), ("two", "1")], {"text_column": "modified", "label_column": "2020"}
LINES = "one\u2028two\x0bthree\x85four"
KEPT = [("NA", "007"), ("null", "1e5"), ("007", "NA"), ("1e5", "null")]
FRAME = pd.DataFrame(KEPT, columns=["text", "label"])

CASES = [
    Case("a folder named like a file", "train.csv", None, "NotFoundError", "It has nothing that can be read", {"source": "."}),
    Case("another suffix", "a.docx", b"text", "DataError", "files named '.docx' are not supported"),
    Case("packed with bzip2", "train.TXT.BZ2", bz2.compress(TXT), "rows", BOTH),
    Case("packed with xz", "train.json.xz", lzma.compress(JSON), "rows", BOTH),
    Case("not packed, as its name says", "a.csv.gz", TWO, "DataError", "could not be read: Not a gzipped file"),
    Case("one byte of another encoding", "a.csv", b"text,label\nfine,joy\ncaf\xe9,joy\n", "DataError", "not in the encoding 'utf-8': line 3 has the byte 0xe9"),
    Case("UTF-16", "a.csv", TWO.decode().encode("utf-16"), "DataError", 'line 1 has the byte 0xff, invalid start byte. Name its encoding, such as encoding="cp1252" or "utf-16"'),
    Case("the encoding of Windows, and said so", "train.csv", "text,label\n“café”,joy\nno,fear\n".encode("cp1252"), "rows", CAFE, {"encoding": "cp1252"}),
    Case("UTF-8 with a mark, and line ends of Windows", "train.csv", b"\xef\xbb\xbf" + TWO.replace(b"\n", b"\r\n"), "rows", BOTH),
    Case("an unknown encoding", "a.csv", TWO, "DataError", "unknown encoding: utf-9", {"encoding": "utf-9"}),
    Case("nothing at all", "a.csv", b"", "DataError", "no column 'text'. It has no columns"),
    Case("no header", "a.csv", b"i am well,joy\ni am not,fear\n", "DataError", "It has 'i am well', 'joy'. Name the right ones with text_column= and label_column=, or write a header"),
    Case("columns named like dates and numbers", "train.csv", b"id,modified,2020\n7,one,0\n8,two,1\n", "rows", DATED, NAMED),
    Case("a column that was an index of pandas", "train.parquet", FRAME.set_index("text").to_parquet(), "rows", KEPT),
    Case("other columns, under another separator", "a.csv", b"words;mood\nwell;joy\n", "DataError", "no column 'text'. It has 'words', 'mood'"),
    Case("a column twice", "a.csv", b"text,label,text\na,joy,b\n", "DataError", "2 columns 'text'"),
    Case("one column for both", "a.csv", TWO, "DataError", "text_column= and label_column= both name 'text'", {"label_column": "text"}),
    Case("too many fields", "a.csv", b"text,label\nok,joy\na,b,c\n", "DataError", "Expected 2 fields in line 3, saw 3"),
    Case("too many fields in the first row", "a.csv", b"text,label\na,b,c\n", "DataError", "Put quotes around texts with separators"),
    Case("too few fields", "a.tsv", b"text\tlabel\nok\tjoy\nbad\tfear\nnothing else\n", "DataError", "row 2: no label"),
    Case("too few fields, the text missing", "train.csv", b"label,text\njoy,ok\nfear\n", "rows, DataWarning", [("ok", "joy"), ("", "fear")]),
    Case("blank lines", "train.csv", b"\ntext,label\n\nok,joy\n \nbad,fear\n\n", "rows", [("ok", "joy"), ("bad", "fear")]),
    Case("a quote that is not closed", "a.csv", b'text,label\nok,joy\n"open,joy\nnext,fear\n', "DataError", "EOF inside string starting at row 2. Put quotes around"),
    Case("a quote that is closed in a later line", "train.csv", b'text,label\n"open,joy\nnext",fear\nok,joy\n', "rows, DataWarning", [("open,joy\nnext", "fear"), ("ok", "joy")]),
    Case("lines of a poem", "train.csv", b'text,label\n"full of joy,\nof fear, joy\nand joy",fear\nok,joy\n', "rows", [("full of joy,\nof fear, joy\nand joy", "fear"), ("ok", "joy")]),
    Case("a quote inside a text in quotes", "a.csv", b'text,label\n"say "hello"",joy\nno,fear\n', "DataError", "line 2: ',' expected after"),
    Case("texts that begin with a quote", "train.tsv", b'text\tlabel\n"one\tjoy\ntwo\tfear\nthree\tjoy\n"four\tfear\n', "rows", [('"one', "joy"), ("two", "fear"), ("three", "joy"), ('"four', "fear")]),
    Case("quotes around everything, one of them open", "a.tsv", b'"text"\t"label"\n"one"\t"joy"\n"two\t"fear"\n', "DataError", "line 3: ' ' expected after"),
    Case("a line for Excel", "train.csv", b"sep=;\r\ntext;label\r\ni am well;joy\r\ni am not;fear\r\n", "rows", BOTH),
    Case("a field over the limit of the csv module", "train.csv", b"text,label\n" + b"x" * 200_000 + b",joy\nno,fear\n", "rows", [("x" * 200_000, "joy"), ("no", "fear")]),
    Case("no separator", "a.txt", b"good;joy\nno separator\n", "DataError", "line 2 has no ';' between text and label: 'no separator'"),
    Case("characters that only look like line ends", "train.txt", f"{LINES};joy\nno;fear\n".encode(), "rows", [(LINES, "joy"), ("no", "fear")]),
    Case("characters that only look like line ends", "train.csv", f"text,label\n{LINES},joy\nno,fear\n".encode(), "rows", [(LINES, "joy"), ("no", "fear")]),
    Case("an array of objects", "train.jsonl", JSON, "rows", BOTH),
    Case("an object per line", "train.json", b'{"text": "a", "label": 1}\n\n{"text": "b", "label": 2}', "rows", [("a", "1"), ("b", "2")]),
    Case("not JSON", "a.jsonl", b'{"text": "a", "label": 1}\n{broken\n', "DataError", "line 2 is not JSON"),
    Case("an array, cut off", "a.json", JSON[:-3], "DataError", "line 2 is not JSON"),
    Case("an object without text", "train.jsonl", b'{"text": "a", "label": 1}\n{"label": 2}\n', "rows, DataWarning", [("a", "1"), ("", "2")]),
    Case("as pandas writes by itself", "a.json", FRAME.to_json().encode(), "DataError", 'DataFrame.to_json(orient="records")'),
    Case("as pandas writes values alone", "a.json", FRAME.to_json(orient="values").encode(), "DataError", "no column 'text'. It has 0, 1"),
    Case("labels in the test file for some texts only", "", {"train.jsonl": JSON, "dev.jsonl": JSON, "test.jsonl": b'{"text": "a", "label": "joy"}\n{"text": "b"}'}, "DataError", "split 'test', row 1: no label"),
    Case("half a character in a text", "a.jsonl", rb'{"text": "a \ud83d b", "label": 1}', "DataError", r"text[0] is 'a \ud83d b', not a string of whole characters"),
    Case("a text that is null", "train.jsonl", b'{"text": null, "label": 1}\n{"text": "b", "label": 2}', "rows, DataWarning", [("", "1"), ("b", "2")]),
    Case("a text that is not UTF-8", "a.parquet", parquet("caf\u00e9", "joy").replace(b"\xc3\xa9", b"\xc3x"), "DataError", "could not be read"),
    Case("a folder of save_to_disk, damaged", "", {"dataset_info.json": b"{}", "state.json": b"{"}, "DataError", "What save_to_disk wrote is damaged"),
    Case("what looks like no text", "train.csv", FRAME.to_csv(index=False).encode(), "rows", KEPT),
    Case("several labels", "a.jsonl", b'{"text": "a", "label": ["joy", "fear"]}', "DataError", "row 0: the label is ['joy', 'fear'], but a text has one label"),
    Case("a label that is a date", "a.parquet", parquet("a", pd.Timestamp(0)), "DataError", "row 0: the label is Timestamp('1970"),
    Case("a label that is not of the given ones", "a.csv", TWO, "DataError", "row 1: unknown label 'fear'; 1 such rows. Correct the row, or give label_names=. Known labels: ['joy', 'love']", {"label_names": ["joy", "love"]}),
    Case("a space before quotes", "train.csv", b'text, label\n"c, d", "fear"\n d, fear\n"x ""y""", joy\n', "rows", [("c, d", "fear"), ("d", "fear"), ('x "y"', "joy")]),
    Case("a label that is infinite", "a.parquet", parquet("a", float("inf")), "DataError", "row 0: the label is inf, but a text has one label, a string or a finite number. Convert"),
    Case("a file state.json beside others", "", {"train.csv": TWO, "dev.csv": TWO, "test.csv": TWO, "state.json": b"{}"}, "rows", BOTH),
    Case("a line that names the columns", "train.txt", b"text;label\na;joy\nb;fear\n", "DataError", "its first line names the columns"),
]  # fmt: skip


def load(case: Case, folder: Path) -> set[tuple[str, str]]:
    files, arguments = case.content, {"source": case.file, **case.arguments}
    if case.file.startswith("train") and case.content is not None:
        files = {case.file.replace("train", split): case.content for split in ("train", "val", "test")}
        arguments["source"] = ""
    for name, content in (files if isinstance(files, dict) else {case.file: files}).items():
        (folder / name).mkdir() if content is None else (folder / name).write_bytes(content)
    splits = load_splits(folder / arguments.pop("source"), **arguments)
    return {(row.text, row.label_name) for dataset in splits.values() for row in to_frame(dataset).itertuples()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.what} {case.file}")
def test_outcome(tmp_path, case):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if case.outcome.startswith("rows"):
            assert load(case, tmp_path) == set(case.shown)
            assert ("DataWarning" in case.outcome) == any(warning.category is DataWarning for warning in caught)
            return
        with pytest.raises(Exception) as failed:  # noqa: PT011 - the table says which
            load(case, tmp_path)
    message = str(failed.value)
    assert type(failed.value).__name__ == case.outcome, repr(failed.value)
    assert case.shown in message
    assert str(tmp_path) in message or "label_names=" in case.shown
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 800
