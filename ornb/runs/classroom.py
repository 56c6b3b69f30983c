"""A class with keys of its own: a table of names in, keys with a limit out.

Plain keys come from the service once, each in the answer that made it. Until they are handed out
they are held as `Secret`; after that, or where a file took them, they are held no longer.
"""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import IO, Any
from urllib.parse import quote

import pandas as pd

from .. import columns as c
from .. import errors, offline, session
from ..api.client import Client, Secret
from ..api.keys import PATIENCE, KeyInfo, describe, service_url, tidy
from ..api.refusals import mapping
from ..api.reply import amount, counted, format_usd
from ..api.service import clear_frames
from ..columns import Column
from ..errors import ConfigError, OrnbError, UnexpectedAnswer, did_you_mean
from ..ledger.bills import ACTIVITY_COLUMNS, activity_to_frame
from ..ledger.budget import exact_usd
from .data import table_of

__all__ = ["Classroom", "classroom"]

TERMS = ("limit_usd", "limit_reset", "expires_at")
"""What holds for one student where the table has such a column, else for all."""
RESETS = ("daily", "weekly", "monthly")
CLASS_COLUMNS: dict[str, Column] = {
    "student": Column("str", "the name, as it was given"),
    "status": Column("str", "without a key, active, paused or expired"),
    "limit_usd": Column("float64", "USD that the key may spend; missing: the service has no limit"),
    "limit_reset": Column("str", "daily, weekly or monthly (UTC), when the limit begins anew"),
    "expires_at": Column("datetime64[us, UTC]", "when the key ends; missing: never"),
    "worst_usd": Column("float64", "USD that it can cost at most from now on; missing: no bound"),
    "used_usd": Column("float64", "USD spent when the service was last asked"),
    "label": Column("str", "the key's beginning and end, as the service shows it"),
    "is_held": Column("bool", "the whole key is here, to be handed out"),
}
"""Columns of `Classroom.df`."""
FIGURES = ("requests", "prompt_tokens", "completion_tokens", "cost_usd", "byok_usd")
CLASS_USAGE_COLUMNS: dict[str, Column] = {
    "student": Column("str", "the name, as it was given"),
    "model": Column("str", "the model asked for; missing: what no finished day tells yet"),
    **c.alike(ACTIVITY_COLUMNS, *FIGURES),
}
"""Columns of `Classroom.usage`."""


