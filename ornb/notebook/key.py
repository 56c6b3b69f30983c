"""Sign in from a notebook, and leave no key in it.

What is typed goes to the kernel in a message of its own and is gone from the box in the same
moment. No trait ever holds it, since a trait may be saved with the notebook; the page only hears
how it went. The network is asked by a thread, so the kernel stays free meanwhile.
"""

from __future__ import annotations

import contextlib
import getpass
import html
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, overload
from urllib.parse import urlsplit

import traitlets as t

from .. import session
from ..api import keys
from ..api.client import Client, Secret
from ..api.service import is_openrouter
from ..errors import ConfigError, OrnbError
from .base import Widget, in_thread, module, sheet, waited

HERE = Path(__file__)

ELSEWHERE = """\
Where there is no page to type into, set the key before Jupyter starts:
    export OPENROUTER_API_KEY=...        (Windows: set OPENROUTER_API_KEY=...)
or type it unseen: ornb.sign_in(prompt=True)"""
BINDER = (
    "This is a Binder computer, and Binder advises against typing keys there. Without one, ornb "
    "works offline. If you do: take a key with a small limit, and delete it afterwards."
)
BINDER_AFTER = "This is a Binder computer: delete the key at the service when you are done."


class KeyForm(Widget):
    """A form that forgets: a key goes in, and only facts about it come out.

    Made by `sign_in`. It takes a key, or the code of OpenRouter's sign-in page, from which the
    kernel makes one; then `ornb.connect` is called with it.

    Parameters
    ----------
    base_url : str, optional
        The service. By default ``OPENROUTER_BASE_URL``, else OpenRouter.
    remember : bool
        Keep the key in the computer's keyring (package keyring), and use the one that is kept
        there. `ornb.api.keys.forget` takes it out.
    auth_url : str, optional
        Page that shows codes. By default OpenRouter's; another service has none, and then the form
        takes keys only.
    **traits : Any
        Traits of every Jupyter widget, such as ``layout``.

    Raises
    ------
    ConfigError
        `base_url` is no address, `remember` finds no keyring, or an unknown argument.

    Examples
    --------
    >>> form = KeyForm()
    >>> form.service, form.signed_in
    ('openrouter.ai', False)
    """

    _esm = module(HERE)
    _css = sheet(HERE)

    service = t.Unicode("", read_only=True).tag(sync=True)
    """Host that the key is for. Set when made."""

    signed_in = t.Bool(False, read_only=True).tag(sync=True)
    """Whether a key given here is in use."""

    busy = t.Bool(False, read_only=True).tag(sync=True)
    """Whether the service is being asked."""

    status = t.Unicode("", read_only=True).tag(sync=True)
    """How it stands, in a sentence."""

    facts = t.Dict(read_only=True).tag(sync=True)
    """What the service says of the key: heading to text, in reading order."""

    advice = t.Unicode("", read_only=True).tag(sync=True)
    """What to mind before, or what to improve after, signing in; empty when nothing."""

    _left = t.Float(None, allow_none=True).tag(sync=True)
    """Share of the key's limit that is left, 0 to 1."""

    _auth_url = t.Unicode("").tag(sync=True)
    _keys_url = t.Unicode("").tag(sync=True)
    _kept = t.Bool(False).tag(sync=True)

    def __init__(
        self,
        base_url: str | None = None,
        *,
        remember: bool = False,
        auth_url: str | None = None,
        **traits: Any,
    ) -> None:
        self._base_url = Client(base_url=keys.service_url(base_url)).base_url
        super().__init__(**traits, _kept=remember)
        ours = is_openrouter(self._base_url)
        self._auth_page = auth_url or (keys.AUTH_URL if ours else None)
        self._keys_url = keys.KEYS_URL if ours else ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        self._client: Client | None = None
        self._info: keys.KeyInfo | None = None
        in_use = os.environ.get("OPENROUTER_API_KEY", "").strip()
        self._tell(
            service=urlsplit(self._base_url).netloc,
            status="OPENROUTER_API_KEY is set; a key given here takes its place" if in_use else "",
            advice=BINDER if keys.on_binder() else "",
        )
        self._new_try()
        self.on_msg(self._on_message)
        kept = keys.recall(self._base_url) if remember else None
        if kept is not None:
            self._start("Checking the key of this computer's keyring …", self._use, kept)

    @property
    def key_info(self) -> keys.KeyInfo | None:
        """What the service says of the key in use; None when it says nothing or none is in use."""
        return self._info

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the service has answered.

        Parameters
        ----------
        timeout_s : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            Whether a key given here is in use.

        Examples
        --------
        >>> KeyForm().wait()
        False
        """
        waited(self._ended, timeout_s)
        return self.signed_in

    def sign_out(self) -> None:
        """Stop using the key, and go back to what the environment says, or offline.

        Waits until that is done. The key stays valid at the service; one that is kept in the
        keyring stays there, too.

        Examples
        --------
        >>> KeyForm().sign_out()
        """
        self.wait()
        self._start("Signing out …", self._drop)
        self.wait()

    # ------------------------------------------------------------------ what the page says

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        if not isinstance(content, dict):
            return
        # Taken out of the message, which the kernel keeps until the next one.
        typed = Secret(str(content.pop("key", "") or content.pop("code", "")))
        kind = content.get("type")
        with self.guard():
            if kind == "key":
                self._start("Checking the key …", self._use, typed)
            elif kind == "code":
                self._start("Getting a key for the code …", self._trade, typed)
            elif kind == "sign_out":
                self._start("Signing out …", self._drop)

    def _start(self, status: str, job: Callable[..., None], *secret: Secret) -> None:
        """Have a thread do it, one thing at a time."""
        with self._lock:
            if not self._ended.is_set():
                return
            self._ended.clear()
        self._tell(busy=True, status=status)
        in_thread("ornb-sign-in", self._work, job, secret)

    def _work(self, job: Callable[..., None], secret: tuple[Secret, ...]) -> None:
        try:
            with self.guard():
                job(*secret)
            failed = {"status": "Signed in" if self.signed_in else ""} if self.error else {}
            self._tell(busy=False, **failed)
        finally:
            self._ended.set()

    # ------------------------------------------------------------------ what is done about it

    def _use(self, typed: Secret) -> None:
        """Check a key, and connect with it."""
        key, info, self._client = _connected(typed.reveal(), self._base_url)
        self._info = info
        advice = info.advice() if info and self._keys_url else ""
        self._tell(
            signed_in=True,
            status="Signed in",
            facts=info.facts() if info else {},
            advice=BINDER_AFTER if keys.on_binder() else advice,
            _left=_share(info),
        )
        if self._kept:
            keys.remember(key, self._base_url)
            self._tell(status="Signed in; the key is kept in this computer's keyring")

    def _trade(self, code: Secret) -> None:
        """Get a key for a code, and connect with it."""
        with _wordless():
            key = keys.exchange(code, self._pkce, self._base_url)
        self._new_try()
        self._use(key)

    def _drop(self) -> None:
        ours, self._client, self._info = self._client, None, None
        advice = BINDER if keys.on_binder() else ""
        self._tell(signed_in=False, facts={}, advice=advice, _left=None)
        if ours is None:
            self._tell(status="")
            return
        if session.client() is ours:  # else somebody has connected since
            session.connect()
        self._tell(status=f"Signed out. {_who_answers()}")

    def _new_try(self) -> None:
        """Make the next link; the secret to it stays here."""
        self._pkce = keys.Pkce()
        self._auth_url = self._pkce.url(auth_url=self._auth_page) if self._auth_page else ""

    def _tell(self, **values: Any) -> None:
        """Set traits that are the form's own to set, in one message."""
        with self.hold_sync():
            for name, value in values.items():
                self.set_trait(name, value)

    # ------------------------------------------------------------------ without a page

    def _static_text(self) -> str:
        return f"Sign-in form (needs a running kernel).\n{ELSEWHERE}"

    def _static_html(self) -> str:
        return (
            "<div><p><b>Sign-in form</b>: run its cell again to use it.</p>"
            f"<pre>{html.escape(ELSEWHERE)}</pre></div>"
        )


