"""Print the oldest versions that pyproject.toml allows, as constraints for pip.

`make test-matrix` installs with them and runs the quick half of the tests. One line for each
dependency of the package with a lower bound; what those need themselves, and the tools of the
tests, are pip's to choose.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def constraints() -> list[str]:
    """Give ``name==version`` for each dependency with a lower bound.

    Only the standard library is used: this runs before anything is installed.
    """
    wanted = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    lowest = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in wanted]
    return [f"{found[1]}=={found[2]}" for found in lowest if found]


if __name__ == "__main__":
    print("\n".join(constraints()))