class Classroom:
    """The keys of a class; `ornb.classroom` begins one. Shows itself, and never a key.

    Examples
    --------
    >>> room = ornb.classroom(["Ada", "Ben"], "0.50", title="A class")
    >>> room.make()
    A class: 2 students, 2 active. From now on they can cost at most $1.00 in all.
    .hand_out() gives 2 keys, once.
    Offline practice: such keys work on this machine alone.
    >>> sorted(room.hand_out())
    ['Ada', 'Ben']
    >>> room.close()
    """

    def __init__(self, client: Client, title: str, terms: dict[str, dict[str, Any]]) -> None:
        self.title = title
        """Begins the name of each key, such as "A class: Ada"."""
        self._client, self._terms = client, terms
        self._records: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, Secret] = {}
        self._look()

    @property
    def df(self) -> pd.DataFrame:
        """One row a student, as the service last told; docs/tables.md has the columns."""
        rows = []
        for name, key in self._each_key():
            facts = key.limit_usd, key.limit_reset, key.expires_at, _worst(key), key.used_usd
            rows.append((name, self._status(name), *facts, key.label or None, name in self._keys))
        return c.frame(rows, CLASS_COLUMNS)

    @property
    def worst_usd(self) -> float | None:
        """USD that all keys, made or not, can cost at most from now on; None: no bound.

        The service holds keys to their limits, and each limit counts once a day, week or month if
        it begins anew, until the key ends.
        """
        each = [_worst(key) for _, key in self._each_key()]
        return None if None in each else _sum(each)

    def make(self, path: str | os.PathLike[str] | None = None) -> Classroom:
        """Make the keys that are lacking.

        Parameters
        ----------
        path : str or path-like, optional
            A new CSV file that takes each key as soon as it is made, and those that are held; only
            its owner may read it (mode 600). By default no file is written: `hand_out` gives them.

        Returns
        -------
        Classroom
            The same.

        Raises
        ------
        ConfigError
            The file exists, or cannot be written; what it lacks is held.
        OrnbError
            The service refused in the middle. The message says who has a key; what was made is
            held, and `make` goes on from there.

        Examples
        --------
        >>> ornb.classroom(["Cy"], 1, title="Another").make().close()
        """
        self._look()
        names = [name for name in self._terms if name not in self._records or name in self._keys]
        if path is None or not names:
            self._each(names, self._hold, "made")
            return self
        with _new_file(path) as file:

            def write(name: str) -> None:
                self._hold(name)
                key, written = self._keys[name], 0
                with contextlib.suppress(OSError):
                    written = file.write(_line(name, key))
                if written < len(_line(name, key)):
                    raise ConfigError(f"{path} takes no more: is the disk full?")
                del self._keys[name]

            self._each(names, write, "written")
        return self

    def hand_out(self) -> dict[str, str]:
        """Give the plain keys that are held, once; afterwards they are held no longer.

        Assign them: what a cell ends with is kept in the notebook.

        Returns
        -------
        dict of str to str
            Name to key.

        Examples
        --------
        >>> ornb.classroom(["Dee"], 1, title="A third").hand_out()
        {}
        """
        keys, self._keys = self._keys, {}
        return {name: key.reveal() for name, key in keys.items()}

    def usage(self) -> pd.DataFrame:
        """Ask what was used, by student and model.

        The service tells models of finished UTC days, the last 30. What a key has spent beyond
        them, such as today, is a row without a model, so that costs of a student add up to all
        that the key has spent.

        Returns
        -------
        pandas.DataFrame
            docs/tables.md has the columns; ``.attrs["source"]`` is live or offline.

        Raises
        ------
        OrnbError
            The service cannot be reached, or refuses.

        Examples
        --------
        >>> len(ornb.classroom(["Eve"], 1, title="A fourth").usage())
        0
        """
        self._look()
        rows: list[tuple[Any, ...]] = []
        for name, record in self._records.items():
            days = activity_to_frame(self._client.activity(api_key_hash=record["hash"]))
            told: list[Any] = [
                (name, c.text(model), *(_sum(c.plain(part[column])) for column in FIGURES))
                for model, part in days.groupby("model", dropna=False)
            ]
            # To a billionth, as what a key spent and what its days cost are two books.
            spent = [
                None
                if (whole := amount(record.get(key))) is None
                else round(_sum([whole, *(-(row[place] or 0.0) for row in told)]) or 0.0, 9)
                for key, place in (("usage", -2), ("byok_usage", -1))
            ]
            rows += told
            if any(spent) or not told:
                rows.append((name, None, *[0 if spent == [0, 0] else None] * 3, *spent))
        frame = c.frame(rows, CLASS_USAGE_COLUMNS)
        frame.attrs["source"] = self._client.source
        return frame

    def pause(self, *names: str) -> None:
        """Have the service refuse keys until `resume`.

        Parameters
        ----------
        *names : str
            Students; by default all that have a key.

        Raises
        ------
        ConfigError
            No such student, or no key.
        OrnbError
            The service refused in the middle; the message says who was done.

        Examples
        --------
        >>> ornb.classroom(["Fay"], 1, title="A fifth").make().pause("Fay")
        """
        self._change(names, "paused", disabled=True)

    def resume(self, *names: str) -> None:
        """Have the service take paused keys again.

        Parameters
        ----------
        *names : str
            Students; by default all that have a key.

        Raises
        ------
        ConfigError, OrnbError
            As for `pause`.

        Examples
        --------
        >>> ornb.classroom(["Fay"], 1, title="A fifth").make().resume()
        """
        self._change(names, "resumed", disabled=False)

    def raise_limit(self, limit_usd: float | str | Decimal, *names: str) -> None:
        """Set another limit.

        Parameters
        ----------
        limit_usd : float, str or decimal.Decimal
            USD that a key may spend in all, what it has spent included; or between two resets.
        *names : str
            Students; by default all that have a key.

        Raises
        ------
        ConfigError, OrnbError
            As for `pause`, or the limit is no money.

        Examples
        --------
        >>> ornb.classroom(["Fay"], 1, title="A fifth").make().raise_limit("1.50", "Fay")
        """
        self._change(names, "given the limit", limit=_limit(limit_usd))

    def close(self, *names: str) -> None:
        """Delete keys, for good. Ask `usage` before: the service forgets what they spent today.

        Parameters
        ----------
        *names : str
            Students; by default all that have a key.

        Raises
        ------
        ConfigError, OrnbError
            As for `pause`.

        Examples
        --------
        >>> ornb.classroom(["Fay"], 1, title="A fifth").close()
        """

        def end(name: str) -> None:
            with contextlib.suppress(errors.NotFound):  # somebody was quicker
                self._send("DELETE", self._path_of(name))
            del self._records[name]
            self._keys.pop(name, None)

        self._each(self._with_keys(names), end, "deleted")

    def __repr__(self) -> str:
        each = Counter(map(self._status, self._terms))
        states = ", ".join(f"{count:,} {status}" for status, count in each.items())
        most = "any amount" if self.worst_usd is None else f"at most {format_usd(self.worst_usd)}"
        lines = [f"{self.title}: {counted(len(self._terms), 'student')}, {states}."]
        if self._records:
            lines[0] += f" From now on they can cost {most} in all."
        if lacking := each["without a key"]:
            makes = f".make() makes {counted(lacking, 'key')}"
            then = f"No student has a key: {makes}. From then on they can cost {most} in all."
            lines.append(f"{makes}, counted in that." if self._records else then)
        if self._keys:
            lines.append(f".hand_out() gives {counted(len(self._keys), 'key')}, once.")
        if self._client.source == "offline":
            lines.append("Offline practice: such keys work on this machine alone.")
        return "\n".join(lines)

    def _each_key(self) -> Iterable[tuple[str, KeyInfo]]:
        """What the service says of each key; of those that are not made, what it will be told."""
        return (
            (name, describe(self._records.get(name, self._terms[name]))) for name in self._terms
        )

    def _status(self, name: str) -> str:
        if name not in self._records:
            return "without a key"
        ends = describe(self._records[name]).expires_at
        if ends is not None and ends <= datetime.now(UTC):
            return "expired"
        return "paused" if self._records[name].get("disabled") is True else "active"

    def _look(self) -> None:
        """Learn from the service which students have a key."""
        names = {terms["name"]: name for name, terms in self._terms.items()}
        found: dict[str, dict[str, Any]] = {}
        for record in _listed(self._client):
            name = names.get(str(record.get("name")))
            if name in found:
                raise ConfigError(
                    f"The account has two keys named {record['name']!r}. Delete one of them in its "
                    "settings, or give this class another title."
                )
            if name is not None:
                found[name] = record
        self._records = found

    def _hold(self, name: str) -> None:
        """Make a key, unless it is there."""
        if name not in self._records:
            answer = self._send("POST", "/keys", self._terms[name])
            key, record = Secret(c.text(answer.pop("key", None)) or ""), mapping(answer.get("data"))
            if not (key.reveal() and c.text(record.get("hash"))):
                raise UnexpectedAnswer("The service answered without a key. Check base_url.")
            self._keys[name], self._records[name] = key, dict(record)

    def _send(self, method: str, path: str, fields: Any = None) -> dict[str, Any]:
        """Have something made, changed or deleted. No error repeats the answer: a key is in it."""
        data = None if fields is None else json.dumps(fields).encode()
        try:
            answer = json.loads(self._client._service.body(method, path, data))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            answer = None
        is_done = isinstance(answer, dict) and (answer.get("data") or answer.get("deleted") is True)
        if not is_done:
            del answer
            raise UnexpectedAnswer(f"{method} {path} was answered with no record. Check base_url.")
        return answer  # type: ignore[no-any-return]

    def _change(self, names: Iterable[str], verb: str, **fields: Any) -> None:
        def change(name: str) -> None:
            answer = self._send("PATCH", self._path_of(name), fields)
            self._records[name] = {**self._records[name], **fields, **mapping(answer.get("data"))}

        self._each(self._with_keys(names), change, verb)

    def _with_keys(self, names: Iterable[str]) -> list[str]:
        names = [_tidy_name(name) for name in names]
        for name in names:
            if name not in self._terms:
                raise ConfigError(did_you_mean(name, self._terms, "student of this class"))
            if name not in self._records:
                raise ConfigError(f"{name} has no key; .make() makes it.")
        return names or list(self._records)

    def _each(self, names: list[str], act: Callable[[str], None], verb: str) -> None:
        """Do it for one after the other; an error tells how far it came."""
        for place, name in enumerate(names):
            try:
                act(name)
            except (OrnbError, KeyboardInterrupt) as error:
                done, left = _enumerated(names[:place]), _enumerated(names[place:])
                has = _enumerated(list(self._records))
                words = (
                    f"{error} Keys {verb} before that: {done}; not: {left}. With a key now: {has}. "
                    "The class, also `classroom` of this exception (sys.last_value.classroom), "
                    "holds what was made, and the same call goes on."
                )
                error.args = (words.strip(),)
                error.classroom = self  # type: ignore[union-attr]  # a line that failed assigns none
                raise

    def _path_of(self, name: str) -> str:
        return f"/keys/{quote(self._records[name]['hash'], safe='')}"


