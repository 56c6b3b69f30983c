"""Which models: the filters of the catalogue, and "did you mean".

The picker's search box follows the same rules in the browser; a change here is a change there.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import columns as c
from ..errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["check_makers", "closest", "filter_models", "number", "sort_models"]

Mask = np.ndarray[Any, Any]

# Filters to the columns that they ask, by how they ask: the picker, its code and past catalogues
# read them here. A further filter is an argument of `filter_models`, a trait, and a line here.
FLAGS = {"free": "is_free"} | {n: n for n in ("tools", "reasoning", "structured_outputs")}
LISTS = {
    "accepts": "input_modalities",
    "returns": "output_modalities",
    "parameters": "supported_parameters",
}
ANY_OF = ("kind", "family", "author")
MOST = {f"max_{n}_usd_per_million": f"{n}_usd_per_million" for n in ("prompt", "completion")}
KINDS = {"routers": "is_router", "aliases": "is_alias", "batch": "is_batch"}
"""Kinds of rows that False leaves out."""

CALLS = {
    "embeddings": "ornb.embed (POST /embeddings)",
    "rerank": "ornb.rerank (POST /rerank)",
    "decisions": "ornb.decide (POST /api/alpha/decisions)",
    "image": "POST /images",
    "video": "POST /videos",
    "speech": "POST /audio/speech",
    "transcription": "POST /audio/transcriptions",
}
"""How OpenRouter is asked for the other kinds than chat (2026-11-30)."""

# As documented on 2026-08-22; what the frame at hand lists is known besides.
_INPUTS = ["text", "image", "file", "audio", "video"]
_OUTPUTS = ["text", "audio", *CALLS]
_PARAMETERS = [
    *["temperature", "top_p", "top_k", "min_p", "top_a", "seed", "stop", "verbosity"],
    *["frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias"],
    *["max_tokens", "max_completion_tokens", "logprobs", "top_logprobs", "prediction"],
    *["response_format", "structured_outputs", "tools", "tool_choice", "parallel_tool_calls"],
    *["include_reasoning", "reasoning", "reasoning_effort", "web_search_options"],
]
_DOCUMENTED = {
    "input_modalities": ("input modality", _INPUTS),
    "output_modalities": ("output modality", _OUTPUTS),
    "supported_parameters": ("parameter", _PARAMETERS),
}
_ALSO_CALLED = {"vision": "image", "images": "image", "pdf": "file", "files": "file"}
"""Words of people for modalities."""
_SORTED_BY = {
    "price": "prompt_usd_per_million",
    "context": "context_length",
    "new": "created",
    "newest": "created",
    "intelligence": "intelligence_index",
    "coding": "coding_index",
}
"""Words of people for columns to sort by."""
GOOD_AT = {
    "coding": "coding_index",
    "agentic": "agentic_index",
    "intelligence": "intelligence_index",
}
"""Words of a search for what a model is good at, and the benchmark that tells."""
_AT_START, _BETWEEN = r"(?:^|[-._/: \n])", "[-._/: ]?"
_TIMES = {"k": 1_000, "m": 1_000_000}


def filter_models(
    models: pd.DataFrame,
    *,
    search: str | None = None,
    kind: str | Iterable[str] | None = None,
    free: bool | None = None,
    min_context: int | str | None = None,
    accepts: str | Iterable[str] | None = None,
    returns: str | Iterable[str] | None = None,
    parameters: str | Iterable[str] | None = None,
    tools: bool | None = None,
    reasoning: bool | None = None,
    structured_outputs: bool | None = None,
    max_prompt_usd_per_million: float | None = None,
    max_completion_usd_per_million: float | None = None,
    family: str | Iterable[str] | None = None,
    author: str | Iterable[str] | None = None,
    routers: bool = True,
    aliases: bool = True,
    batch: bool = True,
    **unknown: Any,
) -> pd.DataFrame:
    """Keep the models that meet every condition given.

    Parameters
    ----------
    models : pandas.DataFrame
        A models frame, or rows of one.
    search : str, optional
        Words, in any case and order; each must occur in the id or in the name. ``"gpt4"`` finds
        gpt-4 too, ``"coding"`` the models with that benchmark. The best match comes first.
    kind : str or iterable of str, optional
        Any of these: ``"chat"``, ``"embeddings"``, ``"decisions"``, ...
    free, tools, reasoning, structured_outputs : bool, optional
        True keeps those that are (or can), False those that are not; None does not ask.
    min_context : int or str, optional
        Least context length in tokens, also as ``"128k"`` or ``"1M"``. Models with an unknown one
        are left out.
    accepts, returns : str or iterable of str, optional
        Modalities that must all be among the inputs, or the outputs: ``"image"`` (or ``"vision"``).
    parameters : str or iterable of str, optional
        Request parameters that must all be supported: ``["tools", "seed"]``.
    max_prompt_usd_per_million, max_completion_usd_per_million : float, optional
        Highest price in USD per million tokens. Models with no price (routers) are left out.
    family, author : str or iterable of str, optional
        Any of these, in any case: ``"Claude"``, ``["openai", "google"]``.
    routers, aliases, batch : bool
        False leaves out routers, ``~`` aliases, rows of the Batch API. True by default.
    **unknown
        Refused; there to answer a misspelt name with the right one.

    Returns
    -------
    pandas.DataFrame
        The rows kept, with ``attrs``, in their order; of a search, the best match first. Where
        a searched word fits nothing, ``attrs["notes"]`` proposes the nearest that does.

    Raises
    ------
    ConfigError
        An unknown filter, kind, modality or parameter (the message proposes the nearest known), a
        limit that is not a number, or a yes/no that is neither.

    Examples
    --------
    >>> from ornb.catalog import to_frame
    >>> frame = to_frame([{"id": "a/long", "context_length": 200_000}, {"id": "b/short"}])
    >>> filter_models(frame, min_context=128_000).index.tolist()
    ['a/long']
    """
    given = locals()
    if unknown:
        name = next(iter(unknown))
        raise ConfigError(did_you_mean(name, filter_models.__kwdefaults__ or (), "filter"))
    _check_kinds(models, kind)
    ways = [
        *((_is, name, column) for name, column in FLAGS.items()),
        *((_lists_all, name, column) for name, column in LISTS.items()),
        *((_is_one_of, name, name) for name in ANY_OF),
        (_at_least, "min_context", "context_length"),
        *((_at_most, name, column) for name, column in MOST.items()),
        *((_may_be, name, column) for name, column in KINDS.items() if given[name] is not True),
    ]
    asked = [] if search is None else [_matches(models, search)]
    for way, name, column in ways:
        if given[name] is not None:
            if column not in models.columns:
                raise ConfigError(f"{name}: these models have no column {column!r} to be asked.")
            asked.append(way(models, column, name, given[name]))
    kept = models[np.logical_and.reduce(asked)] if asked else models.copy()
    if search:
        kept = _best_first(kept, search)
    kept.attrs = dict(models.attrs)
    if kept.empty and not models.empty:
        notes = _untold(
            models,
            context_length=min_context,
            prompt_usd_per_million=free or max_prompt_usd_per_million,
            completion_usd_per_million=max_completion_usd_per_million,
            input_modalities=accepts,
            output_modalities=returns,
            supported_parameters=parameters or tools or reasoning or structured_outputs,
        )
        notes += _not_listed(models, [*_names(kind), *_names(returns)])
        if meant := _meant(models, search or ""):
            notes.append(f"Nothing fits {search!r}. Did you mean {meant!r}?")
        kept.attrs["notes"] = [*models.attrs.get("notes", ()), *notes]
    return kept


def sort_models(models: pd.DataFrame, by: str) -> pd.DataFrame:
    """Sort by a column: cheapest, newest, longest or best first, text from A; "-" turns it round.

    What is missing comes last, and of prices what no token is billed by, which is listed at 0.
    "price", "context", "newest", "intelligence", "coding" will do.
    """
    name = str(by).removeprefix("-")
    column = _SORTED_BY.get(name, name)
    if column not in models.columns or isinstance(models[column].iloc[:1].squeeze(), tuple | dict):
        known = [*_SORTED_BY, *map(str, models.columns)]
        raise ConfigError(f"sort: {did_you_mean(name, known, 'column to sort by')}")
    is_text = pd.api.types.is_string_dtype(models[column].dtype)
    upwards = is_text or "_usd" in column
    keys = models[column].str.casefold() if is_text else models[column]
    if column.endswith("_usd_per_million"):
        keys = keys.mask(models["price_tier"] == "unknown")
    keys = keys.reset_index(drop=True)
    order = keys.sort_values(ascending=upwards != str(by).startswith("-"), kind="stable").index
    return models.iloc[order]


def _untold(models: pd.DataFrame, **asked: Any) -> list[str]:
    """Words for people where a filter hides every model because nothing is known of any."""
    silent = [
        name for name, wanted in asked.items() if wanted and not any(map(_told, models[name]))
    ]
    return (
        [f"No model is left: this server tells {' and '.join(silent)} of none."] if silent else []
    )


def _check_kinds(models: pd.DataFrame, kind: str | Iterable[str] | None) -> None:
    for name in _names(kind):
        known = {"chat", *CALLS, *models["kind"]}
        if str(name).casefold() not in known:
            raise ConfigError(did_you_mean(str(name), known, "kind of model"))


def _not_listed(models: pd.DataFrame, asked: list[str]) -> list[str]:
    """Words for people where what is asked for is made by no model at all."""
    made = {"chat", *_ALSO_CALLED}.union(*models["output_modalities"])
    missing = [str(name) for name in asked if str(name).casefold() not in made]
    day = models.attrs.get("snapshot")
    why = f"; the snapshot of {day} has chat models alone, and ornb.sign_in() goes live" * bool(day)
    return [f"None of these {len(models)} models makes {' or '.join(missing)}{why}."] * bool(
        missing
    )


def _told(value: Any) -> bool:
    return bool(value) if isinstance(value, tuple) else not pd.isna(value)


def _matches(models: pd.DataFrame, search: str) -> Mask:
    if not isinstance(search, str):
        raise ConfigError(f"search={search!r} is not text; give words, such as search='claude'")
    texts = _texts(models)
    fitting = [_fits(models, texts, word) for word in search.casefold().split()]
    every: Mask = np.logical_and.reduce([c.flags(True for _ in models.index), *fitting])
    return every


def _texts(models: pd.DataFrame) -> list[str]:
    """Return what is searched of each row."""
    return [
        f"{model_id}\n{name}".casefold()
        for model_id, name in zip(models.index, models["name"], strict=True)
    ]


def _fits(models: pd.DataFrame, texts: list[str], word: str) -> Mask:
    parted = spread(word)
    pattern = re.compile(
        re.escape(word) + (f"|{_AT_START}{_BETWEEN.join(parted)}" if parted else "")
    )
    found = c.flags(pattern.search(text) is not None for text in texts)
    good: Mask = models[GOOD_AT[word]].notna().to_numpy() if word in GOOD_AT else found
    return found | good


def spread(word: str) -> str:
    """Return a word such as gpt4 or gpt-4o as what fits with or without hyphens; "" if it is none.

    >>> spread("gpt4"), spread("gpt-4o"), spread("70b"), spread("claude")
    ('gpt4', 'gpt4o', '', '')
    """
    bare = re.sub(r"[-._/: ]", "", word)
    return bare if re.fullmatch(r"[a-z]+[0-9][a-z0-9]*", bare) else ""


def _best_first(models: pd.DataFrame, search: str) -> pd.DataFrame:
    """Put the id searched first, then those that begin so; or the best at what is asked."""
    words = search.casefold().split()
    for column in (GOOD_AT[word] for word in words if word in GOOD_AT):
        return models.sort_values(column, ascending=False, kind="stable")
    wanted = bare_id(" ".join(words))
    bare = [bare_id(str(model_id).casefold()) for model_id in models.index]
    places = [2 - (one == wanted) - one.startswith(wanted) for one in bare]
    return models.iloc[np.argsort(np.array(places, dtype=int), kind="stable")]


def bare_id(model_id: str) -> str:
    """Return an id, or what is searched, without its author and its hyphens."""
    return re.sub(r".*/|[-._: ]", "", model_id)


def _meant(models: pd.DataFrame, search: str) -> str:
    """Return a search with words that fit nothing put right by a letter; "" if none is near."""
    texts = _texts(models)
    parts = Counter(part for text in texts for part in re.findall("[a-z0-9]{4,}", text))
    words, meant = search.casefold().split(), []
    for word in words:
        near = [part for part in parts if not _less(part).isdisjoint(_less(word))]
        fits = _fits(models, texts, word).any()
        if not fits and (len(word) < 4 or not near):
            return ""
        meant.append(word if fits else max(near, key=parts.__getitem__))
    return " ".join(meant) if meant != words else ""


def _less(word: str) -> set[str]:
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


def _is(models: pd.DataFrame, column: str, name: str, wanted: Any) -> Mask:
    mask: Mask = models[column].to_numpy(dtype=bool) == _yes_or_no(name, wanted)
    return mask


def _may_be(models: pd.DataFrame, column: str, name: str, allowed: Any) -> Mask:
    return ~models[column].to_numpy(dtype=bool) | _yes_or_no(name, allowed)


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name}={value!r} is not True, False or None")
    return bool(value)


def _lists_all(models: pd.DataFrame, column: str, _: str, names: Any) -> Mask:
    """Return which rows list every name. A name nobody knows is a slip, not a filter."""
    listed = models[column].tolist()
    wanted = {_ALSO_CALLED.get(name, name) for name in map(str, _names(names))}
    what, documented = _DOCUMENTED[column]
    known = set(documented).union(*listed)
    for name in wanted - known:
        raise ConfigError(did_you_mean(name, known, what))
    return c.flags(wanted.issubset(row) for row in listed)


def _is_one_of(models: pd.DataFrame, column: str, _: str, names: Any) -> Mask:
    wanted = {str(name).casefold() for name in _names(names)}
    return c.flags(isinstance(v, str) and v.casefold() in wanted for v in models[column])


def number(text: str) -> float | None:
    """Read a number as people write it: ``128k``, ``1.5M``, ``1_000``; None if it is none.

    >>> number("128k"), number("1,000"), number("many")
    (128000.0, 1000.0, None)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)", re.sub(r"[,_\s]", "", text.lower()))
    return float(found[1]) * _TIMES.get(found[2], 1) if found else None


