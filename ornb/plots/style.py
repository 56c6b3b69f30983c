"""How figures look: three themes, one palette, and colours that stay with a model.

A kernel cannot know whether JupyterLab is light or dark. So the default theme has no background of
its own, and text of one grey that has the same contrast against white as against JupyterLab's dark
background; ``theme="light"`` and ``"dark"`` bring their background along and reach more.

The palette has four colours of Okabe and Ito's, and four more chosen with them: each has a contrast
of 3:1 or more against both backgrounds, and any two stay apart for the red- and green-blind (Oklab
distance of 0.06 or more in the simulation of Machado and others). Tests compute both.

References
----------
Okabe and Ito, "Color Universal Design", 2008. Machado, Oliveira and Fernandes, "A
Physiologically-based Model for Simulation of Color Vision Deficiency", 2009. WCAG 2.2, 1.4.3 and
1.4.11. Backgrounds: JupyterLab 4.6, ``--jp-layout-color0`` of its two themes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from zlib import crc32

from ..errors import ConfigError

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

ThemeName = Literal["auto", "light", "dark"]

PALETTE = (
    "#0072B2",  # blue, Okabe-Ito
    "#D55E00",  # vermilion, Okabe-Ito
    "#009E73",  # bluish green, Okabe-Ito
    "#CC79A7",  # reddish purple, Okabe-Ito
    "#3D9BDC",  # sky blue, darkened until it shows on white
    "#C21628",  # crimson
    "#847FFC",  # violet
    "#7D5569",  # mauve
)
"""Eight colours for marks, told apart on light and dark, and by the colour-blind."""

OTHER = "#797979"
"""Grey for everything that has no colour of its own."""

RIM = {"width": 0.7, "color": "rgba(255,255,255,0.45)"}
"""Outline of dots, so that two which overlap stay two."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

MAKER_NAMES = {
    "google": "Google",
    "anthropic": "Anthropic",
    "openai": "OpenAI",
    "x-ai": "xAI",
    "deepseek": "DeepSeek",
    "mistralai": "Mistral",
    "qwen": "Qwen",
    "meta-llama": "Llama",
}
"""Makers with a colour of their own, in the order of `PALETTE`; all others are grey."""
_PLACE_OF_MAKER = {maker: place for place, maker in enumerate(MAKER_NAMES)}


class Theme(NamedTuple):
    """Colours around the data."""

    text: str
    quiet: str
    grid: str
    line: str
    paper: str


THEMES: dict[str, Theme] = {
    "auto": Theme(OTHER, OTHER, "rgba(121,121,121,0.22)", "rgba(121,121,121,0.6)", "rgba(0,0,0,0)"),
    "light": Theme("#212121", "#595959", "#E7E7E7", "#9A9A9A", "#FFFFFF"),
    "dark": Theme("#EDEDED", "#B5B5B5", "#2E2E2E", "#7C7C7C", "#111111"),
}
"""``auto`` reads on both; ``light`` and ``dark`` paint their own background."""

_DARK_BOX, _DARK_BOX_TEXT = "#26282B", "#FFFFFF"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_chosen: dict[str, str] = {"theme": "auto"}


def use_theme(name: ThemeName) -> None:
    """Choose how figures look from now on, where a call does not say ``theme=``.

    Parameters
    ----------
    name : {"auto", "light", "dark"}
        ``"auto"``, the default, has no background and reads on light and dark pages.

    Raises
    ------
    ConfigError
        There is no such theme.

    Examples
    --------
    >>> ornb.plots.use_theme("dark")
    >>> ornb.plots.use_theme("auto")
    """
    _theme_name(name)
    _chosen["theme"] = name


def _theme_name(name: str | None) -> str:
    chosen = _chosen["theme"] if name is None else name
    if chosen not in THEMES:
        raise ConfigError(
            f"theme={name!r} is not known; give one of {', '.join(map(repr, THEMES))}"
        )
    return chosen


def theme_of(name: str | None) -> Theme:
    """Colours of a theme; None is what `use_theme` chose."""
    return THEMES[_theme_name(name)]


