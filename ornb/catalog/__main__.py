"""``python -m ornb.catalog``: take new observations into the price history."""

from __future__ import annotations

import sys

from ornb.catalog.refresh import main

if __name__ == "__main__":
    sys.exit(main())
