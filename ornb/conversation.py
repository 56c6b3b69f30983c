"""Turns and their order: what was said, by whom, and what each answer was and cost.

A conversation is a tree. Each turn knows its parent, and `Conversation.head` is the turn at the
end of the *active path*, the one that a reader sees and the model is sent. Going on from an
earlier turn makes a branch and loses nothing. A conversation goes to JSON and back; reading one
only ever reads.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from .errors import ConfigError
from .wire.reply import Reply, Timing, Usage

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "ornb.transcript"
VERSION = 1
"""Of the JSON; a file of a later version is refused rather than half understood."""

_SURROGATE = re.compile("[\ud800-\udfff]")

MIME_TRANSCRIPT = "application/vnd.ornb.transcript+json"
"""Media type under which a conversation rests in a notebook, for a program to go on with."""

Content = str | Sequence[Mapping[str, Any]]
"""What a turn holds: text, or the API's list of parts (text, images, files)."""

COLUMNS = {
    "turn_id": "string",
    "parent_id": "string",
    "role": "string",
    "content": "string",
    "reasoning": "string",
    "started_at": "datetime64[ns, UTC]",
    "model": "string",
    "served_model": "string",
    "provider": "string",
    "source": "string",
    "prompt_tokens": "Int64",
    "completion_tokens": "Int64",
    "reasoning_tokens": "Int64",
    "cost_usd": "float64",
    "time_to_first_token_s": "float64",
    "duration_s": "float64",
    "finish_reason": "string",
    "status": "string",
    "error": "string",
}
"""Columns of `Conversation.df` and their dtypes; those from ``started_at`` on are empty in a
user's turn. Times in seconds, cost in USD."""

LONGEST_KEPT = 200_000
"""Characters of a prompt above which `Conversation.light` shortens it."""
LARGEST_KEPT = 3_000_000
"""Characters of a data URL above which `Conversation.light` only names the file; the file has
three quarters of that in bytes."""


@dataclass(frozen=True)
class Turn:
    """One message.

    Examples
    --------
    >>> Turn("1", None, "user", "What is a token?").text
    'What is a token?'
    """

    id: str
    """Unique within its conversation."""
    parent_id: str | None
    """The turn it answers or follows; None at a beginning."""
    role: str
    """"user" or "assistant"."""
    content: Content
    reply: Reply | None = None
    """Facts of an answer: model, tokens, cost, times, source. None for the user's turn."""
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Keys of a file that this version does not know; they are written back."""
    steps: tuple[Mapping[str, Any], ...] = ()
    """Messages between a question and its answer, as the API takes them: each request for tools
    (role "assistant") with the results of all of them (role "tool")."""

    @property
    def text(self) -> str:
        """The text alone, of a content that has other parts too."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(str(part.get("text") or "") for part in self.content if "text" in part)


