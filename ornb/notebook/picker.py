"""Choose a model from the catalogue: a table that searches, filters and sorts in the browser.

The columns go to the page once. From then on the page filters by itself, so it answers while the
kernel is busy; what comes back is the person's choice (`ModelPicker.value`) and how they looked for
it (`ModelPicker.filters`), which `ModelPicker.code` turns into the pandas line that gives the same
rows in the same order.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import traitlets as t

from .. import catalog, session
from ..api.reply import NO_TEX
from ..api.service import is_openrouter
from ..catalog.filters import ANY_OF, FLAGS, GOOD_AT, KINDS, LISTS, MOST, bare_id, spread
from ..catalog.observations import aged
from ..columns import plain
from ..errors import ConfigError, near
from . import kept
from .base import BadValue, Choice, Widget, describe, in_thread, module, sheet
from .tables import in_other_unit, second_ids

HERE = Path(__file__)


class Shown(NamedTuple):
    """How a column of the models frame is shown: heading, unit, and how to write its values."""

    label: str
    unit: str
    kind: str


COLUMNS: dict[str, Shown] = {
    "name": Shown("Model", "", "text"),
    "author": Shown("Author", "", "text"),
    "context_length": Shown("Context", "tokens", "tokens"),
    "max_completion_tokens": Shown("Max answer", "tokens", "tokens"),
    "prompt_usd_per_million": Shown("Prompt", "$ per M", "usd"),
    "completion_usd_per_million": Shown("Completion", "$ per M", "usd"),
    "intelligence_index": Shown("Intelligence", "index", "points"),
    "coding_index": Shown("Coding", "index", "points"),
    "agentic_index": Shown("Agentic", "index", "points"),
    "created": Shown("Created", "UTC", "date"),
    "knowledge_cutoff": Shown("Knowledge to", "", "date"),
}
"""Columns that a picker can show and sort by, under their names in the models frame."""

DEFAULT_COLUMNS = (
    "name",
    "context_length",
    "prompt_usd_per_million",
    "completion_usd_per_million",
    "intelligence_index",
    "created",
)

FILTERS = tuple(catalog.filter_models.__kwdefaults__ or ())
"""Names of the filters: the keywords of `ornb.catalog.filter_models`."""

_NUMBERS = (
    *(name for name, shown in COLUMNS.items() if shown.kind not in ("text", "date")),
    "cache_read_usd_per_million",
    "cache_write_usd_per_million",
)
_DATES = ("created", "knowledge_cutoff", "expiration_date")
_FLAGS = (*FLAGS.values(), *KINDS.values(), "is_moderated")
_WORDS = (*ANY_OF, *LISTS.values(), "alias_target")
_TEXTS = ("name", "author")
_OF_PROVIDERS = {
    "name": "provider_name",
    "tag": "tag",
    "tier": "service_tier",
    "prompt": "prompt_usd_per_million",
    "completion": "completion_usd_per_million",
    "first_token_s": "time_to_first_token_p50_s",
    "tokens_per_second": "tokens_per_second_p50",
}
_STATIC_ROWS = 15
_BEST, _NEWEST = ("match", False), ("created", False)


class Names(t.TraitType[Any, Any]):
    """A tuple of str, or None for "not asked"; one str and any iterable of str are taken too."""

    default_value = None
    info_text = "a str, several of them, or None"

    def validate(self, obj: Any, value: Any) -> tuple[str, ...] | None:
        """Bring `value` into the one form that is kept."""
        names = _names(value)
        if names is None:
            self.error(obj, value)
        return names or None


def _names(value: Any) -> tuple[str, ...] | None:
    """Take one name or several, of which None is none; None for what is no names."""
    names = (value,) if isinstance(value, str) else () if value is None else value
    if not isinstance(names, Iterable) or isinstance(names, Mapping | pd.DataFrame):
        return None
    names = tuple(names)
    return names if all(isinstance(name, str) for name in names) else None


class ModelPicker(Widget):
    r"""A table of models to search, filter, sort and choose from.

    Parameters
    ----------
    models : pandas.DataFrame, optional
        A models frame or rows of one (docs/tables.md). Default:
        ``ornb.models()``, the catalogue of this notebook's connection.
    value : str or iterable of str, optional
        What is picked at the start: an id, or several with ``multiple=True``.
    multiple : bool
        Let the person pick more than one; `value` is then a tuple of ids in the order picked.
    max_choices : int, optional
        At most so many, with ``multiple=True``.
    filters : dict, optional
        Filters to start with, by the keywords of `ornb.catalog.filter_models`.
    sort : tuple of (str, bool)
        Column and whether ascending. Default, ``("match", False)``: of a search the best match
        first, else the newest.
    columns : iterable of str
        Columns to show, out of `COLUMNS`; ``"name"`` is always there.
    height : int
        Height of the list in CSS pixels.
    **traits : Any
        Traits of every Jupyter widget, such as ``layout``.

    Raises
    ------
    ConfigError
        An unknown id, filter, column or argument, or a frame that is no models frame. The message
        proposes what may have been meant.

    Examples
    --------
    >>> from ornb.catalog import to_frame
    >>> models = to_frame([{"id": "lab/small", "context_length": 8192}, {"id": "lab/large"}])
    >>> picker = ModelPicker(models, value="lab/small", filters={"search": "small"})
    >>> picker.value, picker.matches.index.tolist()
    ('lab/small', ['lab/small'])
    >>> print(picker.code)
    text = (models.index + "\n" + models["name"]).str.casefold()
    matches = models[
        text.str.contains('small', regex=False)
        & ~models["is_batch"]
    ].sort_values("created", ascending=False, kind="stable")
    bare = matches.index.str.casefold().str.replace(r".*/|[-._: ]", "", regex=True)
    rank = 2 - (bare == 'small') - bare.str.startswith('small')
    matches = matches.iloc[rank.argsort(kind="stable")]
    """

    _esm = module(HERE)
    _css = sheet(HERE)

    value = Choice().tag(sync=True)
    """The id picked, or None; with `multiple` a tuple of ids in the order picked."""

    multiple = t.Bool(False, read_only=True).tag(sync=True)
    """Whether more than one can be picked. Set when made."""

    max_choices = t.Int(None, allow_none=True, min=1).tag(sync=True)
    """With `multiple`: most ids that can be picked; None is no limit."""

    sort = t.Tuple(t.Unicode(), t.Bool(), default_value=_BEST).tag(sync=True)
    """Column the rows are sorted by, and whether ascending. Missing values are always last.

    ``("match", False)``, the default, is what nobody asks to sort: of a search the best match
    first, else the newest.
    """

    columns = t.Tuple(default_value=DEFAULT_COLUMNS).tag(sync=True)
    """Columns shown, by their names in the models frame; ``"name"`` is always the first."""

    height = t.Int(352, min=120).tag(sync=True)
    """Height of the list in CSS pixels."""

    search = t.Unicode("").tag(sync=True)
    """Filter: words, in any case and order, that must each occur in the id or the name."""

    kind = Names().tag(sync=True)
    """Filter: kinds of models, any of them; given when it is made, the picker lists all kinds."""

    free = t.Bool(None, allow_none=True).tag(sync=True)
    """Filter: True for free models, False for those that cost, None for both."""

    min_context = t.Int(None, allow_none=True, min=0).tag(sync=True)
    """Filter: least context length in tokens."""

    accepts = Names().tag(sync=True)
    """Filter: modalities that must all be among the inputs, such as ``("image",)``."""

    returns = Names().tag(sync=True)
    """Filter: modalities that must all be among the outputs."""

    parameters = Names().tag(sync=True)
    """Filter: request parameters that must all be supported, such as ``("seed",)``."""

    tools = t.Bool(None, allow_none=True).tag(sync=True)
    """Filter: whether the model can call tools."""

    reasoning = t.Bool(None, allow_none=True).tag(sync=True)
    """Filter: whether the model reasons before it answers."""

    structured_outputs = t.Bool(None, allow_none=True).tag(sync=True)
    """Filter: whether an answer can be held to a JSON schema."""

    max_prompt_usd_per_million = t.Float(None, allow_none=True, min=0).tag(sync=True)
    """Filter: highest price in USD per million prompt tokens."""

    max_completion_usd_per_million = t.Float(None, allow_none=True, min=0).tag(sync=True)
    """Filter: highest price in USD per million completion tokens."""

    family = Names().tag(sync=True)
    """Filter: tokenizer families, any of them, such as ``("Claude",)``."""

    author = Names().tag(sync=True)
    """Filter: authors, any of them, such as ``("openai", "google")``."""

    routers = t.Bool(True).tag(sync=True)
    """Filter: False leaves out models that choose a model for you (their price varies)."""

    aliases = t.Bool(True).tag(sync=True)
    """Filter: False leaves out ``~`` names that stand for the newest model of a family."""

    batch = t.Bool(False).tag(sync=True)
    """Filter: True shows rows of the asynchronous Batch API too, which are not for chat."""

    _table = t.Dict().tag(sync=True)
    """The columns, as flat lists; sent once."""

    _columns: Any = t.List().tag(sync=True)
    """Headings of all columns that can be shown."""

    _source = t.Dict().tag(sync=True)
    """Where the catalogue came from and of which day it is, for people."""

    _code = t.Dict().tag(sync=True)
    """`code`, with the filters and sort it was written for: the page may be ahead of the kernel."""

    _kept = t.Dict().tag(sync=True)
    """Favourites and, if the person wants that, what was picked last."""

    _compares = t.Bool(False).tag(sync=True)
    """Whether somebody waits for "Compare these"; else it copies the line for it."""

    _opened = t.Unicode(None, allow_none=True).tag(sync=True)
    """Id of the model that the person looks at closer."""

    _closer = t.Dict().tag(sync=True)
    """What the kernel knows of it; its providers are None until they have come."""

    def __init__(
        self,
        models: pd.DataFrame | None = None,
        *,
        value: str | Iterable[str] | None = None,
        multiple: bool = False,
        max_choices: int | None = None,
        filters: Mapping[str, Any] | None = None,
        sort: tuple[str, bool] = _BEST,
        columns: Iterable[str] = DEFAULT_COLUMNS,
        height: int = 352,
        **traits: Any,
    ) -> None:
        wanted = _filter_traits({} if filters is None else filters)
        self._load = ""
        if models is None:
            is_wide = wanted.get("kind") or wanted.get("returns")
            self._load = "models = ornb.models({})\n".format('kind="all"' if is_wide else "")
            models = session.models(kind="all" if is_wide else None)
        self._models = _checked(models)
        if max_choices is not None and not multiple:
            raise ConfigError(f"max_choices={max_choices!r} needs multiple=True")
        self.set_trait("multiple", multiple)
        super().__init__(  # all at once: one message to the page
            **wanted,
            value=value,
            max_choices=max_choices,
            sort=sort,
            height=height,
            _table=table_for_page(self._models),
            columns=tuple(columns),
            _columns=[{"key": key, **column._asdict()} for key, column in COLUMNS.items()],
            _source={
                **_source(self._models.attrs),
                "chats_alone": "snapshot" in self._models.attrs
                and set(self._models["kind"]) == {"chat"},
                "second_ids": second_ids(self._models),
            },
            **traits,
        )
        self.observe(self._write_code, names=[*FILTERS, "sort"])
        self.observe(self._keep_used, names=["value"])
        self.on_msg(self._on_message)

    @property
    def models(self) -> pd.DataFrame:
        """The models frame that the picker offers (not a copy)."""
        return self._models

    @property
    def selected(self) -> pd.DataFrame:
        """The rows picked, in the order picked; no rows when nothing is.

        Returns
        -------
        pandas.DataFrame, one row a model picked
            Columns as in docs/tables.md, "Models".
        """
        return self._models.loc[self._picked()]

    @property
    def filters(self) -> dict[str, Any]:
        """The filters in force, by keyword.

        ``ornb.models(**picker.filters)`` gives the same models, ``batch`` is always among them.
        Assign a dict to set them all: those not named go back to their start. A change of the dict
        you read changes nothing; one filter alone is ``picker.tools = True``.

        Raises
        ------
        ConfigError
            On assignment: an unknown filter or a value that it cannot have.
        """
        neutral = catalog.filter_models.__kwdefaults__ or {}
        return {
            name: value
            for name, value in self._all_filters().items()
            if value not in ("", neutral[name]) or value != _start(name)
        }

    @filters.setter
    def filters(self, filters: Mapping[str, Any]) -> None:
        new = {name: _start(name) for name in FILTERS} | _filter_traits(filters)
        with self.hold_sync(), self.hold_trait_notifications():
            for name, value in new.items():
                setattr(self, name, value)

    def _all_filters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FILTERS}

    @property
    def matches(self) -> pd.DataFrame:
        """The models that meet the filters, in the order shown.

        Returns
        -------
        pandas.DataFrame, one row a match
            All of them, also those below the last row that the page draws.
        """
        column, ascending = _NEWEST if self.sort == _BEST else self.sort
        rows = self._models.sort_values(column, ascending=ascending, kind="stable", key=_sort_key)
        kept = catalog.filter_models(rows, **self.filters)
        return kept if self.sort == _BEST else rows[rows.index.isin(kept.index)]

    @property
    def code(self) -> str:
        """The pandas code that gives `matches`.

        It reads a models frame called ``models`` and leaves its result in ``matches``; when the
        picker itself loaded the catalogue, the line that loads it comes first.

        Returns
        -------
        str
        """
        return self._load + _pandas(self._all_filters(), self.sort)

    def on_compare(self, callback: Callable[[list[str]], object]) -> None:
        """Have a function called when the person clicks "Compare these".

        The button is there with `multiple`, once two models are picked. Without a function it
        copies the line ``ornb.compare("Your question", [...])``.

        Parameters
        ----------
        callback : callable
            Gets the ids picked, in the order picked. What it raises is shown in the picker. It
            takes the place of the one before.

        Examples
        --------
        >>> picker = ModelPicker(ornb.models(), multiple=True)
        >>> picker.on_compare(lambda ids: print("to compare:", *ids))
        """
        self._compare, self._compares = callback, True

    @property
    def favourites(self) -> list[str]:
        """Ids of the models with a star, in the order given; kept in a file of your data folder.

        Returns
        -------
        list of str
        """
        return list(self._kept["favourites"])

    @t.default("_kept")
    def _what_is_kept(self) -> dict[str, Any]:
        return kept.look()

    def _keep_used(self, change: Any) -> None:
        if self._kept["last_used"] is None:
            return
        before = (change["old"] or ()) if self.multiple else ()
        self._kept = kept.used(*(one for one in reversed(self._picked()) if one not in before))

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        told = content if isinstance(content, dict) else {}
        kind, on = told.get("type"), bool(told.get("on"))
        with self.guard():
            if kind == "compare" and self._compares:
                self._compare(self._picked())
            elif kind == "favourite" and told.get("id") in self._models.index:
                self._kept = kept.favourite(told["id"], on=on)
            elif kind == "keep_used":
                self._kept = kept.keep_used(on=on)

    def _write_code(self, _change: object) -> None:
        self._code = self._first_code()

    @t.default("_code")
    def _first_code(self) -> dict[str, Any]:
        return {"filters": self._all_filters(), "sort": self.sort, "text": self.code}

    @t.observe("_opened")
    def _look_closer(self, change: Any) -> None:
        if (model_id := change["new"]) in self._models.index:
            listed = self._models["description"].get(model_id)
            text = listed if isinstance(listed, str) else ""
            self._closer = {"id": model_id, "description": text, "providers": None, "note": ""}
            in_thread("ornb-picker", self._ask_providers)

    def _ask_providers(self) -> None:
        closer = self._closer
        try:
            found = _providers(closer["id"])
        except Exception as err:  # noqa: BLE001 - the boundary: nobody above would show it
            found = {"providers": [], "note": describe(err)}
        if self._opened == closer["id"]:
            self._closer = closer | found

    def _picked(self) -> list[str]:
        if self.value is None:
            return []
        return list(self.value) if self.multiple else [self.value]

    @t.validate("value")
    def _valid_value(self, proposal: Any) -> str | tuple[str, ...] | None:
        value = proposal["value"]
        if not self.multiple:
            if value is not None and not isinstance(value, str):
                raise BadValue(f"value is {value!r}; give one id, or make it with multiple=True")
            self._refuse_unknown([] if value is None else [value])
            return value
        names = _names(value)
        if names is None:
            raise BadValue(f"value is {value!r:.60}; give ids, such as a list of them")
        self._refuse_unknown(ids := list(dict.fromkeys(names)))
        if self.max_choices is not None and len(ids) > self.max_choices:
            raise BadValue(f"{len(ids)} models given; this picker takes {self.max_choices} at most")
        return tuple(ids)

    def _refuse_unknown(self, ids: list[Any]) -> None:
        for model_id in ids:
            if model_id not in self._models.index:
                near = catalog.closest(str(model_id), self._models)
                meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
                raise BadValue(
                    f"{model_id!r} is not among the {len(self._models)} models of this picker."
                    f"{meant} (A call takes any id; a picker offers what its frame lists.)"
                )

    @t.validate("sort")
    def _valid_sort(self, proposal: Any) -> tuple[str, bool]:
        column, ascending = proposal["value"]
        if column not in (known := ["match", *COLUMNS]):
            raise BadValue(f"cannot sort by {column!r}.{_or_known(column, known)}")
        return _BEST if column == "match" else (column, ascending)

    @t.validate("columns")
    def _valid_columns(self, proposal: Any) -> tuple[str, ...]:
        for name in proposal["value"]:
            if name not in COLUMNS:
                raise BadValue(f"the picker has no column {name!r}.{_or_known(name, COLUMNS)}")
        return tuple(dict.fromkeys(["name", *proposal["value"]]))

    @t.validate("kind", "accepts", "returns", "parameters")
    def _valid_names(self, proposal: Any) -> Any:
        names = proposal["value"]
        try:
            catalog.filter_models(self._models, **{proposal["trait"].name: names})
        except ConfigError as err:
            raise BadValue(str(err)) from err
        return names

    @t.validate("max_prompt_usd_per_million", "max_completion_usd_per_million")
    def _valid_price(self, proposal: Any) -> float | None:
        price: float | None = proposal["value"]
        if price is not None and not math.isfinite(price):
            raise BadValue(f"{proposal['trait'].name} is {price}; give USD per million, or None")
        return price

    def _static_text(self) -> str:
        picked = ", ".join(self._picked()) or "nothing"
        return f"ModelPicker: {self._counted()}; picked {picked}"

    def _counted(self) -> str:
        source = self._source
        return (
            f"{len(self.matches):,} of {len(self._models):,} models, "
            f"{source['date']} ({source['label']})"
        )

    def _static_html(self) -> str:
        rows = self.matches.head(_STATIC_ROWS)
        more = len(self.matches) - len(rows)
        picked = ", ".join(self._picked()) or "nothing"
        return (
            f'<div class="{NO_TEX}">'
            f"<p><b>Model picker</b>: {html.escape(self._counted())}</p>"
            + (f"<p>{second}</p>" if (second := self._source["second_ids"]) else "")
            + f"{_readable(rows, self.columns).to_html(index=False, border=0, escape=True)}"
            + (f"<p>and {more:,} more</p>" if more else "")
            + f"<p>Picked: <b>{html.escape(picked)}</b></p>"
            "<p>This is a picture of the picker. To search, sort and pick, run its cell again.</p>"
            "</div>"
        )


def _providers(model_id: str) -> dict[str, Any]:
    """Ask who serves a model, with prices and times as far as the listing has them."""
    endpoints = session.endpoints(model_id)
    rows = {name: plain(endpoints[column]) for name, column in _OF_PROVIDERS.items()}
    times = rows["first_token_s"] + rows["tokens_per_second"]
    untold = len(endpoints) and all(value is None for value in times)
    about = _source(endpoints.attrs)
    note = f"This listing ({about['label']}, {about['date']}) tells no times." if untold else ""
    return {
        "providers": [
            dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)
        ],
        "note": note,
    }


def _start(name: str) -> Any:
    """Return what a filter is before anyone touches it."""
    return getattr(ModelPicker, name).default_value


def _or_known(name: str, known: Iterable[str]) -> str:
    return near(name, known) or f" Known: {', '.join(known)}."


def _filter_traits(filters: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(filters, Mapping):
        raise ConfigError(f"filters is {filters!r}; give a dict such as {{'tools': True}}")
    for name in filters:
        if name not in FILTERS:
            raise ConfigError(f"{name!r} is no filter.{_or_known(name, FILTERS)}")
    return {n: _start(n) if v is None else v for n, v in filters.items()}


def _checked(models: pd.DataFrame) -> pd.DataFrame:
    needed = [*_NUMBERS, *_DATES, *_FLAGS, *_WORDS, "name"]
    if not isinstance(models, pd.DataFrame):
        raise ConfigError(
            f"models is a {type(models).__name__}; give a models frame, as ornb.models() does"
        )
    missing = [name for name in needed if name not in models.columns]
    if missing:
        raise ConfigError(
            f"the frame lacks {', '.join(missing)}; give a models frame, as ornb.models() does, "
            "or rows of one"
        )
    if not models.index.is_unique:
        twice = models.index[models.index.duplicated()][0]
        raise ConfigError(f"{twice!r} occurs twice; a picker needs one row a model")
    return models


# --- the frame, as the page gets it ---------------------------------------------------------------


def table_for_page(models: pd.DataFrame) -> dict[str, Any]:
    """Flat lists of JSON values, a few bytes a cell; None where a value is missing."""
    return {
        "id": [str(i) for i in models.index],
        "name": [str(n) for n in models["name"]],
        "numbers": {
            **{c: plain(models[c]) for c in _NUMBERS},
            **{c: plain(_unix(models[c])) for c in _DATES},
        },
        "ranks": {c: _ranks(models[c]) for c in _TEXTS},
        "flags": {c: [int(f) for f in models[c].fillna(False)] for c in _FLAGS},
        "words": {c: _coded(models[c]) for c in _WORDS},
    }


def _unix(column: pd.Series[Any]) -> pd.Series[Any]:
    epoch = pd.Timestamp(0, tz="UTC")
    return ((column - epoch) // pd.Timedelta(seconds=1)).astype("Int64")


def _ranks(column: pd.Series[Any]) -> list[int | None]:
    """Places in pandas' own order of text, so that the page sorts as `matches` does."""
    places, _ = pd.factorize(_sort_key(column), sort=True)
    return [int(p) if p >= 0 else None for p in places]