def classroom(
    students: Any,
    limit_usd: float | str | Decimal | None = None,
    *,
    limit_reset: str | None = None,
    expires_at: str | datetime | None = None,
    title: str = "ornb class",
    management_key: str | Secret | None = None,
    base_url: str | None = None,
) -> Classroom:
    """Plan keys for a class, one a student, each with a limit. Nothing is made before ``.make()``.

    Parameters
    ----------
    students : list of str, DataFrame, Series or path of a .csv
        Names. A table has them in a column ``name``; columns ``limit_usd``, ``limit_reset`` and
        ``expires_at`` hold for a single student, in place of the arguments.
    limit_usd : float, str or decimal.Decimal, optional
        USD that each key may spend; without resets in all.
    limit_reset : {"daily", "weekly", "monthly"}, optional
        When the limit begins anew (00:00 UTC, weeks on Monday). Default: never.
    expires_at : str or datetime, optional
        When the keys end, such as "2026-12-24"; UTC where it names no zone. Default: never.
    title : str
        Begins the names of the keys. A class of the same title and names is the same class: keys
        that were made before are found again, though not what to type for them.
    management_key : str or Secret, optional
        By default that of the kernel's client; offline, the server on this machine has one.
    base_url : str, optional
        Address that the management key is for, by default OpenRouter's.

    Returns
    -------
    Classroom
        Which shows what is to be made, and what that can cost at most.

    Raises
    ------
    ConfigError
        A name is missing or there twice, or a limit, reset or expiry cannot be.
    Forbidden, AuthenticationError
        The key is an ordinary one, or unknown.
    OrnbError
        The service cannot be reached, or refuses.

    Examples
    --------
    >>> ornb.classroom(["Ada", "Ben"], "0.50", title="Physics 9b")
    Physics 9b: 2 students, 2 without a key.
    No student has a key: .make() makes 2 keys. From then on they can cost at most $1.00 in all.
    Offline practice: such keys work on this machine alone.

    References
    ----------
    OpenRouter API, ``/keys`` and ``GET /activity``, by the official SDK 1.3.84; 2026-11.
    """
    try:
        client = _manager(management_key, base_url)
    except OrnbError as error:
        clear_frames(error)
        raise
    finally:
        del management_key  # tools that show variables would tell it
    if not isinstance(title, str) or not title.strip():
        wrong = "empty; give" if isinstance(title, str) else f"{title!r}; give a text,"
        raise ConfigError(f"title is {wrong} what the keys of this class are to be called.")
    defaults = dict(zip(TERMS, (limit_usd, limit_reset, expires_at), strict=True))
    title = " ".join(title.split())
    return Classroom(client, title, _terms(students, defaults, title))


