import unicodedata
from collections.abc import Sequence

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from emotion_tutorial import DataError, DataWarning, SettingsError, audit, drop_leaks


def make_split(*rows: tuple[str | None, str], names: Sequence[str] = "ab") -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    texts, labels = [text for text, _ in rows], [names.index(label) for _, label in rows]
    return Dataset.from_dict({"text": texts, "label": labels}, features=features)


def find(**splits: Dataset) -> list[tuple]:
    """Return what was found, without the texts and the rare classes."""
    found = audit(DatasetDict(splits), min_class_rows=0).drop(columns="text")
    return list(found.astype(object).where(found.notna(), None).itertuples(index=False, name=None))


def kinds(*texts: str) -> list[str]:
    """Return the findings in a split of these texts, all of one label."""
    return [finding for finding, *_ in find(train=make_split(*((text, "a") for text in texts)))]


def test_each_finding_about_a_text():
    train = make_split(
        ("One text", "a"), ("one  TEXT!", "a"), ("One text", "a"), ("one text", "b"), (" ", "b"), ("One text", "a")
    )
    test = make_split(("other", "a"), ("One text", "a"), ("one, text", "b"), ("long " * 400, "b"), names="ba")
    assert find(train=train, test=test) == [
        ("near duplicate", "train", 1, "a", "train", 0, "a", "same label, normalized text"),
        ("duplicate", "train", 2, "a", "train", 0, "a", "same label, exact text"),
        ("conflicting label", "train", 3, "b", "train", 0, "a", "other label, normalized text"),
        ("empty", "train", 4, "b", "", None, "", ""),
        ("duplicate", "train", 5, "a", "train", 0, "a", "same label, exact text"),
        ("leak", "test", 1, "a", "train", 0, "a", "same label, exact text"),
        ("leak", "test", 2, "b", "train", 0, "a", "other label, normalized text"),
        ("over-long", "test", 3, "b", "", None, "", "400 words"),
    ]


def test_a_text_may_be_over_long_and_a_duplicate():
    assert kinds("w " * 381, "w " * 380, "w " * 381) == ["over-long", "duplicate", "over-long"]
    found = audit(DatasetDict(train=make_split(("one two three", "a"), ("我很好", "b"))), max_words=2, min_class_rows=0)
    assert found["detail"].tolist() == ["3 words"] * 2


def test_rare_classes_are_those_of_each_split():
    train = make_split(*((f"a{i}", "a") for i in range(10)), *((f"b{i}", "b") for i in range(9)), names="abc")
    found = audit(DatasetDict(train=train, test=make_split(("t", "a"))), min_class_rows=10)
    assert set(found["finding"]) == {"rare class"}
    rare = found["split"] + " " + found["label"] + ": " + found["detail"]
    assert rare.tolist() == ["train b: 9 texts", "train c: 0 texts", "test a: 1 texts", "test b: 0 texts"]


@pytest.mark.parametrize("odd", ["wut", "Wut\u200b", "\ufeffWut", "\uff37ut", " Wut", "W\u00adut"])
def test_labels_that_look_alike(odd):
    train = make_split(("one", "Wut"), ("two", odd), ("three", "Mut"), names=["Wut", odd, "Mut"])
    [found] = find(train=train, test=train.select([]))
    assert found == ("similar label", "", None, odd, "", None, "Wut", f"{odd!a}, 'Wut'")
    assert kinds("one", "other") == []


ALIKE = [
    ("zero\u200bwidth \ufeff", "zerowidth"), ("❤", "❤\ufe0f"),
    ("I'm GLAD, so glad!", "i m glad so glad"), ("straße", "STRASSE"), ("ﬁne Ⅳ \uff11\uff12", "fine iv 12"),
    (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")), ("!!!", " !!!\n"),
    ("أنا سعيد؟", "أنا  سعيد"), ("我很高兴。", "我很高兴\uff01"),
]  # fmt: skip
UNLIKE = [
    ("so glad 😀", "so glad 😡"), ("!!!", "???"), ("resume", "résumé"), ("5 € off", "5 $ off"),
    ("every one", "everyone"), ("कि", "की"),  # two vowel signs, which are marks
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [*ALIKE, *UNLIKE])
def test_texts_are_the_same_after_normalization(one, other):
    assert kinds(one, other) == ["near duplicate"] * ((one, other) in ALIKE)


def test_empty_texts_are_no_duplicates_or_leaks():
    train = make_split(("", "a"), (None, "b"), ("x", "b"), ("\u200b\ufeff", "b"))
    splits = {"train": train, "test": make_split((" \n", "a"), ("", "b"))}
    rows = [("train", 0), ("train", 1), ("train", 3), ("test", 0), ("test", 1)]
    assert [found[:3] for found in find(**splits)] == [("empty", *row) for row in rows]
    assert drop_leaks(DatasetDict(splits))["train"].num_rows == 4


@pytest.mark.parametrize("work", [audit, drop_leaks])
def test_refuses_what_cannot_be_compared(work):
    good = make_split(("x", "a"))
    for bad in (good.remove_columns("text"), good.remove_columns("label"), good.cast_column("label", Value("int64"))):
        with pytest.raises(DataError, match=r"'test' has the columns .* expected a Dataset"):
            work(DatasetDict(train=good, test=bad))
    for label in (-1, None):
        bad = Dataset.from_dict({"text": ["x", "y"], "label": [0, label]}, features=good.features)
        with pytest.raises(DataError, match=r"'test', label\[1\] is"):
            work(DatasetDict(train=good, test=bad))
    for odd in (None, 3, [good], good, DatasetDict()):
        with pytest.raises(DataError, match="splits= is "):
            work(odd)
    for setting in ("max_words", "min_class_rows"):
        with pytest.raises(SettingsError, match=f"{setting}= is '5'"):
            audit(DatasetDict(train=good), **{setting: "5"})


def test_drop_leaks_removes_exactly_these_and_says_so():
    train = make_split(
        ("keep 1", "a"), ("In Both", "a"), ("keep 1", "b"), ("exact", "a"), ("Near!", "b"), ("in both", "a"), ("", "a")
    ).add_column("id", [*range(7)])
    splits = DatasetDict(
        train=train,
        dev=make_split(("in both", "b"), ("exact", "a"), ("", "b")),
        test=make_split(("in both", "a"), ("near", "b"), ("new", "b")),
    )
    with pytest.warns(DataWarning, match="Left out 4 of 7 training rows.*: 3 in 'dev', 3 in 'test'") as caught:
        left = drop_leaks(splits)
    assert caught[0].filename == __file__
    assert left["train"]["id"][:] == [0, 2, 6]
    assert left["train"].features == train.features
    assert all(left[split] is splits[split] for split in ("dev", "test"))
    found = audit(left)
    assert found.loc[found["finding"] == "leak", "other_split"].tolist() == ["dev"]
    assert drop_leaks(left) is left
    with pytest.raises(DataError, match="no split 'train', only 'dev'"):
        drop_leaks(DatasetDict(dev=splits["dev"]))
    with pytest.raises(DataError, match=r"All 7 training texts .*: none is left"):
        drop_leaks(DatasetDict(train=train.select([0] * 7), test=train))
