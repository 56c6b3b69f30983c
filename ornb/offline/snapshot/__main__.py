"""``python -m ornb.offline.snapshot``: make the catalogue snapshot anew."""

from __future__ import annotations

import sys

from .build import main

if __name__ == "__main__":
    sys.exit(main())
