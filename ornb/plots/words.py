"""Values as a figure says them: plain text, numbers without exponents, money with its unit."""

from __future__ import annotations

import html
import math
from typing import Any

import pandas as pd

from ..messages import well_formed


def plain(value: Any) -> str:
    """Text that plotly shows as it is: no tags, no entities, no TeX, no lines of its own."""
    text = " ".join(well_formed(str(value)).split()) or " "
    return html.escape(text, quote=False).replace("$", "&#36;").replace("%{", "%&#123;")


def numbers(values: Any) -> list[float | None]:
    """Plain floats for a figure: shorter in a saved notebook than packed arrays."""
    column = pd.to_numeric(pd.Series(values), errors="coerce").astype("float64")
    return [None if math.isnan(v) or math.isinf(v) else float(v) for v in column]


def times(values: pd.Series[Any]) -> Any:
    """UTC times, also of texts; what is none is missing."""
    return pd.to_datetime(values, utc=True, errors="coerce", format="mixed")


def usd(value: Any) -> str:
    """Money as people read it, without an exponent.

    >>> usd(0.0574), usd(2.5), usd(0), usd(float("nan")), usd(1234)
    ('0.0574 USD', '2.5 USD', 'free', 'not known', '1,234 USD')
    """
    if value is None or pd.isna(value):
        return "not known"
    return "free" if value == 0 else f"{short(value)} USD"


def short(value: float) -> str:
    """Four figures that count, and no exponent.

    >>> short(0.00012345), short(1050000), short(2.0)
    ('0.0001234', '1,050,000', '2')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    places = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: Any) -> str:
    """Whole number with separators, or that it is not listed."""
    return "not listed" if value is None or pd.isna(value) else f"{int(value):,}"


def cut(text: str, most: int) -> str:
    """Text that fits, its middle left out where it is too long."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - head - 1) :]}"