@overload
def sign_in(
    base_url: str | None = None,
    *,
    remember: bool = False,
    prompt: Literal[False] = False,
    auth_url: str | None = None,
) -> KeyForm: ...
@overload
def sign_in(
    base_url: str | None = None,
    *,
    remember: bool = False,
    prompt: Literal[True],
    auth_url: str | None = None,
) -> keys.KeyInfo | None: ...
def sign_in(
    base_url: str | None = None,
    *,
    remember: bool = False,
    prompt: bool = False,
    auth_url: str | None = None,
) -> KeyForm | keys.KeyInfo | None:
    """Show a form for a key, which no file will hold.

    Paste a key, or press "Open OpenRouter", allow ornb, and paste the code. From then on this
    kernel's calls go out with that key.

    Parameters
    ----------
    base_url : str, optional
        The service. By default ``OPENROUTER_BASE_URL``, else OpenRouter.
    remember : bool
        Keep the key in the computer's keyring (package keyring), and sign in with it next time.
    prompt : bool
        Ask for the key in a line under the cell, or in the terminal, and wait for it; what is
        typed is not shown. For where widgets don't work.
    auth_url : str, optional
        Page that shows codes, for another service that has one.

    Returns
    -------
    KeyForm, KeyInfo or None
        The form, to be shown by the cell. With ``prompt=True`` what the service says of the key,
        None where it says nothing.

    Raises
    ------
    ConfigError
        `base_url` is no address, `remember` finds no keyring, there is nobody to prompt, or what
        was typed cannot be a key.
    AuthenticationError
        With ``prompt=True``: the service does not know the key.
    OrnbError
        With ``prompt=True``: the service cannot be reached, or refuses.

    Examples
    --------
    >>> sign_in().signed_in
    False
    """
    if not prompt:
        return KeyForm(base_url, remember=remember, auth_url=auth_url)
    url = keys.service_url(base_url)
    if keys.on_binder():
        print(BINDER)
    key, info, _ = _connected(_typed(f"API key for {urlsplit(url).netloc}: "), url)
    if remember:
        keys.remember(key, url)
    return info