def _names(names: str | Iterable[str] | None) -> list[str]:
    if names is None or isinstance(names, str):
        return [] if names is None else [names]
    if not isinstance(names, Iterable):
        raise ConfigError(f"{names!r} is no name to filter by; give a text, or several of them")
    return list(names)


def _at_least(models: pd.DataFrame, column: str, name: str, least: Any) -> Mask:
    values = models[column].to_numpy(dtype="float64", na_value=np.nan)
    mask: Mask = values >= _limit(name, least)
    return mask


def _at_most(models: pd.DataFrame, column: str, name: str, most: Any) -> Mask:
    mask: Mask = models[column].to_numpy(dtype="float64") <= _limit(name, most)
    return mask


def _limit(name: str, value: Any) -> float:
    if isinstance(value, str):
        value = value if (read := number(value)) is None else read
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        such = "128_000 (tokens)" if name == "min_context" else "1 (USD per million tokens)"
        raise ConfigError(f"{name}={value!r} is not a number; give one, such as {name}={such}")
    return float(value)


def check_makers(models: pd.DataFrame, filters: Mapping[str, Any]) -> None:
    """Refuse an author or a family that the whole catalogue does not have: it is a slip.

    A part of the models may well lack an author, which is no slip there.
    """
    for column in [name for name in ("author", "family") if name in filters]:
        known = {each for each in models[column] if isinstance(each, str)}
        folded = {each.casefold() for each in known}
        for name in _names(filters.get(column)):
            if str(name).casefold() not in folded:
                raise ConfigError(did_you_mean(str(name), known, column))


def closest(model_id: str, models: pd.DataFrame | Sequence[str], n: int = 3) -> list[str]:
    """Find the ids nearest to one that does not exist, for "did you mean"."""
    ids = [str(i) for i in (models.index if isinstance(models, pd.DataFrame) else models)]
    wanted = str(model_id).strip().casefold()
    folded: dict[str, str] = {}
    for known in ids:
        folded.setdefault(known.casefold(), known)
        folded.setdefault(known.casefold().rpartition("/")[2], known)
    near = difflib.get_close_matches(wanted, folded, n=3 * n, cutoff=0.6)
    near += [text for text in folded if len(wanted) > 2 and wanted in text]
    return list(dict.fromkeys(folded[text] for text in near))[:n]