def _manager(key: str | Secret | None, base_url: str | None) -> Client:
    if key is not None or base_url is not None:
        url = Client(base_url=service_url(base_url)).base_url  # which refuses what is no address
        plain = key.reveal() if isinstance(key, Secret) else key or ""
        return Client(tidy(plain, url), url, timeouts=PATIENCE)
    client = session.client()
    if client.source != "offline":
        return client
    server = offline.start()
    return Client(server.management_key, server.base_url, source="offline")


def _listed(client: Client) -> Iterable[dict[str, Any]]:
    """List all keys, page by page, paused and expired ones too."""
    found: dict[str, dict[str, Any]] = {}
    query = {"include_disabled": "true", "include_expired": "true"}
    before = -1
    try:
        while len(found) > before:
            before = len(found)
            page = client._pages("/keys", {**query, "offset": before})
            found |= {each["hash"]: each for each in page if c.text(mapping(each).get("hash"))}
    except (errors.AuthenticationError, errors.Forbidden) as error:
        error.args = (
            "This key makes no keys: it is an ordinary one, or not known. A class needs a "
            "management key, made in the account's settings: management_key=...",
        )
        raise
    return found.values()


def _terms(students: Any, defaults: dict[str, Any], title: str) -> dict[str, dict[str, Any]]:
    """Read and check a table of students, all of it before anything is made."""
    table = table_of(students)
    for mark in ";\t":
        if table.shape[1] == 1 and mark in str(table.columns[0]):
            raise ConfigError(
                f"The columns are parted by {mark!r}, so their limits would not be read. Give "
                f"pandas.read_csv(path, sep={mark!r})."
            )
    names = "name" if "name" in table or table.shape[1] != 1 else table.columns[0]
    for column in map(str, table.columns if table.shape[1] > 1 else ()):
        if column not in TERMS and errors.near(column, TERMS):
            raise ConfigError(did_you_mean(column, TERMS, "column of a class"))
    if names not in table or not len(table) or not table.columns.is_unique:
        raise ConfigError("There are no students: give a list of names, or one column `name`.")
    own = {key: c.plain(table[key]) for key in TERMS if key in table}
    terms: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    for place, name in enumerate(map(_tidy_name, c.plain(table[names]))):
        if (looks := _seen(name)) in seen:
            raise ConfigError(f"Two students are named {name!r}. Tell them apart, as by a letter.")
        seen.add(looks)
        given = {key: values[place] for key, values in own.items() if values[place] is not None}
        limit_usd, reset, until = ({**defaults, **given}[key] for key in TERMS)
        if reset is not None and reset not in RESETS:
            raise ConfigError(did_you_mean(str(reset), RESETS, "limit_reset"))
        terms[name] = {
            "name": f"{title}: {name}",
            "limit": _limit(limit_usd),
            "limit_reset": reset,
            "expires_at": None if until is None else _end(until),
            # Else calls that a provider's key of the account pays for would be without a limit.
            "include_byok_in_limit": True,
        }
    return terms