def _typed(question: str) -> str:
    try:
        return getpass.getpass(question)
    except (EOFError, NotImplementedError) as error:
        raise ConfigError(
            "There is nobody here to type a key. Set OPENROUTER_API_KEY before the notebook runs."
        ) from error


def _connected(typed: str, url: str) -> tuple[Secret, keys.KeyInfo | None, Client]:
    """Check a key, and connect with it."""
    key = Secret(keys.tidy(typed, url))
    with _wordless():
        return key, keys.check(key, url), session.connect(key.reveal(), url)


@contextlib.contextmanager
def _wordless() -> Iterator[None]:
    """Raise ornb's own errors as they are, of others only the type: words may hold the key."""
    try:
        yield
    except OrnbError:
        raise
    except Exception as error:  # noqa: BLE001 - it is raised again, in other words
        raise OrnbError(
            f"Sign-in failed inside ornb ({type(error).__name__}). Please report it; "
            "OPENROUTER_API_KEY works without this form."
        ) from None


def _who_answers() -> str:
    client = session.client()
    if client.source == "offline":
        return "ornb is offline again; nothing is billed"
    key = "with a key" if client.has_key else "without a key"
    return f"Calls go to {urlsplit(client.base_url).netloc}, {key}"


def _share(info: keys.KeyInfo | None) -> float | None:
    budget = None if info is None else info.budget
    if budget is None or not budget.limit_usd or budget.remaining_usd is None:
        return None
    return min(1.0, max(0.0, budget.remaining_usd / budget.limit_usd))
