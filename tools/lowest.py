"""Print the lowest versions that pyproject.toml allows, as pip constraints."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def lowest_versions() -> dict[str, str]:
    """Return the lowest version of each dependency, those of the extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    return dict(re.findall(r"^([\w-]+)(?:\[[\w,-]+\])?[>=]=([\w.]+)", "\n".join(wanted), re.MULTILINE))


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in sorted(lowest_versions().items())))
