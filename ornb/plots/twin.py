"""A figure as rows, for where no front end draws: its marks, and a page that shows either."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..api.reply import NO_TEX
from ..errors import ConfigError, whole

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]


def table(figure: go.Figure) -> pd.DataFrame:
    """Marks of a figure as a table.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        A figure of this package.

    Returns
    -------
    pandas.DataFrame, one row a mark
        ``series``, ``name``, the two positions under the names of their columns, and what the
        hover text says (str). ``attrs["caption"]`` is the figure's caption; of a `calibration`,
        ``attrs`` has its measures too.

    Raises
    ------
    ConfigError
        It is no figure of this package.

    Examples
    --------
    >>> figure = ornb.plots.price_map(ornb.models())
    >>> table(figure).columns[:3].tolist()
    ['series', 'name', 'prompt_usd_per_million']
    """
    _caption(figure)
    parts = [_trace_rows(trace) for trace in figure.data if trace.meta]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    rows = rows.reindex(columns=list(dict.fromkeys(["series", "name", *rows.columns])))
    rows.attrs |= figure.layout.meta
    return rows


def _caption(figure: Any) -> str:
    meta = getattr(getattr(figure, "layout", None), "meta", None)
    if not isinstance(meta, dict) or "caption" not in meta:
        raise ConfigError(
            f"this {type(figure).__name__} is no figure of ornb.plots; give one that a function "
            "there returned"
        )
    return str(meta["caption"])


def _trace_rows(trace: Any) -> pd.DataFrame:
    meta = trace.meta
    data: dict[str, Any] = {
        "series": html.unescape(str(trace.name or "")),
        "name": [html.unescape(str(text)) for text in trace.text],
        meta["x"]: [_bare(value) for value in trace.x],
        meta["y"]: [_bare(value) for value in trace.y],
    }
    for n, column in enumerate(meta["columns"]):
        data[column] = [html.unescape(str(row[n])) for row in trace.customdata]
    return pd.DataFrame(data)


def _bare(value: Any) -> Any:
    return html.unescape(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class WithTable:
    """A figure that brings its rows along; a notebook shows the figure where it can.

    Attributes
    ----------
    figure : plotly.graph_objects.Figure
        The figure.
    rows : int
        How many rows of its table are kept with it.
    """

    figure: go.Figure
    rows: int

    def to_html(self) -> str:
        """Title, first rows and caption as plain HTML, without styles or scripts.

        Returns
        -------
        str
        """
        title = re.sub("<br><span.*", "", str(self.figure.layout.title.text))
        marks = table(self.figure)
        more = len(marks) - self.rows
        body = marks.head(self.rows).to_html(index=False, border=0, na_rep="")
        caption = html.escape(marks.attrs["caption"])
        rest = f" {more:,} further rows are in the figure." if more > 0 else ""
        return f'<div class="{NO_TEX}"><p>{title}</p>{body}<p>{caption}{rest}</p></div>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        marks = table(self.figure)
        text = marks.head(self.rows).to_string(index=False)
        return {
            "application/vnd.plotly.v1+json": self.figure.to_plotly_json(),
            "text/html": self.to_html(),
            "text/plain": f"{text}\n{marks.attrs['caption']}",
        }


def with_table(figure: go.Figure, rows: int = 10) -> WithTable:
    """Add its rows to a figure, for readers of a page that does not draw it.

    JupyterLab draws the figure. Where plotly is not at hand (an export to HTML that a headless run
    made, a file viewer) the first rows stand there as a table, with the caption.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        A figure of this package.
    rows : int
        How many rows are kept.

    Returns
    -------
    WithTable
        To be left at the end of a cell.

    Raises
    ------
    ConfigError
        It is no figure of this package, or `rows` is below 1.

    Examples
    --------
    >>> shown = with_table(ornb.plots.price_map(ornb.models()), rows=3)
    >>> shown.to_html().count("<tr")
    4
    """
    _caption(figure)
    return WithTable(figure, whole("rows", rows, 1))
