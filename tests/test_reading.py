import pandas as pd
import pytest

from emotion_tutorial import DataError, DataWarning
from emotion_tutorial.reading import read_file

ROWS = [("i am; well", "joy"), ("“quoted”, and é", "sadness"), ("two\nlines", "NA"), ("tab\tbar|", "007")]
FRAME = pd.DataFrame(ROWS, columns=["text", "label"])


def rows(path, *arguments, **columns) -> list[tuple]:
    return list(read_file(path, *arguments, **columns).itertuples(index=False, name=None))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet", "csv.gz", "TSV.BZ2", "json.xz"])
def test_what_pandas_writes_is_read(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    form = suffix.lower().partition(".")[0]
    if form == "parquet":
        FRAME.to_parquet(path)
    elif form.startswith("json"):
        FRAME.to_json(path, orient="records", lines=form == "jsonl")
    else:
        FRAME.to_csv(path, sep="\t" if form == "tsv" else ",", index=False)
    assert rows(path) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize(("name", "content"), [("a.txt", "“café”;joy\n"), ("a.csv", "text,label\n“café”,joy\n")])
def test_encoding(tmp_path, encoding, name, content):
    (tmp_path / name).write_text(content, encoding=encoding)
    assert rows(tmp_path / name, encoding=encoding) == [("“café”", "joy")]


def test_undecodable_byte_is_found_far_into_a_file(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\nok,joy\n" + "é\u20ac,joy\n".encode() * 50_000 + b"\xe9,joy\n")
    with pytest.raises(DataError, match="line 50003 has the byte 0xe9"):
        read_file(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_columns_by_name(tmp_path, suffix):
    """Names that look like dates or numbers are names too."""
    frame = pd.DataFrame({"id": [7, 8], "modified": ["one", "two"], "2020": [0, 1]})
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        frame.set_index("modified").to_parquet(path)
    else:
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_json(path, orient="records", lines=True)
    found = rows(path, "modified", "2020")
    assert [(text, str(label)) for text, label in found] == [("one", "0"), ("two", "1")]


@pytest.mark.parametrize(
    ("name", "separator", "said"),
    [("a.csv", ";", "semicolons"), ("a.csv", "\t", "tabs"), ("a.tsv", ",", "commas"), ("a.tsv", "|", "bars")],
)
def test_another_separator_is_found_and_said(tmp_path, name, separator, said):
    FRAME.to_csv(tmp_path / name, sep=separator, index=False, quoting=1)
    with pytest.warns(DataWarning, match=rf"{name}: {said} separate") as caught:
        assert rows(tmp_path / name) == ROWS
    assert len(caught) == 1


def test_usual_separator_wins(tmp_path):
    (tmp_path / "a.csv").write_text("text,label,a;text;label\nhello,joy,1\n")
    assert rows(tmp_path / "a.csv") == [("hello", "joy")]


def test_too_long_a_row_is_refused_wherever_it_is(tmp_path):
    """Parsers that read in chunks may forget at the start of each how many fields there should be."""
    for before in (0, 1, 2_000, 150_000, 300_000):
        (tmp_path / "a.csv").write_text("text,label\n" + "hello,joy\n" * before + "a,b,c\n" + "hello,joy\n" * 9)
        with pytest.raises(DataError):
            read_file(tmp_path / "a.csv")


def test_characters_that_only_look_like_line_ends_stay_in_the_text(tmp_path):
    text = "one\u2028two\x0bthree\x85four"
    (tmp_path / "a.txt").write_text(f"{text};joy\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text(f"text,label\n{text},joy\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(f'{{"text": "{text.replace(chr(11), "")}", "label": "joy"}}\n', encoding="utf-8")
    assert rows(tmp_path / "a.txt") == rows(tmp_path / "a.csv") == [(text, "joy")]
    assert rows(tmp_path / "a.jsonl") == [(text.replace("\x0b", ""), "joy")]


def test_what_the_system_refuses_is_said_as_it_is(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    FRAME.to_csv(tmp_path / "a.csv")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        read_file(tmp_path / "a.csv")
