"""How ornb's wide tables show themselves in a cell: the columns that matter, the others folded.

They are plain DataFrames, so nothing of this is theirs: IPython is told how to show a frame that
has all the columns of such a table. Filtered, sorted and joined ones have; one that was cut to
columns of a person's choice has not, and is shown by pandas as ever.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..api.reply import NO_TEX, counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["register"]

MATTER = {
    "catalog.frames.MODEL_COLUMNS": "created context_length input_modalities tools reasoning "
    "prompt_usd_per_million completion_usd_per_million intelligence_index",
    "catalog.observations.CATALOG_COLUMNS": "author created context_length input_modalities "
    "prompt_usd_per_million completion_usd_per_million price_tier is_free",
    "catalog.frames.ENDPOINT_COLUMNS": "provider_name quantization context_length "
    "prompt_usd_per_million completion_usd_per_million uptime_last_1d_percent "
    "time_to_first_token_p50_s tokens_per_second_p50",
    "catalog.prices.PRICE_HISTORY_COLUMNS": "id date event prompt_usd_per_million "
    "completion_usd_per_million context_length is_free source",
    "catalog.prices.PRICE_AT_COLUMNS": "listed prompt_usd_per_million completion_usd_per_million "
    "listed_now prompt_usd_per_million_now completion_usd_per_million_now price_ratio note",
    "runs.measure.MEASURE_COLUMNS": "model source repeat warmup time_to_first_token_s duration_s "
    "tokens_per_second status",
    "ledger.table.USAGE_COLUMNS": "started_at model source total_tokens cost_usd estimate_usd "
    "duration_s status",
    "ledger.table.SUMMARY_COLUMNS": "calls sources errors total_tokens cost_usd cost_unknown "
    "estimate_usd median_duration_s",
    "text.comparison.COMPARISON_COLUMNS": "model source text completion_tokens cost_usd "
    "estimate_usd duration_s status",
    "runs.answers.BATCH_COLUMNS": "answer status source prompt_tokens completion_tokens cost_usd "
    "estimate_usd duration_s",
}
"""The columns of a table to the eight that are shown; the first table that fits counts."""
WHERE_ANY = ("byok_usd", "proxy_usd", "error")
"""Shown as well where they hold something: money and failures are not to be overlooked."""
PANDAS_DEFAULTS = (0, 20)
"""Of ``display.max_columns``: whoever has set another has said what to see."""
FOLDED_ROWS = 10
QUIET = ("display.show_dimensions", False)
"""The number of columns is another's."""
PRICES = ["prompt_usd_per_million", "completion_usd_per_million"]


def register(shell: Any) -> None:
    """Tell an IPython how to show these tables, unless somebody else shows all DataFrames."""
    formatters = getattr(getattr(shell, "display_formatter", None), "formatters", {})
    for mime, show in {"text/html": _html, "text/plain": _plain}.items():
        formatter = formatters.get(mime)
        for module in ("pandas", "pandas.core.frame"):  # its home from pandas 3 on, and before
            if formatter is not None and f"{module}.DataFrame" not in formatter:
                formatter.for_type_by_name(module, "DataFrame", show)


def _html(frame: pd.DataFrame) -> str | None:
    shown = _shown(frame)
    own: Any = type(frame)._repr_html_  # type: ignore[attr-defined]  # pandas', or who replaced it
    if shown is None or not own.__module__.startswith("pandas."):
        html: str | None = own(frame)
        return html
    import pandas as pd

    rest = [not here for here in shown]
    with pd.option_context(*QUIET):
        table = own(_readable(frame, shown))
        with pd.option_context("display.max_columns", None, "display.max_rows", FOLDED_ROWS):
            others = own(frame.loc[:, rest])
    if table is None:  # display.notebook_repr_html says no
        return None
    count = f"{counted(len(frame), 'row')}, {sum(shown)} of {len(shown)} columns"
    said = second_ids(frame)
    said = f"<p>{said}</p>" if said else ""
    return (  # what a maker writes of a price is no formula
        f'<div class="{NO_TEX}">{table}{said}'
        f"<details><summary>{count}; open for the other {sum(rest)}</summary>"
        f"{others}<p>All from the start: <code>pd.options.display.max_columns = None</code></p>"
        "</details></div>"
    )


def _plain(frame: pd.DataFrame, printer: Any, _: bool) -> None:
    shown = _shown(frame)
    if shown is None:
        printer.text(repr(frame))
        return
    import pandas as pd

    with pd.option_context(*QUIET):
        words = f"the {sum(shown)} that matter of {len(shown)} columns; .columns names all"
        printer.text(f"{_readable(frame, shown)!r}\n\n[{counted(len(frame), 'row')}, {words}]")
        if said := second_ids(frame):
            printer.text(f"\n{said}")


def _readable(frame: pd.DataFrame, shown: list[bool]) -> pd.DataFrame:
    """The columns that matter, with no price a token where that reads as free and is not."""
    table = frame.loc[:, shown]
    if not {"is_free", *PRICES} <= set(frame.columns):
        return table
    return table.assign(**{name: table[name].mask(in_other_unit(frame)) for name in PRICES})


def in_other_unit(models: pd.DataFrame) -> pd.Series[bool]:
    """Which models list 0 a token and are not free: an image, a song, a request is billed."""
    is_billed = models["is_free"].eq(False).fillna(False)  # of some prices nobody tells it
    return (models[PRICES] == 0).all(axis=1) & is_billed


def _shown(frame: pd.DataFrame) -> list[bool] | None:
    """Which columns to show; None where that is up to pandas."""
    import pandas as pd

    if pd.get_option("display.max_columns") not in PANDAS_DEFAULTS:
        return None
    there = set(frame.columns)
    for place, named in MATTER.items():
        matter = set(named.split())
        if not matter <= there:
            continue
        module, _, name = place.rpartition(".")
        known = set(getattr(importlib.import_module(f"ornb.{module}"), name))
        if not known <= there:
            return None
        matter |= {name for name in WHERE_ANY if name in known and _holds_any(frame[name])}
        return [name in matter or name not in known for name in frame.columns]
    return None


def second_ids(models: pd.DataFrame) -> str:
    """Explain why there are more ids than models; empty where there are not."""
    if not {"is_alias", "is_batch"} <= set(models.columns):
        return ""
    aliases, batch = int(models["is_alias"].sum()), int(models["is_batch"].sum())
    alone = int((~models["is_alias"] & ~models["is_batch"]).sum())
    kinds = [f"{aliases} aliases"] * (aliases > 0) + [f"{batch} ids of the Batch API"] * (batch > 0)
    said = (
        f"{len(models):,} ids are {alone:,} models: {' and '.join(kinds)} name some of them again."
    )
    return said if kinds else ""


def _holds_any(column: pd.Series[Any]) -> bool:
    return any(column.dropna().to_numpy().ravel())