class Conversation:
    """Turns of one conversation, safe to read and to add to from any thread.

    Parameters
    ----------
    system : str, optional
        A message to the model that goes before all others.

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
        self.system = system
        self._turns: dict[str, Turn] = {}
        self._head: str | None = None
        self._unknown: dict[str, Any] = {}
        self._listeners: list[Callable[[], object]] = []
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self.path)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.path)

    def __repr__(self) -> str:
        return f"<Conversation, {_counted(len(self), 'message')}>"

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
            path, at = [], self._head
            while at is not None:
                path.append(self._turns[at])
                at = path[-1].parent_id
        return path[::-1]

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
            return [
                other
                for other in self._turns.values()
                if (other.parent_id, other.role) == (here.parent_id, here.role)
            ]

    def tip(self, turn: Turn | str) -> Turn:
        """Give the end of the newest branch that goes through a turn.

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
        if turn_id not in self._turns:
            raise ConfigError(f"There is no turn {turn_id!r} in this conversation.")
        return self._turns[turn_id]

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
            No such parent.

        Examples
        --------
        >>> Conversation().add_user("Hi").role
        'user'
        """
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
            self._turns[turn.id] = turn
            self._head = turn.id
        self._changed()
        return turn

    def _new_id(self) -> str:
        number = len(self._turns) + 1
        while str(number) in self._turns:
            number += 1
        return str(number)

    def messages(self) -> list[dict[str, Any]]:
        """Give the active path as the API takes it.

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
        messages: list[dict[str, Any]] = []
        for turn in self.path:
            messages.extend(map(dict, turn.steps))
            content = _after_steps(turn) if turn.role == "assistant" else turn.content
            if content:
                messages.append({"role": turn.role, "content": content, **_parsed_files(turn)})
            elif messages and messages[-1]["role"] == "user":
                messages.pop()
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        return messages

    def light(self) -> Conversation:
        """Give a copy for where size counts, such as a notebook: what is huge is cut or named.

        Prompts beyond `LONGEST_KEPT` characters keep their beginning and end; files and pictures
        beyond `LARGEST_KEPT` are named in a line of text. All else is the same.

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
            copy._turns = {key: _light(turn) for key, turn in self._turns.items()}
            copy._head, copy._unknown = self._head, dict(self._unknown)
        return copy

    @property
    def df(self) -> pd.DataFrame:
        """The active path as a table, one row a turn; `COLUMNS` has names, dtypes and units."""
        import pandas as pd

        frame = pd.DataFrame([_row(turn) for turn in self.path], columns=list(COLUMNS))
        frame["started_at"] = pd.to_datetime(frame["started_at"], utc=True)
        return frame.astype(COLUMNS)

    # ------------------------------------------------------------------ to and from JSON

    def to_json(self) -> dict[str, Any]:
        """Give the whole tree as a JSON value.

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
            return {
                **self._unknown,
                "format": FORMAT,
                "version": VERSION,
                "system": self.system,
                "head": self._head,
                "turns": [_turn_to_json(turn) for turn in self._turns.values()],
            }

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
        if isinstance(source, str | bytes):
            try:
                source = json.loads(source)
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"This is not JSON, so not a transcript: {error}.") from error
        data = _checked_head(source)
        talk = cls(_Reader(data, "its head").text("system"))
        known = {"format", "version", "system", "head", "turns"}
        talk._unknown = {key: value for key, value in data.items() if key not in known}
        for position, item in enumerate(data["turns"], 1):
            turn = _turn_from_json(item, f"turn number {position}")
            if turn.id in talk._turns or turn.parent_id not in (None, *talk._turns):
                raise ConfigError(
                    f"The transcript is damaged: turn number {position} has the id {turn.id!r} and "
                    f"the parent {turn.parent_id!r}; ids are unique and parents come first."
                )
            talk._turns[turn.id] = turn
        talk.go_to(_Reader(data, "its head").text("head"))
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
        OSError
            It cannot be written there.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> Conversation().save(Path(mkdtemp()) / "talk.json").name
        'talk.json'
        """
        path = Path(path)
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1)
        path.write_text(text, encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Conversation:
        """Read a transcript from a file that `save` wrote, or out of a notebook.

        Parameters
        ----------
        path : str or Path
            A JSON file, or an ``.ipynb`` whose last conversation is taken.

        Returns
        -------
        Conversation
            As it was.

        Raises
        ------
        ConfigError
            No such file, or no transcript in it.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> path = Conversation(system="Be brief.").save(Path(mkdtemp()) / "talk.json")
        >>> Conversation.load(path).system
        'Be brief.'
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read as a transcript: {error}.") from error
        if path.suffix != ".ipynb":
            return cls.from_json(text)
        found = _transcripts(text)
        if not found:
            raise ConfigError(f"{path} holds no conversation of ornb's.")
        return cls.from_json(found[-1])


def _transcripts(notebook: str) -> list[Any]:
    """Every transcript among a notebook's outputs, in their order."""
    try:
        outputs = [
            output
            for cell in json.loads(notebook)["cells"]
            for output in cell.get("outputs", [])
            if MIME_TRANSCRIPT in output.get("data", {})
        ]
        return [output["data"][MIME_TRANSCRIPT] for output in outputs]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"The file is not a notebook: {error!r}.") from error


def well_formed(text: str) -> str:
    r"""Make text that can be written as UTF-8: halves of surrogate pairs joined, or replaced.

    Parameters
    ----------
    text : str
        A model's or a person's; JSON can hold such halves.

    Returns
    -------
    str
        The same text, but for what is no text.

    Examples
    --------
    >>> well_formed("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"
    True
    """
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def thought_s(reply: Reply) -> float | None:
    """Tell how long a model thought before it answered.

    Parameters
    ----------
    reply : Reply
        An answer.

    Returns
    -------
    float or None
        Seconds from the first token to the first of the answer itself, or to the end where none
        came; None where it did not think aloud, or the times are not known.

    Examples
    --------
    >>> thought_s(Reply()) is None
    True
    """
    timing = reply.timing
    began = timing.time_to_first_token_s
    ended = timing.time_to_first_answer_s
    if ended is None and not reply.text:
        ended = timing.duration_s
    if not reply.reasoning or began is None or ended is None:
        return None
    return max(0.0, ended - began)


