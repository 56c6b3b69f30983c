"""Values as a figure says them: plain text, numbers without exponents, money with its unit."""

from __future__ import annotations

import html
import math
from typing import Any

import pandas as pd

__all__ = ["count", "cut", "numbers", "plain", "short", "usd"]


def plain(value: Any) -> str:
    """Text that plotly shows as it is: no tags, no entities, no TeX, no lines of its own.

    Parameters
    ----------
    value : Any
        Text from elsewhere.

    Returns
    -------
    str

    Examples
    --------
    >>> plain("<b>$x$</b>")
    '&lt;b&gt;&#36;x&#36;&lt;/b&gt;'
    """
    text = " ".join(str(value).split()) or " "
    return html.escape(text, quote=False).replace("$", "&#36;").replace("%{", "%&#123;")


def numbers(values: Any) -> list[float | None]:
    """Plain floats for a figure: shorter in a saved notebook than packed arrays; None if missing.

    Parameters
    ----------
    values : array_like
        Numbers.

    Returns
    -------
    list of float or None
    """
    column = pd.to_numeric(pd.Series(values), errors="coerce").astype("float64")
    return [None if math.isnan(v) or math.isinf(v) else float(v) for v in column]


def usd(value: Any) -> str:
    """Money as people read it, without an exponent.

    Parameters
    ----------
    value : float
        USD.

    Returns
    -------
    str

    Examples
    --------
    >>> usd(0.0574), usd(2.5), usd(0), usd(float("nan")), usd(1234)
    ('0.0574 USD', '2.5 USD', 'free', 'not known', '1,234 USD')
    """
    if value is None or pd.isna(value):
        return "not known"
    return "free" if value == 0 else f"{short(value)} USD"


def short(value: float) -> str:
    """Four figures that count, and no exponent.

    Parameters
    ----------
    value : float
        Any number.

    Returns
    -------
    str

    Examples
    --------
    >>> short(0.00012345), short(1050000), short(2.0)
    ('0.0001234', '1,050,000', '2')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    places = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: Any) -> str:
    """Whole number with separators, or that it is not listed.

    Parameters
    ----------
    value : int or missing
        A count.

    Returns
    -------
    str

    Examples
    --------
    >>> count(128000), count(None)
    ('128,000', 'not listed')
    """
    return "not listed" if value is None or pd.isna(value) else f"{int(value):,}"


def cut(text: str, most: int) -> str:
    """Text that fits, its middle left out where it is too long.

    Parameters
    ----------
    text : str
        Any text.
    most : int
        Characters.

    Returns
    -------
    str

    Examples
    --------
    >>> cut("deepseek-v4-pro-preview", 15)
    'deepsee…preview'
    """
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - head - 1) :]}"
