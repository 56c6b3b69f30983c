"""A chat and a comparison in a bare page, and the service they ask, which says what it is told to.

All of it goes the way that it goes in Jupyter, but for the two ends: a `Speaker` stands in for the
client, and what page and kernel say to each other waits in `tests/esm.py` until it is carried.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from ornb.api.reply import Event, Reply, Timing, Usage
from ornb.errors import OrnbError
from ornb.notebook.chat import Chat
from ornb.notebook.compare import Comparison, compare
from tests.esm import LONGEST_S, Shown

MODELS = ["acme/orbit", "acme/comet", "lab/small"]
BOX = "Message to the model"


def reply(text: str, **facts: Any) -> Reply:
    """An answer with its cost, as a chat gets one."""
    return Reply(text=text, model="acme/orbit", usage=Usage(22, 9, cost_usd=0.000145), **facts)


def timed(text: str, first: float = 0.2, whole: float = 2.0, **facts: Any) -> Reply:
    """An answer with all that a comparison shows of it."""
    facts = {"model": "acme/orbit-2026", "provider": "NorthCloud", "finish_reason": "stop"} | facts
    used = Usage(22, 90, cost_usd=0.000145)
    timing = Timing(time_to_first_token_s=first, duration_s=whole)
    return Reply(text=text, **{"usage": used, "timing": timing, **facts})


class Said:
    """One call's answer, as from `Client.stream`: what a test says of it arrives."""

    def __init__(self) -> None:
        self.reply = Reply()
        self._events: queue.SimpleQueue[Event | OrnbError | None] = queue.SimpleQueue()

    def say(self, kind: str, text: str) -> None:
        self._events.put(Event(kind, text))

    def end(self, reply: Reply, error: OrnbError | None = None) -> None:
        self.reply = reply
        self._events.put(error)

    def close(self) -> None:
        self._events.put(None)

    def __enter__(self) -> Said:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        while isinstance(event := self._events.get(), Event):
            yield event
        if event is not None:
            raise event


class Speaker:
    """A client whose service says nothing by itself."""

    source = "live"
    base_url = "https://api.example/v1"
    on_call = None

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[str, Said]] = queue.SimpleQueue()
        self._made: list[Said] = []

    def stream(self, _: Any, model: str, **__: Any) -> Said:
        said = Said()
        self._made.append(said)
        self._calls.put((model, said))
        return said

    def models(self) -> Any:
        raise OrnbError("It lists no models.")

    def next(self) -> tuple[str, Said]:
        """The model and the answer of the next call, once it is made."""
        return self._calls.get(timeout=LONGEST_S)

    def close(self) -> None:
        for said in self._made:
            said.close()


class Stage:
    """A widget, the page that shows it, and the network between them."""

    def __init__(self, shown: Shown, speaker: Speaker) -> None:
        self.shown, self.page, self.speaker = shown, shown.page, speaker
        self.log = self.page.get_by_role("log")
        self.news: list[dict[str, Any]] = []
        """Messages of the kernel that the page has, and no `hear` has asked for."""
        self.whole: dict[str, Any] = {}
        """The last that told everything."""
        self._seq = 0

    def carry(self) -> None:
        """Bring all messages and traits across, both ways."""
        self.news.clear()
        self.shown.hand_over()
        self.to_page()

    def to_page(self) -> None:
        """Bring the page what the kernel said."""
        for one in self.shown.line.take():
            self.shown.hear(one)
            if content := one.get("content"):
                self.news.append(content)
                self._seq = content["seq"]
                self.whole = content if content["type"] == "state" else self.whole

    def hear(self, *kinds: str) -> dict[str, Any]:
        """Bring the page what the kernel says, up to a message of these kinds."""
        while True:
            while self.news:
                if (one := self.news.pop(0))["type"] in kinds:
                    return one
            self.shown.line.wait()
            self.to_page()

    def lose(self) -> None:
        """Lose what the kernel says next of the answers."""
        while all(one.get("content", {}).get("type") != "delta" for one in self.shown.line.take()):
            self.shown.line.wait()

    def say_until_it_greets(self, say: Callable[[], None]) -> None:
        """Go on until the page, which has missed something, asks for the whole.

        One that has just asked waits half a second for its answer, by its own clock.
        """
        before = len(self.sent("hello"))
        for _ in range(1000):
            say()
            if len(self.sent("hello")) > before:
                break
        assert len(self.sent("hello")) == before + 1

    def tell(self, kind: str, **content: Any) -> None:
        """Tell the page something that the kernel has not said, and after which it says no more."""
        self._seq += 1
        told = {**content, "type": kind, "seq": self._seq}
        self.shown.hear({"method": "custom", "content": told})

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """Messages of a kind that the page sent."""
        return [message for message in self.shown.sent if message["type"] == kind]