def shortened(text: str, longest: int = LONGEST_KEPT) -> str:
    r"""Cut the middle out of a text that is too long to show or to keep.

    Parameters
    ----------
    text : str
        Any text.
    longest : int
        Characters that are left alone.

    Returns
    -------
    str
        The text, or its first 2,000 and last 500 characters with the number of those between.

    Examples
    --------
    >>> shortened("a" * 5_000, 4_000)[1_998:2_030]
    'aa\n\n… 2,500 characters …\n\naaaaaa'
    """
    if len(text) <= longest:
        return text
    return f"{text[:2_000]}\n\n… {len(text) - 2_500:,} characters …\n\n{text[-500:]}"


def _after_steps(turn: Turn) -> str:
    """The text that came after the last tool: what came before is in the steps."""
    before = [step.get("content") for step in turn.steps if step.get("role") == "assistant"]
    said = "\n\n".join(text for text in before if isinstance(text, str) and text)
    return turn.text.removeprefix(said).lstrip("\n") if said else turn.text


def _parsed_files(turn: Turn) -> dict[str, Any]:
    """What the service read out of a file: sent back, it is not read, and billed, again."""
    found = turn.reply.annotations if turn.reply else ()
    files = [annotation for annotation in found if annotation.get("type") == "file"]
    return {"annotations": files} if files else {}


def _light(turn: Turn) -> Turn:
    if isinstance(turn.content, str):
        content: Content = turn.content
        if turn.role == "user":
            content = shortened(turn.content)
    else:
        content = [_light_part(part) for part in turn.content]
    reply = turn.reply
    if reply is not None and any(len(url) > LARGEST_KEPT for url in reply.images):
        kept = tuple(url for url in reply.images if len(url) <= LARGEST_KEPT)
        lost = _counted(len(reply.images) - len(kept), "image")
        note = f"{lost} too large to be kept here. {reply.note or ''}".strip()
        reply = replace(reply, images=kept, note=note)
    if content is turn.content and reply is turn.reply:
        return turn
    return replace(turn, content=content, reply=reply)


def _light_part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    text, inside = part.get("text"), part.get(str(part.get("type")))
    if isinstance(text, str):
        return {**part, "text": shortened(text)}
    values = inside.values() if isinstance(inside, Mapping) else ()
    size = max((len(value) for value in values if isinstance(value, str)), default=0)
    if size <= LARGEST_KEPT or not isinstance(inside, Mapping):
        return part
    name = inside.get("filename") or str(part.get("type")).partition("_")[0]
    megabytes = f"{size * 0.75e-6:.1f} MB"
    return {"type": "text", "text": f"[{name}, {megabytes}: was sent, and is not kept here]"}


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _row(turn: Turn) -> dict[str, Any]:
    row: dict[str, Any] = {
        "turn_id": turn.id,
        "parent_id": turn.parent_id,
        "role": turn.role,
        "content": turn.text,
    }
    reply = turn.reply
    if reply is not None:
        row |= {
            "reasoning": reply.reasoning or None,
            "started_at": reply.timing.started_at,
            "model": reply.requested_model,
            "served_model": reply.model,
            "provider": reply.provider,
            "source": reply.source,
            "prompt_tokens": reply.usage.prompt_tokens,
            "completion_tokens": reply.usage.completion_tokens,
            "reasoning_tokens": reply.usage.reasoning_tokens,
            "cost_usd": reply.usage.cost_usd,
            "time_to_first_token_s": reply.timing.time_to_first_token_s,
            "duration_s": reply.timing.duration_s,
            "finish_reason": reply.finish_reason,
            "status": reply.status,
            "error": reply.error,
        }
    return row


# ------------------------------------------------------------------ turns and replies as JSON


def _turn_to_json(turn: Turn) -> dict[str, Any]:
    data = {
        **turn.unknown,
        "id": turn.id,
        "parent_id": turn.parent_id,
        "role": turn.role,
        "content": well_formed(turn.content) if isinstance(turn.content, str) else turn.content,
    }
    if turn.steps:
        data["steps"] = [dict(step) for step in turn.steps]
    if turn.reply is not None:
        data["reply"] = _reply_to_json(turn.reply)
    return data


def _reply_to_json(reply: Reply) -> dict[str, Any]:
    """The reply's facts; its text is the turn's content, and its chunks are not kept."""
    data = _said(reply, without=("text", "usage", "timing", "raw_chunks", "logprobs"))
    data["usage"] = _said(reply.usage, without=("raw",))
    data["timing"] = _said(reply.timing, without=("started_at",))
    if reply.timing.started_at is not None:
        data["timing"]["started_at"] = reply.timing.started_at.isoformat()
    return data