def _coded(column: pd.Series[Any]) -> dict[str, list[Any]]:
    """Each distinct value once, and its number for each row: most occur many times."""
    values = [v if isinstance(v, str | tuple) else None for v in column]
    legend = list(dict.fromkeys(values))
    number = {v: n for n, v in enumerate(legend)}
    return {"legend": legend, "codes": [number[v] for v in values]}


def _source(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    source = attrs.get("source")
    day = attrs.get("snapshot") or str(attrs.get("fetched_at") or "")[:16].replace("T", " ")
    is_old = source == "snapshot" and attrs.get("snapshot")
    return {
        "live": source == "live",
        "label": {"live": "live", "snapshot": "offline snapshot", "recorded": "recorded"}.get(
            str(source), "source unknown"
        ),
        "date": f"catalogue of {day}" if day else "catalogue, undated",
        "notes": [
            *([f"Its prices are {aged(attrs['snapshot'])}."] if is_old else []),
            *map(str, attrs.get("notes") or ()),
        ],
        "pages": source == "snapshot" or is_openrouter(str(attrs.get("url") or "")),
    }


# --- the filters, as pandas code ------------------------------------------------------------------


def _sort_key(column: pd.Series[Any]) -> pd.Series[Any]:
    """Text sorts without regard to case."""
    return column.str.casefold() if column.name in _TEXTS else column


def _pandas(filters: Mapping[str, Any], sort: tuple[str, bool]) -> str:
    text = 'text = (models.index + "\\n" + models["name"]).str.casefold()\n'
    conditions = list(_conditions(filters))
    rows = "[\n    " + "\n    & ".join(conditions) + "\n]" if conditions else ""
    column, ascending = _NEWEST if sort == _BEST else sort
    order = f'"{column}", ascending={ascending}, kind="stable"'
    if column in _TEXTS:
        order += ", key=lambda text: text.str.casefold()"
    words = filters["search"].casefold().split()
    return (
        (text if words else "")
        + f"matches = models{rows}.sort_values({order})"
        + (_best_first(words) if words and sort == _BEST else "")
    )


def _best_first(words: list[str]) -> str:
    for column in (GOOD_AT[word] for word in words if word in GOOD_AT):
        return f'.sort_values("{column}", ascending=False, kind="stable")'
    wanted = bare_id(" ".join(words))
    return (
        '\nbare = matches.index.str.casefold().str.replace(r".*/|[-._: ]", "", regex=True)\n'
        f"rank = 2 - (bare == {wanted!r}) - bare.str.startswith({wanted!r})\n"
        'matches = matches.iloc[rank.argsort(kind="stable")]'
    )


def _word(word: str) -> str:
    """Return the condition of one word that is searched."""
    ways = [f"text.str.contains({word!r}, regex=False)"]
    if parted := spread(word):
        ways.append(f'text.str.contains(r"(?:^|[-._/: \\n])" + "[-._/: ]?".join({parted!r}))')
    if word in GOOD_AT:
        ways.append(f'models["{GOOD_AT[word]}"].notna()')
    return " | ".join(ways) if len(ways) == 1 else f"({' | '.join(ways)})"


def _conditions(filters: Mapping[str, Any]) -> Iterator[str]:
    yield from map(_word, filters["search"].casefold().split())
    for name, column in FLAGS.items():
        if filters[name] is not None:
            yield f'{"" if filters[name] else "~"}models["{column}"]'
    for name, column in LISTS.items():
        yield from (_lists(name, column, wanted) for wanted in filters[name] or ())
    for name in ANY_OF:
        if wanted := [one.casefold() for one in filters[name] or ()]:
            yield f'models["{name}"].str.casefold().isin({wanted})'
    limits = [("context_length", ">=", filters["min_context"])]
    limits += [(column, "<=", filters[name]) for name, column in MOST.items()]
    for column, sign, limit in limits:
        if limit is not None:
            yield f'(models["{column}"] {sign} {_literal(limit)})'
    for name, column in KINDS.items():
        if not filters[name]:
            yield f'~models["{column}"]'


def _literal(number: float) -> str:
    """A number as code; ``128_000`` is easier to read right than ``128000``."""
    return f"{number:_}" if isinstance(number, int) else repr(number)


def _lists(filter_name: str, column: str, wanted: str) -> str:
    flag = f"{filter_name}_{wanted}" if filter_name != "parameters" else wanted
    if flag in catalog.MODEL_COLUMNS and flag != "reasoning":  # which is more than the parameter
        return f'models["{flag}"]'
    return f'models["{column}"].map(lambda listed: {wanted!r} in listed).astype(bool)'


# --- the frame, for people without a page ---------------------------------------------------------


def _readable(rows: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    write: dict[str, Callable[[Any], str]] = {
        "text": str,
        "tokens": _tokens,
        "usd": _usd,
        "points": "{:.1f}".format,
        "date": "{:%Y-%m-%d}".format,
    }
    other = in_other_unit(rows)
    readable = {"Id": [str(i) for i in rows.index]}
    for column in columns:
        label, unit, kind = COLUMNS[column]
        readable[f"{label}, {unit}" if unit else label] = [
            "" if pd.isna(value) else write[kind](value)
            for value in (rows[column].mask(other) if kind == "usd" else rows[column])
        ]
    return pd.DataFrame(readable)


def _tokens(count: int) -> str:
    """Write a token count as people say it: 128000 and 131072 are both 128k.

    >>> [_tokens(n) for n in (4095, 32_768, 128_000, 131_072, 1_048_576, 1_047_576)]
    ['4,095', '32k', '128k', '128k', '1M', '1.05M']
    """
    for base in (1000, 1024):
        if count % base == 0:
            thousands = count // base
            return f"{thousands / base:.3g}M" if thousands >= base else f"{thousands}k"
    return f"{count / 1_000_000:.3g}M" if count >= 1_000_000 else f"{count:,}"


def _usd(price: float) -> str:
    """Write a price: cents at least, and four decimals below a dollar.

    >>> [_usd(p) for p in (0, 0.25, 0.0375, 3, 37.5)]
    ['$0', '$0.25', '$0.0375', '$3.00', '$37.50']
    """
    if price == 0:
        return "$0"
    if price >= 1:
        return f"${price:,.2f}"
    cents, more = f"{price:.4f}"[:4], f"{price:.4f}"[4:].rstrip("0")
    return f"${cents}{more}" if float(cents + more) else f"${price:.2g}"