class ChatStage(Stage):
    """A chat, and the answer that is being written in it."""

    said: Said

    def __init__(self, shown: Shown, speaker: Speaker) -> None:
        super().__init__(shown, speaker)
        self.chat: Chat = shown.widget
        self.box = shown.root.get_by_label(BOX)

    def begin(self, question: str = "What is it?") -> None:
        """Ask; the answer is yet to come."""
        self.box.fill(question)
        self.box.press("Enter")
        self.begun()

    def begun(self) -> None:
        """Let the kernel do what asks the model."""
        self.carry()
        _, self.said = self.speaker.next()

    def say(self, *pieces: str, kind: str = "text") -> None:
        """Let pieces of the answer arrive, one after the other."""
        for piece in pieces:
            self.news.clear()
            self.said.say(kind, piece)
            self.hear("delta", "state")

    def end(self, reply: Reply, error: str = "") -> None:
        """End the answer."""
        self.said.end(reply, OrnbError(error) if error else None)
        self.hear("done")


class CompareStage(Stage):
    """A comparison, and its answers by their places."""

    def __init__(self, shown: Shown, speaker: Speaker) -> None:
        super().__init__(shown, speaker)
        self.it: Comparison = shown.widget
        calls = dict(speaker.next() for _ in self.it.models)
        self.said = [calls[model] for model in self.it.to_json()["order"]]
        self._writing = len(calls)

    def say(self, *texts: str, kind: str = "text") -> None:
        """Let a piece of each answer arrive; an empty one of those that say nothing."""
        self.news.clear()
        for said, text in zip(self.said, texts, strict=False):
            if text:
                said.say(kind, text)
        self._hear("changes", {str(place) for place, text in enumerate(texts) if text})

    def end(self, place: int, reply: Reply, error: str = "") -> None:
        """End an answer."""
        self.news.clear()
        self.said[place].end(reply, OrnbError(error) if error else None)
        self._hear("done", {str(place)})
        self._writing -= 1
        if not self._writing:
            assert self.it.wait(LONGEST_S)
        self.to_page()

    def end_all(self, *texts: str) -> None:
        """Let each answer say a text and end, the first one first."""
        for place in range(len(self.said)):
            text = texts[place] if texts else f"Answer number {place}."
            self.say(*[""] * place, text)
            self.end(place, timed(text, first=0.2 * (place + 1), whole=2.0 * (place + 1)))

    def column(self, place: int) -> Locator:
        return self.page.get_by_role("article").nth(place)

    def _hear(self, what: str, places: set[str]) -> None:
        """Bring the page what the kernel says, up to what is new at these places."""
        while places:
            places -= set(self.hear("delta")[what])


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    """The service of the chats and comparisons on stage."""
    made = Speaker()
    yield made
    made.close()


@pytest.fixture
def chat_stage(draw: Callable[..., Shown], speaker: Speaker) -> Callable[..., ChatStage]:
    """Show a chat in which questions were asked; options are those of `ornb.Chat`."""

    def make(*asked: str, theme: str = "light", **options: Any) -> ChatStage:
        chat = Chat("acme/orbit", client=speaker, **options)
        for text in asked:
            chat.conversation.add_user(text)
            chat.conversation.add_reply(reply(text.upper()))
        stage = ChatStage(draw(chat, theme=theme), speaker)
        stage.carry()
        # A key pressed on a button before that is drawn, or while it is off, is lost.
        expect(stage.log.locator(".turn")).to_have_count(2 * len(asked))
        return stage

    return make


@pytest.fixture
def compare_stage(draw: Callable[..., Shown], speaker: Speaker) -> Callable[..., CompareStage]:
    """Show a comparison whose answers are yet to come, in the order of a given seed if blind."""

    def make(
        models: Sequence[str] = MODELS,
        *,
        prompt: str = "What is it?",
        blind: bool = False,
        heard: bool = True,
        **page: Any,
    ) -> CompareStage:
        asked: Any = {"shuffle_seed": 1} if blind else {}
        it = compare(prompt, models, blind=blind, wait=False, client=speaker, **asked)
        stage = CompareStage(draw(it, **page), speaker)
        if heard:
            stage.carry()
        return stage

    return make