def _said(value: Any, *, without: tuple[str, ...]) -> dict[str, Any]:
    """Fields of a dataclass that say something, tuples as lists."""
    data = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in without}
    data = {name: list(v) if isinstance(v, tuple) else v for name, v in data.items()}
    data = {name: well_formed(v) if isinstance(v, str) else v for name, v in data.items()}
    return {name: v for name, v in data.items() if v not in (None, "", [])}


def _checked_head(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        named = isinstance(data, Mapping) and "format" in data
        found = f"is {data['format']!r:.40}" if named else "is missing"
        raise ConfigError(f'This JSON is not a transcript of ornb: its "format" {found}.')
    version = data.get("version")
    if not isinstance(version, int) or version < 1:
        raise ConfigError(f"The transcript is damaged: its version is {version!r}.")
    if version > VERSION:
        raise ConfigError(
            f"The transcript is of version {version}; this ornb reads up to {VERSION}. Update ornb."
        )
    if not isinstance(data.get("turns"), list):
        raise ConfigError('The transcript is damaged: "turns" is not a list.')
    return data


class _Reader:
    """Takes values out of a JSON object, each of the type it must have."""

    def __init__(self, data: Any, where: str) -> None:
        self.where = where
        if not isinstance(data, Mapping):
            raise self.damaged("it", data)
        self.data = data

    def damaged(self, name: str, value: Any) -> ConfigError:
        shown = repr(value)[:40]
        return ConfigError(f"The transcript is damaged: in {self.where}, {name} is {shown}.")

    def take(self, name: str, *kinds: type) -> Any:
        value = self.data.get(name)
        good = value is None or isinstance(value, kinds)
        if not good or (isinstance(value, bool) and bool not in kinds):
            raise self.damaged(name, value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.damaged(name, value)
        return value

    def text(self, name: str) -> str | None:
        found: str | None = self.take(name, str)
        return found

    def objects(self, name: str, kind: type = dict) -> tuple[Any, ...]:
        found = self.take(name, list) or []
        if not all(isinstance(item, kind) for item in found):
            raise self.damaged(name, found)
        return tuple(found)

    def fill(self, names: str, *kinds: type) -> dict[str, Any]:
        """Those of the named values that are there."""
        found = {name: self.take(name, *kinds) for name in names.split()}
        return {name: value for name, value in found.items() if value is not None}


def _turn_from_json(item: Any, where: str) -> Turn:
    reader = _Reader(item, where)
    turn_id, role, content = (reader.take(n, str, list) for n in ("id", "role", "content"))
    if not isinstance(turn_id, str) or not turn_id:
        raise reader.damaged("id", turn_id)
    if role not in ("user", "assistant"):
        raise reader.damaged("role", role)
    if content is None or (isinstance(content, list) and not reader.objects("content")):
        raise reader.damaged("content", content)
    reply = None
    if role == "assistant":
        if not isinstance(content, str):
            raise reader.damaged("content", content)
        reply = _reply_from_json(reader.take("reply", dict) or {}, content, where)
    known = ("id", "parent_id", "role", "content", "reply", "steps")
    unknown = {key: value for key, value in reader.data.items() if key not in known}
    steps = reader.objects("steps")
    if any(step.get("role") not in ("assistant", "tool") for step in steps):
        raise reader.damaged("steps", steps)
    return Turn(turn_id, reader.text("parent_id"), role, content, reply, unknown, steps)


def _reply_from_json(data: Any, text: str, where: str) -> Reply:
    reader = _Reader(data, f"the reply of {where}")
    usage = _Reader(data.get("usage") or {}, f"the usage of {where}")
    timing = _Reader(data.get("timing") or {}, f"the timing of {where}")
    times = "queued_s connect_s time_to_first_token_s time_to_first_answer_s duration_s"
    words = (
        "reasoning requested_model model provider finish_reason native_finish_reason "
        "generation_id source note status error label"
    )
    return Reply(
        text=text,
        images=reader.objects("images", str),
        annotations=reader.objects("annotations"),
        tool_calls=reader.objects("tool_calls"),
        reasoning_details=reader.objects("reasoning_details"),
        usage=Usage(
            **usage.fill(
                "prompt_tokens completion_tokens total_tokens reasoning_tokens cached_tokens "
                "cache_write_tokens",
                int,
            ),
            **usage.fill("cost_usd", int, float),
            **usage.fill("is_byok", bool),
        ),
        timing=Timing(
            started_at=_moment(timing),
            **timing.fill(times, int, float),
            **timing.fill("connection_reused", bool),
        ),
        **reader.fill(words, str),
        **reader.fill("http_status attempts", int),
    )


def _moment(timing: _Reader) -> datetime | None:
    text = timing.text("started_at")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise timing.damaged("started_at", text) from error
    if moment.tzinfo is None:
        raise timing.damaged("started_at", text)
    return moment
