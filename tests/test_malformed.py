"""What odd input gives: an error, or rows."""

# ruff: noqa: E501 - a table has long lines

import bz2
import csv
import gzip
import io
import lzma
import warnings
import zipfile
from decimal import Decimal
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


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, TWO)
    return file.getvalue()


GOOD = parquet("a", "joy")
TWO = b"text,label\ni am well,joy\ni am not,fear\n"
TXT = b"i am well;joy\ni am not;fear\n"
JSON = b'[{"text": "i am well", "label": "joy"},\n {"text": "i am not", "label": "fear"}]'
BOTH = [("i am well", "joy"), ("i am not", "fear")]
CAFE = [("“café”", "joy"), ("no", "fear")]
DATED, NAMED = [("one", "0"), ("two", "1")], {"text_column": "modified", "label_column": "2020"}
LINES = "one\u2028two\x0bthree\x85four"
KEPT = [("NA", "007"), ("null", "1e5"), ("007", "NA"), ("1e5", "null")]
FRAME = pd.DataFrame(KEPT, columns=["text", "label"])
ESCAPED = pd.DataFrame({"text": ['say "x"', "c:\\new\\", 'a, "b"', "two\nlines", '\\"'], "label": list("abaab")})

CASES = [
    Case("a folder named like a file", "train.csv", None, "NotFoundError", "It has nothing that can be read", {"source": "."}),
    Case("another suffix", "a.docx", b"text", "DataError", "files named '.docx' are not supported"),
    Case("a gzip file named .csv", "a.csv", b"\x1f\x8b\x08\0", "DataError", "archive or parquet, save it as CSV or give it its right suffix"),
    Case("packed with bzip2", "train.TXT.BZ2", bz2.compress(TXT), "rows", BOTH),
    Case("packed with xz", "train.json.xz", lzma.compress(JSON), "rows", BOTH),
    Case("one file in a zip archive", "train.csv.zip", zipped("a.csv"), "rows", BOTH),
    Case("packed, and cut off", "a.csv.gz", gzip.compress(TWO)[:-9], "DataError", "could not be read as .csv"),
    Case("not packed, as its name says", "a.csv.gz", TWO, "DataError", "could not be read as .csv: Not a gzipped file"),
    Case("one byte of another encoding", "a.csv", b"text,label\nfine,joy\ncaf\xe9,joy\n", "DataError", "not in the encoding 'utf-8': line 3 has the byte 0xe9"),
    Case("UTF-16", "a.csv", TWO.decode().encode("utf-16"), "DataError", 'line 1 has the byte 0xff, invalid start byte. If it is text, name its encoding, such as encoding="cp1252" (Windows, Western European) or "utf-16"'),
    Case("the encoding of Windows, and said so", "train.csv", "text,label\n“café”,joy\nno,fear\n".encode("cp1252"), "rows", CAFE, {"encoding": "cp1252"}),
    Case("UTF-8 with a mark, and line ends of Windows", "train.csv", b"\xef\xbb\xbf" + TWO.replace(b"\n", b"\r\n"), "rows", BOTH),
    Case("NUL in a text", "train.txt", b"well;joy\nno\0t;fear\n", "rows", [("well", "joy"), ("no\0t", "fear")]),
    Case("a byte that the given encoding lacks", "a.txt", b"well;joy\n\x81;fear\n", "DataError", "not in the encoding 'cp1252': line 2 has the byte 0x81", {"encoding": "cp1252"}),
    Case("an unknown encoding", "a.csv", TWO, "DataError", "unknown encoding: utf-9", {"encoding": "utf-9"}),
    Case("nothing at all", "a.csv", b"", "DataError", "no column 'text'. It has no columns"),
    Case("a header only", "a.csv", b"text,label\n", "DataError", "no rows"),
    Case("no header", "a.csv", b"i am well,joy\ni am not,fear\n", "DataError", "It has 'i am well', 'joy'; name the right ones with text_column= and label_column=. If its first line is data"),
    Case("columns named like dates and numbers", "train.csv", b"id,modified,2020\n7,one,0\n8,two,1\n", "rows", DATED, NAMED),
    Case("a column that was an index of pandas", "train.parquet", FRAME.set_index("text").to_parquet(), "rows", KEPT),
    Case("other columns, under another separator", "a.csv", b"words;mood\nwell;joy\n", "DataError", "no column 'text'. It has 'words', 'mood'"),
    Case("a column twice", "a.csv", b"text,label,text\na,joy,b\n", "DataError", "2 columns are named 'text'"),
    Case("one column for both", "a.csv", TWO, "DataError", "text_column= and label_column= both name 'text'", {"label_column": "text"}),
    Case("too many fields", "a.csv", b"text,label\nok,joy\na,b,c\n", "DataError", "Expected 2 fields in line 3, saw 3"),
    Case("too many fields in the first row", "a.csv", b"text,label\na,b,c\n", "DataError", "Put quotes around texts with separators"),
    Case("too many fields, far into the file", "a.csv", b"text,label\n" + b"hello,joy\n" * 300_000 + b"a,b,c\n" + b"hello,joy\n" * 9, "DataError", "line 300002, saw 3"),
    Case("too few fields", "a.tsv", b"text\tlabel\nok\tjoy\nbad\tfear\nnothing else\n", "DataError", "row 2: no label"),
    Case("too few fields, the text missing", "train.csv", b"label,text\njoy,ok\nfear\n", "rows, DataWarning", [("ok", "joy"), ("", "fear")]),
    Case("blank lines", "train.csv", b"\ntext,label\n\nok,joy\n \nbad,fear\n\n", "rows", [("ok", "joy"), ("bad", "fear")]),
    Case("a quote that is not closed", "a.csv", b'text,label\nok,joy\n"open,joy\nnext,fear\n', "DataError", "EOF inside string starting at row 2. Put quotes around"),
    Case("a quote that is closed in a later line", "train.csv", b'text,label\n"open,joy\nnext",fear\nok,joy\n', "rows, DataWarning", [("open,joy\nnext", "fear"), ("ok", "joy")]),
    Case("such a quote, the label first", "train.csv", b'label,text\nfear,"open\njoy,next"\njoy,ok\n', "rows, DataWarning", [("open\njoy,next", "fear"), ("ok", "joy")]),
    Case("such a quote, in another column", "train.csv", b'id,text,label\n"1,open,joy\n2",next,fear\n3,ok,joy\n', "rows, DataWarning", [("next", "fear"), ("ok", "joy")]),
    Case("lines of a poem", "train.csv", b'text,label\n"full of joy,\nof fear, joy\nand joy",fear\nok,joy\n', "rows", [("full of joy,\nof fear, joy\nand joy", "fear"), ("ok", "joy")]),
    Case("a quote inside a text in quotes", "a.csv", b'text,label\n"say "hello"",joy\nno,fear\n', "DataError", "line 2: ',' expected after"),
    Case("quotes after a backslash", "train.csv", b'text,label\n"\\"never again\\" twice",joy\n"no, \\"no\\"",fear\n', "rows", [('"never again" twice', "joy"), ('no, "no"', "fear")]),
    Case("a backslash, and quotes that are doubled", "train.csv", b'text,label\n"C:\\",joy\n"a ""b""",fear\n', "rows", [("C:\\", "joy"), ('a "b"', "fear")]),
    Case("texts that begin with a quote", "train.tsv", b'text\tlabel\n"one\tjoy\ntwo\tfear\nthree\tjoy\n"four\tfear\n', "rows", [('"one', "joy"), ("two", "fear"), ("three", "joy"), ('"four', "fear")]),
    Case("a text that begins with a quote, the last", "train.tsv", b'text\tlabel\none\tjoy\n"two\tfear\n', "rows", [("one", "joy"), ('"two', "fear")]),
    Case("quotes in texts, and a label is missing", "a.tsv", b'text\tlabel\n"one\tjoy\n"two" or so\n3\tfear\n', "DataError", "row 1: no label"),
    Case("quotes around everything, one of them open", "a.tsv", b'"text"\t"label"\n"one"\t"joy"\n"two\t"fear"\n', "DataError", "line 3: ' ' expected after"),
    Case("a line for Excel", "train.csv", b"sep=;\r\ntext;label\r\ni am well;joy\r\ni am not;fear\r\n", "rows", BOTH),
    Case("a line for Excel, and a mark", "train.csv", b'\xef\xbb\xbf"sep=:"\ntext:label\ni am well:joy\n"i am not":fear\n', "rows", BOTH),
    Case("a field over the limit of the csv module", "train.csv", b"text,label\n" + b"x" * 200_000 + b",joy\nno,fear\n", "rows", [("x" * 200_000, "joy"), ("no", "fear")]),
    Case("no separator", "a.txt", b"good;joy\nno separator\n", "DataError", "line 2: no ';' between text and label in 'no separator'"),
    Case("line ends of old computers", "train.txt", b"good;joy\rbad;fear\r", "rows", [("good", "joy"), ("bad", "fear")]),
    Case("characters that only look like line ends", "train.txt", f"{LINES};joy\nno;fear\n".encode(), "rows", [(LINES, "joy"), ("no", "fear")]),
    Case("characters that only look like line ends", "train.csv", f"text,label\n{LINES},joy\nno,fear\n".encode(), "rows", [(LINES, "joy"), ("no", "fear")]),
    Case("an array of objects", "train.jsonl", JSON, "rows", BOTH),
    Case("an object per line", "train.json", b'{"text": "a", "label": 1}\n\n{"text": "b", "label": 2}', "rows", [("a", "1"), ("b", "2")]),
    Case("not JSON", "a.jsonl", b'{"text": "a", "label": 1}\n{broken\n', "DataError", "line 2: not JSON"),
    Case("an array, cut off", "a.json", JSON[:-3], "DataError", "could not be read as .json"),
    Case("an object without text", "a.jsonl", b'{"text": "a", "label": 1}\n{"label": 2}\n', "DataError", "line 2: no column 'text'. It has 'label'"),
    Case("as pandas writes by itself", "a.json", FRAME.to_json().encode(), "DataError", 'DataFrame.to_json(orient="records")'),
    Case("as pandas writes in another way", "a.json", FRAME.to_json(orient="split").encode(), "DataError", 'DataFrame.to_json(orient="records")'),
    Case("as pandas writes values alone", "a.json", FRAME.to_json(orient="values").encode(), "DataError", 'DataFrame.to_json(orient="records")'),
    Case("lists by name", "a.json", b'{"text": ["a", "b"],\n "label": [1, 2]}', "DataError", 'DataFrame.to_json(orient="records")'),
    Case("labels in the test file for some texts only", "", {"train.jsonl": JSON, "dev.jsonl": JSON, "test.jsonl": b'{"text": "a", "label": "joy"}\n{"text": "b"}'}, "DataError", "split 'test', row 1: no label"),
    Case("ids in the test file, names in the others", "", {"train.csv": TWO, "dev.csv": TWO, "test.csv": b"text,label\na,0\nb,1\n"}, "DataError", "split 'test', row 0: unknown label '0'; 2 such rows. Known labels: 'fear', 'joy'"),
    Case("half a character in a text", "a.jsonl", rb'{"text": "a \ud83d b", "label": 1}', "DataError", r"text[0] has half a character: 'a \ud83d b'"),
    Case("a text that is null", "train.jsonl", b'{"text": null, "label": 1}\n{"text": "b", "label": 2}', "rows, DataWarning", [("", "1"), ("b", "2")]),
    Case("a text that is not UTF-8", "a.parquet", parquet("caf\u00e9", "joy").replace(b"\xc3\xa9", b"\xc3x"), "DataError", "could not be read as .parquet"),
    Case("not parquet", "a.parquet", TWO, "DataError", "could not be read as .parquet"),
    Case("no such column", "a.parquet", GOOD, "DataError", "no column 'tweet'. It has 'text', 'label'", {"text_column": "tweet"}),
    Case("a folder of save_to_disk, damaged", "", {"dataset_info.json": b"{}", "state.json": b"{"}, "DataError", "what save_to_disk wrote is damaged"),
    Case("what looks like no text", "train.csv", FRAME.to_csv(index=False).encode(), "rows", KEPT),
    Case("an unreadable label of a class alone", "a.jsonl", rb'{"text": "a", "label": "\u0007\n\u202e"}', "DataError", r"has 1 class ('\x07\n\u202e')"),
    Case("several labels", "a.jsonl", b'{"text": "a", "label": ["joy", "fear"]}', "DataError", "row 0: the label is ['joy', 'fear'], but a text has one label"),
    Case("a label that is a date", "a.parquet", parquet("a", pd.Timestamp(0)), "DataError", "row 0: the label is Timestamp('1970"),
    Case("a label that is not of the given ones", "a.csv", TWO, "DataError", "row 1: unknown label 'fear'; 1 such rows. Known labels: 'joy', 'love'", {"label_names": ["joy", "love"]}),
    Case("a label that is an id", "a.csv", b"text,label\n" + b"".join(b"a,n%d\n" % i for i in range(1001)), "DataError", "1,001 distinct labels in 1,001 rows, such as 'n0'"),
    Case("a backslash before quotes", "train.csv", b'text,label\n"say \\"hi\\"",joy\n"C:\\new",fear\n', "rows", [('say "hi"', "joy"), ("C:\\new", "fear")]),
    Case("backslashes before backslashes", "train.csv", b'id,text,label\n1,"path C:\\\\",joy\n2,"no \\"no\\"",fear\n3,a\\\\b,joy\n', "rows", [("path C:\\", "joy"), ('no "no"', "fear"), ("a\\b", "joy")]),
    Case("a backslash before quotes, as pandas writes it", "train.csv", ESCAPED.to_csv(index=False, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL).encode(), "rows", [*ESCAPED.itertuples(index=False, name=None)]),
    Case("the same, with few quotes", "train.csv", ESCAPED.to_csv(index=False, doublequote=False, escapechar="\\").encode(), "rows", [*ESCAPED.itertuples(index=False, name=None)]),
    Case("a header with a line break", "train.csv", b'"my\ntext",label\n"say \\"hi\\"",joy\n"C:\\new",fear\n', "rows", [('say "hi"', "joy"), ("C:\\new", "fear")], {"text_column": "my\ntext"}),
    Case("such a header, and a quote inside quotes", "a.csv", b'"my\ntext",label\n"say "hello"",joy\nno,fear\n', "DataError", "line 3: ',' expected after", {"text_column": "my\ntext"}),
    Case("a space before quotes", "train.csv", b'text, label\n"c, d", "fear"\n d, fear\n"x ""y""", joy\n', "rows", [("c, d", "fear"), ("d", "fear"), ('x "y"', "joy")]),
    Case("a space before quotes, and backslashes", "train.csv", b'label,text\njoy, "a \\"nice\\", day"\nfear,"no"\n', "rows", [('a "nice", day', "joy"), ("no", "fear")]),
    Case("a space before quotes around everything", "train.csv", b'"label", "text"\n"joy", "a"\n"fear", "b"\n', "rows", [("a", "joy"), ("b", "fear")]),
    Case("a space before quotes that belong to a text", "train.csv", b'label,text\njoy, "a" day\nfear, no\n', "rows", [(' "a" day', "joy"), (" no", "fear")]),
    Case("a comma and quotes in a text", "train.csv", b'label,text\njoy,"so, ""yes"""\nfear, no\n', "rows", [('so, "yes"', "joy"), (" no", "fear")]),
    Case("quotes after a field over the limit of the csv module", "train.csv", b'text,label\n"' + b"so long, " * 20_000 + b'",joy\n"no \\"no\\"",fear\n', "rows", [("so long, " * 20_000, "joy"), ('no "no"', "fear")]),
    Case("a byte of another encoding, after a mark for one", "a.csv", "text,label\na \ufffd,joy\n".encode() + b"caf\xe9,joy\n", "DataError", "line 3 has the byte 0xe9"),
    Case("a line end of old computers inside a text", "train.txt", b"a;b\rc;joy\r\nd;fear\r\n", "rows", [("a;b\rc", "joy"), ("d", "fear")]),
    Case("a label that is infinite", "a.parquet", parquet("a", float("inf")), "DataError", "row 0: the label is inf, but a text has one label, a string or a finite number. Convert"),
    Case("a label that is a decimal number", "a.parquet", parquet("a", Decimal(1)), "DataError", "row 0: the label is Decimal('1'), but a text has one label, a string or a finite number. Convert"),
    Case("a file state.json beside others", "", {"train.csv": TWO, "dev.csv": TWO, "test.csv": TWO, "state.json": b"{}"}, "rows", BOTH),
    Case("a line that names the columns", "train.txt", b"text;label\na;joy\nb;fear\n", "DataError", "its first line names the columns"),
    Case("blanks before an array", "train.json", b" \n" * 600 + JSON, "rows", BOTH),
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
