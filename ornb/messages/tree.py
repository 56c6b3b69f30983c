"""A conversation: a tree of turns, of which one path is read and sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from ..api.body import Written, check_system
from ..api.reply import Reply, counted
from ..errors import ConfigError
from .transcript import (
    FORMAT,
    MIME_TRANSCRIPT,
    VERSION,
    Reader,
    checked_head,
    json_of,
    saved_in,
    turn_from_json,
    turn_to_json,
    write_whole,
)
from .turn import COLUMNS, Content, Turn, all_well_formed, light, parsed_files, row

if TYPE_CHECKING:
    import pandas as pd


class Conversation:
    """Turns of one conversation, safe to read and to add to from any thread.

    Parameters
    ----------
    system : str, optional
        A message to the model that goes before all others.

    Raises
    ------
    ConfigError
        `system` is not text.

    Examples
    --------
    >>> talk = Conversation(system="Be brief.")
    >>> talk.add_user("What is a token?").id
    '1'
    >>> talk.add_reply(Reply(text="A piece of a word.")).parent_id
    '1'
    >>> [message["role"] for message in talk.messages()]
    ['system', 'user', 'assistant']
    """

    def __init__(self, system: str | None = None) -> None:
        check_system(system)
        self.system = system
        self._turns: dict[str, Turn] = {}
        self._siblings: dict[tuple[str | None, str], list[Turn]] = {}
        self._has_images = False  # made by a model, on any branch
        self._head: str | None = None
        self._path: list[Turn] | None = []
        self._answered: tuple[str | None, list[Turn], Written] = system, [], Written()
        self._unknown: dict[str, Any] = {}
        self._listeners: list[Callable[[], object]] = []
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self.path)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.path)

    def __repr__(self) -> str:
        return f"<Conversation, {counted(len(self), 'message')}>"

    @property
    def turns(self) -> list[Turn]:
        """All turns, of all branches, in the order they were added."""
        with self._lock:
            return list(self._turns.values())

    @property
    def head(self) -> Turn | None:
        """The last turn of the active path; None before the first."""
        with self._lock:
            return None if self._head is None else self._turns[self._head]

    @property
    def path(self) -> list[Turn]:
        """The active path, oldest turn first."""
        with self._lock:
            if self._path is None:
                path, at = [], self._head
                while at is not None:
                    path.append(self._turns[at])
                    at = path[-1].parent_id
                self._path = path[::-1]
            return list(self._path)

    def go_to(self, turn: Turn | str | None) -> None:
        """Make a turn the end of the active path: what is added next follows it.

        Parameters
        ----------
        turn : Turn, str or None
            A turn or its id; None for the very beginning.

        Raises
        ------
        ConfigError
            No such turn.

        Examples
        --------
        >>> talk = Conversation()
        >>> first = talk.add_user("Hi")
        >>> talk.go_to(None)
        >>> talk.add_user("Hello").parent_id is None, len(talk), len(talk.turns)
        (True, 1, 2)
        """
        with self._lock:
            self._head = None if turn is None else self._find(turn).id
            self._path = None
        self._changed()

    def branches(self, turn: Turn | str) -> list[Turn]:
        """List a turn and those that stand in its place on other branches.

        Parameters
        ----------
        turn : Turn or str
            A turn or its id.

        Returns
        -------
        list of Turn
            In the order they were added: other answers to one question, other wordings of it.

        Raises
        ------
        ConfigError
            No such turn.

        Examples
        --------
        >>> talk = Conversation()
        >>> question = talk.add_user("Hi")
        >>> answers = [talk.add_reply(Reply(text=t), parent_id=question.id) for t in ("A", "B")]
        >>> [turn.text for turn in talk.branches(answers[0])]
        ['A', 'B']
        """
        with self._lock:
            here = self._find(turn)
            return list(self._siblings[here.parent_id, here.role])

    def tip(self, turn: Turn | str) -> Turn:
        """Return the end of the newest branch that goes through a turn.

        Parameters
        ----------
        turn : Turn or str
            A turn or its id.

        Returns
        -------
        Turn
            The turn itself when nothing follows it.

        Raises
        ------
        ConfigError
            No such turn.

        Examples
        --------
        >>> talk = Conversation()
        >>> question = talk.add_user("Hi")
        >>> answer = talk.add_reply(Reply(text="Hello."))
        >>> talk.tip(question) == answer
        True
        """
        with self._lock:
            here = self._find(turn)
            newest = {other.parent_id: other for other in self._turns.values()}
            while here.id in newest:
                here = newest[here.id]
            return here

    def on_change(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have a function called after each change: a turn was added, or the path is another.

        Parameters
        ----------
        callback : callable
            Without arguments; called on the thread that made the change.

        Returns
        -------
        callable
            Ends it.

        Examples
        --------
        >>> talk = Conversation()
        >>> leave = talk.on_change(lambda: print(len(talk)))
        >>> _ = talk.add_user("Hi")
        1
        >>> leave()
        """
        self._listeners.append(callback)

        def leave() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return leave

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener()

    def _find(self, turn: Turn | str) -> Turn:
        turn_id = turn.id if isinstance(turn, Turn) else turn
        found = self._turns.get(turn_id) if isinstance(turn_id, str) else None
        if found is None:
            raise ConfigError(f"There is no turn {turn_id!r} in this conversation.")
        return found

    def add_user(self, content: Content, *, parent_id: str | EllipsisType | None = ...) -> Turn:
        """Add what the person says.

        Parameters
        ----------
        content : str or list of dict
            Text, or the API's list of parts.
        parent_id : str or None, optional
            The turn it follows; by default the head.

        Returns
        -------
        Turn
            Now the head.

        Raises
        ------
        ConfigError
            No such parent, or `content` is neither.

        Examples
        --------
        >>> Conversation().add_user("Hi").role
        'user'
        """
        parts = [] if isinstance(content, str) else content
        is_listed = isinstance(parts, list | tuple)
        if not is_listed or not all(isinstance(part, Mapping) for part in parts):
            raise ConfigError(f"{content!r:.40} is neither a text nor a list of parts; give one.")
        return self._add("user", content, None, parent_id)

    def add_reply(
        self,
        reply: Reply,
        *,
        parent_id: str | EllipsisType | None = ...,
        steps: Sequence[Mapping[str, Any]] = (),
    ) -> Turn:
        """Add an answer, whole or as far as it came.

        Parameters
        ----------
        reply : Reply
            The answer.
        parent_id : str or None, optional
            The turn it answers; by default the head.
        steps : sequence of dict
            Messages that led to it: requests for tools, and their results.

        Returns
        -------
        Turn
            Now the head.

        Raises
        ------
        ConfigError
            No such parent.

        Examples
        --------
        >>> Conversation().add_reply(Reply(text="Hello.")).text
        'Hello.'
        """
        return self._add("assistant", reply.text, reply, parent_id, steps)

    def _add(
        self,
        role: str,
        content: Content,
        reply: Reply | None,
        parent: str | EllipsisType | None,
        steps: Sequence[Mapping[str, Any]] = (),
    ) -> Turn:
        with self._lock:
            parent_id = self._head if isinstance(parent, EllipsisType) else parent
            if parent_id is not None:
                self._find(parent_id)
            turn = Turn(self._new_id(), parent_id, role, content, reply, steps=tuple(steps))
            self._put(turn)
            if self._path is not None and parent_id == self._head:
                self._path.append(turn)
            else:
                self._path = None
            self._head = turn.id
        self._changed()
        return turn

    def _put(self, turn: Turn) -> None:
        self._turns[turn.id] = turn
        self._siblings.setdefault((turn.parent_id, turn.role), []).append(turn)
        self._has_images |= bool(turn.reply and turn.reply.images)

    def _new_id(self) -> str:
        number = len(self._turns) + 1
        while str(number) in self._turns:
            number += 1
        return str(number)

    def messages(self) -> list[dict[str, Any]]:
        """Return the active path as the API takes it.

        A question that got no answer at all (stopped at once, refused) is left out: most models
        refuse two questions in a row. One at the very end is the question to be answered now.

        Returns
        -------
        list of dict
            ``role`` and ``content``, the system message first.

        Examples
        --------
        >>> talk = Conversation()
        >>> _ = talk.add_user("Hi"), talk.add_reply(Reply(status="error")), talk.add_user("Hello")
        >>> talk.messages()
        [{'role': 'user', 'content': 'Hello'}]
        """
        with self._lock:
            return _first(self.system) + _sent(self.path)

    def _written(self, *, images: bool = True) -> list[dict[str, Any]]:
        """Return `messages` to be sent, not changed; only what is new is written as JSON.

        Without `images`, for a model that takes none, those that models made stay behind.
        """
        with self._lock:
            if not images:
                return _first(self.system) + _sent(self.path, images=False)
            path, (system, turns, told) = self.path, self._answered
            end = len(path)
            while end and path[end - 1].role == "user":
                end -= 1
            begin = len(turns)
            new = path[begin:end]
            goes_on = turns and turns == path[:begin] and system == self.system
            if not goes_on or (new and new[0].role != "user"):
                new, told = path[:end], Written().with_more(_first(self.system))
            try:
                told = told.with_more(_sent(new))
                self._answered = self.system, path[:end], told
                return told.with_more(_sent(path[end:]))
            except (TypeError, ValueError, RecursionError):
                return self.messages()  # whoever sends them says what it is that JSON cannot hold

    def light(self) -> Conversation:
        """Return a copy for where size counts, such as a notebook: what is huge is cut or named.

        Prompts beyond 200,000 characters keep their beginning and end; files and pictures beyond
        2.25 MB are named in a line of text. All else is the same.

        Returns
        -------
        Conversation
            With the same ids and the same head.

        Examples
        --------
        >>> talk = Conversation()
        >>> _ = talk.add_user("word " * 100_000)
        >>> len(talk.light().path[0].text)
        2526
        """
        copy = Conversation(self.system)
        with self._lock:
            for turn in self._turns.values():
                copy._put(light(turn))
            copy._head, copy._path, copy._unknown = self._head, None, dict(self._unknown)
        return copy

    @property
    def df(self) -> pd.DataFrame:
        """The active path as a table, one row a turn; `COLUMNS` has names, dtypes and units."""
        import pandas as pd

        rows = [all_well_formed(row(turn)) for turn in self.path]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        frame["started_at"] = pd.to_datetime(frame["started_at"], utc=True)
        return frame.astype(COLUMNS)

    # ------------------------------------------------------------------ to and from JSON

    def to_json(self) -> dict[str, Any]:
        """Return the whole tree as a JSON value.

        Returns
        -------
        dict
            ``format``, ``version``, ``system``, ``head`` and ``turns``; parents stand before their
            children. Only what is known is written. What arrived on the wire is not in it.

        Examples
        --------
        >>> Conversation().to_json()["version"]
        1
        """
        with self._lock:
            return {**self._about(), "turns": [turn_to_json(turn) for turn in self._turns.values()]}

    def _about(self) -> dict[str, Any]:
        """Give what `to_json` does, but for the turns."""
        about = {"format": FORMAT, "version": VERSION, "system": self.system, "head": self._head}
        return {**self._unknown, **about}

    @classmethod
    def from_json(cls, source: Mapping[str, Any] | str | bytes) -> Conversation:
        """Read what `to_json` gave. Nothing in it is executed or fetched.

        Parameters
        ----------
        source : mapping, str or bytes
            The JSON value, or its text.

        Returns
        -------
        Conversation
            Equal in all that was written.

        Raises
        ------
        ConfigError
            It is not a transcript, is of a later version, or is damaged; the message says where.

        Examples
        --------
        >>> Conversation.from_json('{"answer": 42}')
        Traceback (most recent call last):
            ...
        ornb.errors.ConfigError: This JSON is not a transcript of ornb: its "format" is missing.
        """
        data = checked_head(json_of(source, "transcript"))
        if not isinstance(data.get("turns"), list):
            raise ConfigError('The transcript is damaged: "turns" is not a list.')
        talk = cls(Reader(data, "its head").text("system"))
        known = {"format", "version", "system", "head", "turns", "row", "piece"}
        talk._unknown = {key: value for key, value in data.items() if key not in known}
        for position, item in enumerate(data["turns"], 1):
            turn = turn_from_json(item, f"turn number {position}")
            orphan = turn.parent_id is not None and turn.parent_id not in talk._turns
            if orphan and data.get("piece"):
                raise ConfigError(
                    "This is one of several outputs that hold a conversation; give the notebook."
                )
            if turn.id in talk._turns or orphan:
                raise ConfigError(
                    f"The transcript is damaged: turn number {position} has the id "
                    f"{turn.id!r:.40} and the parent {turn.parent_id!r:.40}; ids are unique and "
                    "parents come first."
                )
            talk._put(turn)
        talk.go_to(Reader(data, "its head").text("head"))
        return talk

    def save(self, path: str | Path) -> Path:
        """Write the transcript to a file, replacing one that is there.

        Parameters
        ----------
        path : str or Path
            Usually with the suffix ``.json``.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        ConfigError
            It cannot be written there.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> Conversation().save(Path(mkdtemp()) / "talk.json").name
        'talk.json'
        """
        path = Path(path)
        write_whole(path, json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path, which: int = -1) -> Conversation:
        """Read a transcript from a file that `save` wrote, or out of a notebook.

        Parameters
        ----------
        path : str or Path
            A JSON file, or an ``.ipynb``.
        which : int
            Of a notebook with several conversations the place of the one to take, from 0; by
            default the last.

        Returns
        -------
        Conversation
            As it was.

        Raises
        ------
        ConfigError
            No such file, or no transcript in it at that place.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> path = Conversation(system="Be brief.").save(Path(mkdtemp()) / "talk.json")
        >>> Conversation.load(path).system
        'Be brief.'
        """
        return cls.from_json(saved_in(path, MIME_TRANSCRIPT, which))


def _first(system: str | None) -> list[dict[str, Any]]:
    return [{"role": "system", "content": system}] if system else []


def _sent(turns: Sequence[Turn], *, images: bool = True) -> list[dict[str, Any]]:
    """The messages of some turns in a row."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        messages.extend(map(dict, turn.steps))
        content = _after_steps(turn) if turn.role == "assistant" else turn.content
        made = _images_made(turn) if images else {}
        if content or made:
            messages.append(
                {"role": turn.role, "content": content, **parsed_files(turn.reply), **made}
            )
        elif messages and messages[-1]["role"] == "user":
            messages.pop()
    return messages


def _after_steps(turn: Turn) -> str:
    """The text that came after the last tool: what came before is in the steps."""
    before = [step.get("content") for step in turn.steps if step.get("role") == "assistant"]
    said = "\n\n".join(text for text in before if isinstance(text, str) and text)
    return turn.text.removeprefix(said).lstrip("\n") if said else turn.text


def _images_made(turn: Turn) -> dict[str, Any]:
    """The images of an answer, as the model that made them wants them to go on from there."""
    urls = turn.reply.images if turn.reply else ()
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"images": parts} if parts else {}