def template(name: str | None = None) -> go.layout.Template:
    """Plotly template of a theme, small enough to be saved with every figure.

    Parameters
    ----------
    name : str or None
        As in `theme_of`.

    Returns
    -------
    plotly.graph_objects.layout.Template
        For ``figure.update_layout(template=...)``, in figures of your own too.

    Raises
    ------
    ConfigError
        There is no such theme.

    Examples
    --------
    >>> ornb.plots.template("dark").layout.paper_bgcolor
    '#111111'
    """
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

    of = theme_of(name)
    axis = {
        "gridcolor": of.grid,
        "linecolor": of.line,
        "zerolinecolor": of.line,
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "tickcolor": of.line,
        "ticklen": 5,
        "automargin": True,
        "title": {"font": {"size": 13}, "standoff": 10},
        "tickfont": {"size": 12},
        "exponentformat": "none",  # 0.0005 USD, which plotly's own choice writes as 500µ
        "minor": {"ticklen": 3, "tickcolor": of.line},
    }
    return go.layout.Template(
        layout={
            "font": {"family": _FONT, "size": 13, "color": of.text},
            "paper_bgcolor": of.paper,
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(PALETTE),
            "hovermode": "closest",
            "hoverlabel": {
                "bgcolor": _DARK_BOX,
                "bordercolor": OTHER,
                "align": "left",
                "font": {"family": _FONT, "size": 12, "color": _DARK_BOX_TEXT},
            },
            "legend": {"font": {"size": 12}, "bgcolor": "rgba(0,0,0,0)", "itemsizing": "constant"},
            "modebar": _modebar(of),
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def _modebar(of: Theme) -> dict[str, Any]:
    """Few buttons; plotly 7 has one more, which uploads the figure to a company's servers."""
    return {
        "bgcolor": "rgba(0,0,0,0)",
        "color": of.line,
        "activecolor": of.text,
        "remove": [
            "sendChartToCloud",
            "lasso2d",
            "select2d",
            "autoScale2d",
            "zoomIn2d",
            "zoomOut2d",
        ],
    }


# ---- colours that stay ------------------------------------------------------------------------

_lock = threading.Lock()
_places: dict[str, int] = {}


def maker_color(author: str | None) -> str:
    """Colour of a maker's models where hundreds are shown; `OTHER` for most makers."""
    place = _PLACE_OF_MAKER.get(author or "")
    return OTHER if place is None else PALETTE[place]


def _place(model: str) -> int:
    """Where a model stands: colour by the remainder of 8, symbol and dash by the quotient.

    The first of a maker's models gets the maker's colour, further ones the next that is free: eight
    colours before any repeats, then the same eight with another symbol.
    """
    with _lock:
        if model in _places:
            return _places[model]
        maker = model.partition("/")[0].removeprefix("~")
        wanted = _PLACE_OF_MAKER.get(maker, crc32(model.encode()) % len(PALETTE))
        taken = set(_places.values())
        for around in range(len(SYMBOLS)):
            for step in range(len(PALETTE)):
                place = around * len(PALETTE) + (wanted + step) % len(PALETTE)
                if place not in taken:
                    _places[model] = place
                    return place
        return wanted  # 64 models in one kernel: from here on looks repeat


def color_of(model: str) -> str:
    """Colour of a model, the same in every figure of this kernel.

    Parameters
    ----------
    model : str
        Its id.

    Returns
    -------
    str
        One of `PALETTE`.

    Examples
    --------
    >>> color_of("openai/gpt-5.4") == color_of("openai/gpt-5.4")
    True
    """
    return PALETTE[_place(str(model)) % len(PALETTE)]


def symbol_of(model: str) -> str:
    """Plotly's name of the symbol that goes with `color_of`."""
    return SYMBOLS[_place(str(model)) // len(PALETTE) % len(SYMBOLS)]


def ring(color: Any, symbol: Any, size: int, width: float = 2) -> dict[str, Any]:
    """Marker with an outline of its own colour, as open symbols need."""
    return {
        "color": color,
        "symbol": symbol,
        "size": size,
        "line": {"width": width, "color": color},
    }


def dash_of(model: str) -> str:
    """Plotly's name of the dash that goes with `color_of`."""
    return DASHES[_place(str(model)) // len(PALETTE) % len(DASHES)]
