"""Print the lowest versions that pyproject.toml allows, as pip constraints; torch aside, which constraints.txt pins."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    pairs = [re.match(r"([\w-]+)[^=]*==?([\w.]+)", line) for line in wanted]
    found = {pair[1]: pair[2] for pair in pairs if pair}
    print("\n".join(f"{name}=={version}" for name, version in sorted(found.items()) if name != "torch"))
    print(
        next(line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "torch==" in line)
    )


if __name__ == "__main__":
    main()
