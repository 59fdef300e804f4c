"""Print how much room each extra takes on disk, with all that it depends on, in gigabytes; measured where it runs."""

from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

EXTRAS = ("course", "notebooks", "report", "")


def closure(requirement: Requirement, found: set[tuple[str, str]]) -> set[str]:
    """Return the distributions that a requirement brings, as far as they are installed."""
    names = set()
    for extra in requirement.extras or {""}:
        key = (requirement.name.lower().replace("_", "-"), extra)
        if key in found:
            continue
        found.add(key)
        try:
            wanted = metadata.requires(requirement.name) or []
        except metadata.PackageNotFoundError:
            continue
        names.add(key[0])
        for line in map(Requirement, wanted):
            if line.marker is None or any(line.marker.evaluate({"extra": given}) for given in {extra, ""}):
                names |= closure(line, found)
    return names


def size(name: str) -> int:
    """Return the bytes of an installed distribution's files, compiled ones included."""
    paths = [Path(str(path.locate())) for path in metadata.files(name) or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    """Run from the command line."""
    for extra in EXTRAS:
        names = closure(Requirement(f"emotion-tutorial[{extra}]" if extra else "emotion-tutorial"), set())
        print(f"{extra or 'the library alone'}: {sum(map(size, names)) / 1e9:.1f} GB in {len(names)} packages")


if __name__ == "__main__":
    main()
