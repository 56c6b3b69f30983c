"""From the words of a verb to a request, and to the value of its answer: for all verbs alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..api.body import check_fields, check_json, messages_from
from ..errors import ConfigError
from . import attachments
from .attachments import Attachment
from .schema import parse, response_format

if TYPE_CHECKING:
    import pandas as pd

    from ..api.reply import Reply


def fields_of(verb: str, params: Mapping[str, Any], schema: Any = None) -> dict[str, Any]:
    """Make the fields of a request, with the schema's, once all of them can be sent."""
    check_fields(params, verb)
    check_json(params)
    if schema is None:
        return dict(params)
    if params.get("response_format") is not None:
        raise ConfigError(
            "schema and response_format are two words for one thing, so nothing was sent. Give "
            "one of them."
        )
    return {**params, "response_format": response_format(schema)}


def files_of(attach: Any) -> list[Attachment]:
    """Read and check what is to be attached; None is nothing."""
    return [Attachment.of(each) for each in one_or_many(attach)]


def one_or_many(attach: Any) -> list[Any]:
    """Return what is to be attached as a list, unread."""
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

    `asked` has the fields of a request by the model's id; `listed` is called only for attachments.
    """
    files = files_of(attach)
    messages = messages_from(prompt, system, (each.part for each in files))
    if not isinstance(prompt, str):
        check_json({"messages": messages})
    if files:
        catalog = listed()
        for model, fields in asked.items():
            if model is not None:
                attachments.check(files, model, catalog, plugins=fields.get("plugins"))
    return messages


def answered(reply: Reply, shape: Any) -> Reply:
    """Return a reply with its ``value``; one that did not come to its end is not read."""
    if shape is None or reply.status != "ok" or reply.value is not None:
        return reply
    return replace(reply, value=parse(reply, shape))
