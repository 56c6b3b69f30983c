"""From the words of a verb to a request: the one way for `ornb.ask`, chats, cells and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..wire.body import check_fields, check_json, messages_from
from . import attachments
from .attachments import Attachment
from .structured import response_format

if TYPE_CHECKING:
    import pandas as pd


def fields_of(verb: str, params: Mapping[str, Any], schema: Any = None) -> dict[str, Any]:
    """Make the fields of a request, once all of them can be sent.

    Parameters
    ----------
    verb : str
        What they were given to, such as "ornb.ask", for messages.
    params : mapping
        Fields as they were given.
    schema : type or mapping, optional
        The shape of the answer, see `ornb.request.structured.schema_of`.

    Returns
    -------
    dict
        With ``response_format`` for the schema.

    Raises
    ------
    ConfigError
        A word that the verb does not take, a value without a form in JSON, no schema.

    Examples
    --------
    >>> sorted(fields_of("ornb.ask", {"temperature": 0}, {"type": "object"}))
    ['response_format', 'temperature']
    """
    check_fields(params, verb)
    if schema is None:
        return dict(params)
    if params.get("response_format") is not None:
        raise ConfigError(
            "schema and response_format are two words for one thing, so nothing was sent. Give "
            "one of them."
        )
    return {**params, "response_format": response_format(schema)}


def files_of(attach: Any) -> list[Attachment]:
    """Read what is to be attached.

    Parameters
    ----------
    attach : path, address, bytes, Attachment or an iterable of them
        None is nothing.

    Returns
    -------
    list of Attachment
        Read and checked.

    Raises
    ------
    ConfigError
        See `Attachment.of`.

    Examples
    --------
    >>> files_of("https://example.org/cat.png")
    [Attachment('cat.png', image/png, on example.org)]
    """
    return [Attachment.of(each) for each in one_or_many(attach)]


def one_or_many(attach: Any) -> list[Any]:
    """Give what is to be attached as a list, unread.

    Parameters
    ----------
    attach : Any
        As for `files_of`.

    Returns
    -------
    list
        Of one thing each.

    Examples
    --------
    >>> one_or_many("cat.png"), one_or_many(None)
    (['cat.png'], [])
    """
    is_many = isinstance(attach, Iterable) and not isinstance(
        attach, str | bytes | bytearray | memoryview | Path | Attachment
    )
    return list(attach) if is_many else [] if attach is None else [attach]


def messages_of(
    prompt: Any,
    asked: Mapping[Any, Mapping[str, Any]],
    *,
    system: str | None = None,
    attach: Any = (),
    listed: Callable[[], pd.DataFrame | None] = lambda: None,
) -> list[dict[str, Any]]:
    """Make the messages of a request, once each model that is asked can take what is attached.

    Parameters
    ----------
    prompt : str or sequence of dict
        A prompt, or messages.
    asked : mapping
        Model's id, or None, to the fields of its request.
    system : str, optional
        Goes first.
    attach : path, address, bytes, Attachment or an iterable of them
        Goes with the last question.
    listed : callable
        Gives the catalogue, or None; called only if something is attached.

    Returns
    -------
    list of dict
        Messages.

    Raises
    ------
    ConfigError
        The prompt is empty or none, `attach` cannot be read, or a model does not take it.

    Examples
    --------
    >>> messages_of("Hi", {"lab/a": {}}, system="Be brief.")[0]["role"]
    'system'
    """
    files = files_of(attach)
    messages = messages_from(prompt, system, (each.part for each in files))
    if not isinstance(prompt, str):
        check_json({"messages": messages})
    if files:
        catalogue = listed()
        for model, fields in asked.items():
            if model is not None:
                plugins = fields.get("plugins") or ()
                attachments.check(files, model, catalogue, plugins=plugins)
    return messages
