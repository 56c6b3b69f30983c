"""Figure of embeddings: texts on a plane, those of like meaning near each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import ConfigError
from . import canvas, style, words
from .rows import Rows

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_GROUPS = len(style.PALETTE)
_LONGEST = 100  # characters of a text that are shown
_SCALE = "Cividis"  # told apart by the colour-blind
_REST = "other values"


def text_map(
    df: pd.DataFrame,
    color: str | None = None,
    *,
    text: str | None = None,
    embedding: str = "embedding",
    theme: str | None = None,
) -> go.Figure:
    """Texts on a plane, by the two directions in which their embeddings differ most.

    What is near in a plane of small variance need not be near in meaning: the axes say how much of
    the variance they have. Distances between all numbers of the vectors are what a search takes.

    Parameters
    ----------
    df : pandas.DataFrame
        What `ornb.embed` gives, with whatever columns were added.
    color : str, optional
        A column. Its values get a colour each, the seven most frequent if there are more than
        eight; of numbers, a scale.
    text : str, optional
        The column that names the dots; by default the first that has texts.
    embedding : str
        The column of the vectors.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        Each dot is a text. Axes have no unit: they are sums of the vectors' numbers, centred, and
        tell their share of the variance. ``table`` has the coordinates.

    Raises
    ------
    ConfigError
        There is no such column, or it has no vectors, or vectors of several lengths.

    Examples
    --------
    >>> df = ornb.embed(["cold soup", "warm soup", "a lovely evening"], progress=False)
    >>> ornb.plots.text_map(df).layout.xaxis.title.text
    'first component (no unit): 70 % of the variance'

    Notes
    -----
    Principal components of the centred vectors: by scikit-learn's ``PCA`` where it is installed,
    else by NumPy, from the eigenvectors of the smaller of ``X.T @ X`` and ``X @ X.T``; they are the
    same, and the caption says which. Signs mean nothing; the outermost text is put on the right,
    and on top.
    """
    rows = Rows.of(df, "texts", [embedding, *filter(None, (color, text))])
    rows.leave_out([_is_none(each) for each in rows.frame[embedding]], "without an embedding")
    if note := df.attrs.get("note"):
        rows.notes.append(f"{note}.")
    vectors = _matrix(rows.frame[embedding])
    places, shares, by = _components(vectors)
    is_flat = not shares.any()
    if len(vectors):
        rows.notes.append(f"Principal components by {by}.")
    figure = canvas.sheet(
        "Which texts are near each other?",
        f"Each dot is a text: the plane has {100 * shares.sum():.0f} % of the variance of "
        f"{vectors.shape[1]:,} numbers.",
        rows,
        theme=theme,
        height=560,
        legend_rows=1 if color else 0,
    )
    for update, name, share in (
        (figure.update_xaxes, "first", shares[0]),
        (figure.update_yaxes, "second", shares[1]),
    ):
        percent = f"{100 * share:.0f} % of the variance"
        update(title={"text": f"{name} component (no unit): {percent}"}, zeroline=False)
    if is_flat:
        rows.aside.append("everything: it takes two different vectors")
        return canvas.say_empty(figure, rows)
    figure.update_xaxes(range=canvas.padded(places[:, 0]))
    # As long both ways: what is nearer in the figure is nearer in the plane.
    figure.update_yaxes(range=canvas.padded(places[:, 1]), scaleanchor="x")
    names = _names(rows.frame, text)
    frame = pd.DataFrame({"x": places[:, 0], "y": places[:, 1], "name": names})
    _draw(figure, frame, None if color is None else rows.frame[color])
    return figure


def _is_none(vector: Any) -> bool:
    return vector is None or (isinstance(vector, float) and math.isnan(vector))


def _matrix(vectors: pd.Series[Any]) -> Any:
    try:
        listed = [np.asarray(each, dtype="float64") for each in vectors]
        lengths = {each.shape for each in listed}
        is_good = all(len(each.shape) == 1 and np.isfinite(each).all() for each in listed)
    except (TypeError, ValueError, OverflowError):
        is_good, lengths = False, set()
    if not is_good or len(lengths) > 1:
        many = " and ".join(sorted(str(shape[0]) for shape in lengths)) if is_good else ""
        raise ConfigError(
            f"{vectors.name!r} has {f'vectors of {many} numbers' if many else 'no vectors'}; give "
            "what ornb.embed makes, by one model."
        )
    return np.stack(listed) if listed else np.empty((0, 0))


def _components(vectors: Any) -> tuple[Any, Any, str]:
    """Coordinates of the first two principal components, their shares, and who computed them."""
    n, size = vectors.shape
    places, shares, by = np.zeros((n, 2)), np.zeros(2), "NumPy; scikit-learn is not installed"
    centred = vectors - vectors.mean(axis=0) if n else vectors
    total = float((centred**2).sum())
    found = min(n, size, 2)
    if total <= 1e-12 * max(1.0, float((vectors**2).sum())):  # of rounding alone
        return places, shares, by
    try:
        import sklearn  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from sklearn.decomposition import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            PCA,
        )
    except ImportError:
        product = centred.T @ centred if size <= n else centred @ centred.T
        values, axes = np.linalg.eigh(product)
        values, axes = values[::-1][:found].clip(0), axes[:, ::-1][:, :found]
        places[:, :found] = centred @ axes if size <= n else axes * np.sqrt(values)
        shares[:found] = values / total
    else:
        pca = PCA(found, random_state=0)
        places[:, :found] = pca.fit_transform(centred)
        shares[:found] = pca.explained_variance_ratio_
        by = f"scikit-learn {sklearn.__version__}"
    outermost = places[np.abs(places).argmax(axis=0), [0, 1]]
    return places * np.where(outermost < 0, -1, 1), shares, by


def _names(frame: pd.DataFrame, text: str | None) -> list[str]:
    if text is None:
        texts = [name for name in frame.columns if pd.api.types.is_string_dtype(frame[name])]
        text = texts[0] if texts else None
    values = frame.index if text is None else frame[text]
    return [words.cut(str(value), _LONGEST) for value in values]


def _draw(figure: go.Figure, frame: pd.DataFrame, values: pd.Series[Any] | None) -> None:
    look: dict[str, Any] = {"size": 8, "line": style.RIM, "opacity": 0.85}
    if values is None:
        _dots(figure, frame, "texts", {**look, "color": style.PALETTE[0]}, None)
        return
    color: Any = values.name
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if is_number and values.nunique() > _GROUPS:
        bar = {"title": {"text": words.plain(color), "side": "right"}, "thickness": 12}
        known = values.notna() & ~values.isin([math.inf, -math.inf])
        look |= {"color": words.numbers(values[known]), "colorscale": _SCALE, "colorbar": bar}
        _dots(figure, frame[known], words.plain(color), look, values)
        if not known.all():
            gray = {"size": 8, "color": style.OTHER}
            _dots(figure, frame[~known], "missing", gray, values)
        figure.update_layout(showlegend=not known.all())
        return
    named = values.astype(object).where(values.notna(), "missing").astype(str)
    counts = named.value_counts()
    kept = list(counts.index if len(counts) <= _GROUPS else counts.index[: _GROUPS - 1])
    kept = sorted(kept)
    named = named.where(named.isin(kept), _REST)
    for n, value in enumerate([*kept, *([_REST] if (named == _REST).any() else [])]):
        is_rest = value == _REST and value not in kept
        paint = {
            "color": style.OTHER if is_rest else style.PALETTE[n],
            "symbol": style.SYMBOLS[n % len(style.SYMBOLS)],
        }
        _dots(figure, frame[named == value], words.plain(value), {**look, **paint}, values)


def _dots(
    figure: go.Figure,
    frame: pd.DataFrame,
    name: str,
    marker: dict[str, Any],
    values: pd.Series[Any] | None,
) -> None:
    hover: Any = {} if values is None else {values.name: list(values[frame.index])}
    figure.add_scatter(
        **canvas.named(frame["name"], "first_component", "second_component", hover),
        x=words.numbers(frame["x"]),
        y=words.numbers(frame["y"]),
        mode="markers",
        name=name,
        marker=marker,
    )
