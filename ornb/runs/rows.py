"""From a table and a template to requests: one a row, made when it is needed."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from ..api.body import messages_from, text_of
from ..errors import ConfigError, near
from ..messages.asked import files_of, one_or_many
from ..messages.attachments import Attachment, check
from ..messages.placeholders import cells, fill_in, only_value
from ..messages.questions import is_data, state_of

_written = json.JSONEncoder(sort_keys=True, allow_nan=False).encode
_PLACE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_PATH = re.compile(r"([^\W\d]\w*)\s*(?:[.\[].*)?")
_COLUMN = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_MARK = "\x00"  # where the prompt goes
_MOST_NAMES = 12  # columns named in an error


class Row(NamedTuple):
    """What a row asks for."""

    digest: str | None
    """Content hash of the request; rows that ask the same have the same. None: not to be asked."""
    why_not: str | None
    """Why it is not to be asked."""
    size: tuple[Any, ...]
    """Length of the request as JSON, escaped and in UTF-8, and type and length of what is attached:
    what its price depends on."""


class _UnreadableError(ConfigError):
    """What a row names cannot be read, or its model does not take it."""


class Requests:
    """The rows of a table as requests. The template is checked here, before anything is sent.

    Without a template the only column is the prompt. `service` is part of the content hash.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        template: str | None,
        system: str | None,
        request: Mapping[str, Any],
        service: str,
        attach: Any = (),
        listed: pd.DataFrame | None = None,
    ) -> None:
        self.frame = frame
        self._labels = _labels(frame)
        self._request = dict(request)
        self._used: dict[str, Any] = {}
        self._listed = listed
        self._prompt = self._checked(template or self._only_column(template))
        self._files = [self._file(each) for each in one_or_many(attach)]
        if not self._used:
            raise ConfigError(
                "The template names no column, so every row would ask the same. Put one in double "
                f"braces, such as {{{{{next(iter(self._labels), 'column')}}}}}."
            )
        self._system = None if system is None else self._checked(system)
        alone = _COLUMN.fullmatch(self._prompt)
        self._alone = alone and alone[1]  # the column that is the whole prompt
        self._values = self._cells()
        self._is_first = True
        # What all requests share is written and hashed once.
        before, after = (
            _written(
                {name: value for name, value in request.items() if (name > "messages") == last}
            )
            for last in (False, True)
        )
        head = f'{before[:-1]}{", " if len(before) > 2 else ""}"messages": '
        tail = f"{', ' if len(after) > 2 else ''}{after[1:]}"
        self._is_plain = not self._files and "{{" not in (self._system or "")
        self._shorter = 0  # by so much when sent, as what is escaped here is not escaped then
        if self._is_plain:  # only the prompt differs
            alike = messages_from(_MARK, self._system, may_be_empty=True)
            before, _, after = _written(alike).rpartition(_written(_MARK))
            head, tail = head + before, after + tail
            self._shorter = len(_written(alike)) - len(_as_sent(alike))
        self._begun, self._tail = hashlib.sha256(f"{service}\n{head}".encode()), tail.encode()
        self._length = len(head) + len(tail)

    def on(self, frame: pd.DataFrame) -> Requests:
        """Return the same for a later part of the data; what is wrong with a row skips that row."""
        other = copy.copy(self)
        other.frame, other._is_first = frame, False
        other._values = other._cells()
        return other

    def _cells(self) -> dict[str, list[Any]]:
        nothing = [None] * len(self)  # rows of a later part may have other columns
        return {
            name: cells(self.frame[label]) if label in self.frame.columns else nothing
            for name, label in self._used.items()
        }

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Row]:
        asked, refused = False, None
        for position in range(len(self)):
            row, error = self._row(position)
            asked, refused = asked or row.digest is not None, refused or error
            yield row
        if refused is not None and self._is_first and not asked:
            raise refused

    def body(self, position: int, *others: int) -> dict[str, Any]:
        """Make the request of a row, counted from 0; of several where it takes a list of texts."""
        prompt = self._asked(position, {})
        if "input" in self._request:
            further = (self._asked(other, {}) for other in others)
            return {**self._request, "input": [prompt, *further]}
        if "questions" in self._request:
            return {"state": prompt, **self._request}
        return {"messages": self._messages(prompt, position, {}), **self._request}

    def _asked(self, position: int, missing: dict[str, ConfigError | None]) -> Any:
        """The prompt of a row; what is decided about may also be data, or pictures."""
        if self._alone is not None:
            value = self._values[self._alone][position]
            if type(value) is str:
                return value
            if "questions" in self._request and is_data(value):
                try:
                    return json.loads(json.dumps(state_of(value)))
                except ConfigError as error:
                    raise _UnreadableError(str(error)) from error
        return self._filled(self._prompt, position, missing)

    def _messages(
        self, prompt: str, position: int, missing: dict[str, ConfigError | None]
    ) -> list[dict[str, Any]]:
        system = None if self._system is None else self._filled(self._system, position, missing)
        files = [file for each in self._files for file in self._attached(each, position, missing)]
        return messages_from(prompt, system, (file.part for file in files), may_be_empty=True)

    def _file(self, source: Any) -> str | list[Attachment]:
        """A text that names columns, or what is the same in every row, read and checked."""
        if isinstance(source, str) and _PLACE.search(source):
            return self._checked(source)
        return self._taken(files_of(source))

    def _attached(
        self, source: str | list[Attachment], position: int, missing: dict[str, ConfigError | None]
    ) -> list[Attachment]:
        if not isinstance(source, str):
            return source
        text = self._filled(source, position, missing)
        if missing:
            return []
        value = only_value(source, {name: each[position] for name, each in self._values.items()})
        try:  # a cell may hold the content itself, or a list
            return self._taken(files_of(text if isinstance(value, str) else value))
        except ConfigError as error:
            raise _UnreadableError(str(error)) from error

    def _taken(self, files: list[Attachment]) -> list[Attachment]:
        model, plugins = self._request.get("model"), self._request.get("plugins") or ()
        if model is not None:
            check(files, model, self._listed, plugins=plugins)
        return files

    def _row(self, position: int) -> tuple[Row, ConfigError | None]:
        """What a row asks for, and the error of a template that asks of it what it has not."""
        missing: dict[str, ConfigError | None] = {}
        try:
            asked = self._asked(position, missing)
            if not self._is_plain:
                asked = self._messages(asked, position, missing)
        except _UnreadableError as unread:
            return Row(None, str(unread), (0, 0)), self.of_row(position, unread)
        except ConfigError as refusal:
            if self._is_first:
                raise
            return Row(None, str(refusal), (0, 0)), None
        if missing:
            named = ", ".join(str(self._used.get(path, path)) for path in missing)
            why_not = f"{named} {'is' if len(missing) == 1 else 'are'} missing"
            error = next(filter(None, missing.values()), None)
            refused = None if error is None else self.of_row(position, error)
            return Row(None, why_not, (0, 0)), refused
        content = asked if self._is_plain else asked[-1]["content"]
        if isinstance(content, str) and not content.strip():
            return Row(None, "the prompt is empty", (0, 0)), None
        text = _written(asked)
        digest = self._begun.copy()
        digest.update(text.encode() + self._tail)
        length = self._length + len(text)
        size: tuple[Any, ...] = (length, length - self._shorter)
        said = asked if self._is_plain else "".join([text_of(each["content"]) for each in asked])
        # Of data, or of a text with characters that are escaped above, and not when sent.
        if not isinstance(said, str) or not said.isascii() or "\x7f" in said:
            size = (length, self._length - self._shorter + len(_as_sent(asked)))
        if not isinstance(content, str):
            parts = [part for part in content if isinstance(part, dict)]  # a state has any data
            attached = [part for part in parts if "type" in part and "text" not in part]
            size += tuple((str(part["type"]), len(json.dumps(part))) for part in attached)
        return Row(digest.hexdigest(), None, size), None

    def _filled(self, text: str, position: int, missing: dict[str, ConfigError | None]) -> str:
        values = {name: column[position] for name, column in self._values.items()}
        try:
            return fill_in(text, values, whole=True, missing=missing).text
        except ConfigError as error:
            raise self.of_row(position, error) from error

    def of_row(self, position: int, error: ConfigError) -> ConfigError:
        """Say which row an error is of."""
        return ConfigError(f"Row {self.frame.index[[position]].tolist()[0]!r}: {error}")

    def _only_column(self, template: str | None) -> str:
        if template is None and len(self._labels) == 1:
            return f"{{{{{next(iter(self._labels))}}}}}"
        raise ConfigError(
            "There is no template. Write a prompt with columns in double braces, such as "
            '"Is this positive? {{review}}".'
        )

    def _checked(self, template: str) -> str:
        """The template, with each column under a name that a placeholder can have."""
        if not isinstance(template, str):
            raise ConfigError(f"{template!r} is no text; template and system take text.")
        return _PLACE.sub(self._place, template)

    def _place(self, found: re.Match[str]) -> str:
        inner = found[1]
        if inner in self._labels:  # a name with blanks is fine as long as it is the whole
            name = inner if inner.isidentifier() else f"ornb_column_{len(self._used)}"
            self._use(name, inner, found[0])
            return f"{{{{{name}}}}}"
        path = _PATH.fullmatch(inner)
        if path is not None and path[1] in self._labels:
            self._use(path[1], path[1], found[0])
        elif path is not None or near(inner, self._labels):
            raise ConfigError(
                f"{found[0]}: data has no column {path[1] if path else inner!r}, so nothing was "
                f"sent.{near(path[1] if path else inner, self._labels)} {self._known()}"
            )
        return found[0]

    def _use(self, name: str, column: str, shown: str) -> None:
        if len(self._labels[column]) > 1:
            raise ConfigError(f"{shown}: data has {len(self._labels[column])} columns {column!r}.")
        self._used[name] = self._labels[column][0]

    def _known(self) -> str:
        names = list(self._labels)
        rest = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        return f"Its columns: {', '.join(names[:_MOST_NAMES])}{rest}."


def _as_sent(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _labels(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """How columns are written in a template, to their labels."""
    found: dict[str, list[Any]] = {}
    for label in frame.columns:
        found.setdefault(str(label), []).append(label)
    # frame["a"] gives all columns "a", however often the label stands there.
    return found
