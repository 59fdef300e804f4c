"""What the course consists of: `python tools/course.py` prints words, minutes and terms, and writes the glossary."""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GLOSSARY = ROOT / "docs" / "glossary.md"
WORDS_PER_MINUTE = 200
"""Of prose that is read to be understood. The cells between take as long again."""
MOST_WORDS_OF_A_TERM = 4
"""More words in bold are a sentence that is stressed."""
REFERS_BACK = re.compile(r"(And |So )?(That|This|It|Its|These|The (parts|rows|answers|number))\b")
"""The beginning of a sentence that can't be understood without the one before."""


@dataclass
class Term:
    """A term, the sentence that introduces it, and where that is."""

    name: str
    sentence: str
    notebook: str
    title: str


def prose(path: Path) -> str:
    """Return the text of a notebook without its tables, code and recorded output."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.sub(r"^(\||    |<!--).*$", "", text, flags=re.MULTILINE)


def words(path: Path) -> int:
    """Return the number of words of a notebook's own prose."""
    return len(re.findall(r"\w\S*", prose(path)))


def minutes(path: Path) -> int:
    """Return how long it takes to read a notebook, in minutes, rounded up to five."""
    return -(-2 * words(path) // WORDS_PER_MINUTE // 5) * 5


def terms(paths: list[Path]) -> list[Term]:
    """Return what is set in bold before the recap, in order; titles of paragraphs end in a dot, and are left out."""
    found = []
    for path in paths:
        title, _, text = prose(path).partition("\n")
        for paragraph in re.split(r"\n\s*\n|\n(?=- |[0-9]\. )", text.partition("\n## Recap")[0]):
            line = re.sub(r"^([->] |[0-9]\. )", "", " ".join(paragraph.split()))
            sentences = re.split(r"(?<=[.!?)]) +(?=[A-Z*`(\[])", line)
            for i, sentence in enumerate(sentences):
                for name in re.findall(r"\*\*([^*]+)\*\*", sentence):
                    if len(name.split()) <= MOST_WORDS_OF_A_TERM and name[-1] not in ".:!?":
                        before = max(0, i - 1) if REFERS_BACK.match(sentence) else i
                        found.append(Term(name, " ".join(sentences[before : i + 1]), path.stem, title.lstrip("# ")))
    return found


def glossary(found: list[Term]) -> str:
    """Return the page with all terms."""
    lines = [
        "# Glossary",
        "",
        "Each term, as the notebook that introduces it puts it. The page is made by `python tools/course.py`.",
        "",
    ]
    for term in sorted(found, key=lambda term: term.name.lower()):
        sentence = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", term.sentence).replace("**", "")
        lines += [
            term.name[0].upper() + term.name[1:],
            f": {re.sub(':$', '.', sentence)} [{term.title}]({term.notebook}.md)",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    total = 0
    for path in LESSONS:
        total += (count := words(path))
        print(f"{path.stem:<24}{count:>6,} words, {minutes(path):>2} minutes to read")
    print(f"{'together':<24}{total:>6,} words")
    found = terms(LESSONS)
    print(f"{len(found)} terms")
    GLOSSARY.write_text(glossary(found), encoding="utf-8")


if __name__ == "__main__":
    main()