def _tidy_name(name: Any) -> str:
    tidied = unicodedata.normalize("NFC", " ".join(str(name).split()))
    no_signs = any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in tidied)
    no_signs |= "\ufffd" in tidied  # what stands for such signs where a table cannot hold them
    if not _seen(tidied) or no_signs or not isinstance(name, str | int):
        raise ConfigError(f"A student's name is {name!r}; each needs one, as text.")
    return tidied


def _seen(name: str) -> str:
    """What people tell names apart by: no capitals, and no signs that have no form of their own."""
    return "".join(sign for sign in name.casefold() if unicodedata.category(sign) != "Cf")


def _limit(usd: Any) -> float:
    limit = exact_usd(usd, f"limit_usd={usd!r}")
    if not limit:
        raise ConfigError("limit_usd is 0, and the service refuses such a key. Use .pause().")
    return float(limit)


def _end(value: Any) -> str:
    moment, now = c.dates([str(value)])[0], datetime.now(UTC)
    if pd.isna(moment):
        raise ConfigError(f"expires_at={value!r} is no date such as '2026-12-24'.")
    if moment <= now:
        raise ConfigError(f"expires_at={value!r} is in the past: it is {now:%Y-%m-%d %H:%M} UTC.")
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _worst(key: KeyInfo) -> float | None:
    """USD that a key can cost from now on; None where nothing bounds it."""
    now, until, reset = datetime.now(UTC), key.expires_at, key.limit_reset
    if until is not None and until <= now:
        return 0.0
    if key.limit_usd is None or (reset is not None and until is None):
        return None
    left = key.limit_usd if key.remaining_usd is None else max(key.remaining_usd, 0.0)
    if reset is None or until is None:
        return left
    anew = _period(until - timedelta(microseconds=1), reset) - _period(now, reset)
    return _sum([left, _sum([key.limit_usd], anew)])


def _period(moment: datetime, reset: str) -> int:
    """Number the day, week (from Monday on) or month in UTC; an unknown reset counts as daily."""
    day, months = moment.toordinal(), 12 * moment.year + moment.month
    return {"weekly": (day - 1) // 7, "monthly": months}.get(reset, day)


def _new_file(path: str | os.PathLike[str]) -> IO[bytes]:
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except (OSError, TypeError, ValueError) as error:
        why = getattr(error, "strerror", error)
        raise ConfigError(f"{path!s:.200} cannot be made ({why}). Give a new file.") from error
    return os.fdopen(made, "wb", buffering=0)


def _line(name: str, key: Secret) -> bytes:
    return '"{}",{}\n'.format(name.replace('"', '""'), key.reveal()).encode()


def _sum(amounts: Iterable[Any], times: int = 1) -> float | None:
    """Add what is known, as the decimals that they are; None where nothing is."""
    known = [Decimal(repr(each)) for each in amounts if each is not None]
    return float(times * sum(known)) if known else None


def _enumerated(names: list[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (", ".join(names[:20]) + more) or "nobody"
