"""``POST /chat/completions``: sending an answer, plain or streamed, well or badly behaved."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import tornado.iostream
import tornado.web

from . import question as questions
from .answers import OfflineAnswer, Unavailable
from .handler import ApiHandler
from .question import ChatRequest
from .simulate import Simulation
from .wire import COMMENT, DONE, PADDING, Completion, Delta, Fault, Finish, dumps, sse

MAX_BODY = 20 * 1024 * 1024
"""Bytes of a request."""

READ_AND_DROPPED = 1024 * 1024 * 1024
"""A larger request is read up to here, and dropped, so that the caller gets to read why: a server
that closes while the caller still sends is seen as a broken connection."""

EVENT_STREAM = "text/event-stream"
JSON = "application/json"


@tornado.web.stream_request_body
class ChatHandler(ApiHandler):
    """``POST /chat/completions``."""

    managing = False

    def prepare(self) -> None:
        """Get ready to read, and to drop what is too much or from a stranger."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._sending = False
        self._received = time.perf_counter()
        self._quiet_since = 0.0
        self._work: asyncio.Future[None] | None = None
        self._refusal = self.refusal()
        connection: Any = self.request.connection
        connection.set_max_body_size(READ_AND_DROPPED)
        # Small events must leave at once instead of waiting for each other (Nagle).
        connection.stream.set_nodelay(True)

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body, unless nobody will read it."""
        self._size += len(chunk)
        if self._refusal or self._size > MAX_BODY:
            self._pieces.clear()
        else:
            self._pieces.append(chunk)

    async def post(self) -> None:
        """Answer, until done or until the caller hangs up."""
        self._quiet_since = time.monotonic()
        self._work = asyncio.ensure_future(self._respond())
        with contextlib.suppress(asyncio.CancelledError, tornado.iostream.StreamClosedError):
            await self._work

    def on_connection_close(self) -> None:
        """Stop at once: closing the connection is how a caller cancels."""
        if self._work is not None:
            self._work.cancel()

    async def _respond(self) -> None:
        question = self._question()
        simulation = self._due(question.simulate)
        await asyncio.sleep(simulation.first_byte_s)
        if simulation.html or (simulation.garbage and not question.streamed):
            self._send_rubbish(simulation)
        elif simulation.status and simulation.error_after_chunks is None:
            raise simulation.fault()
        else:
            await self._answer(question, simulation)

    def _question(self) -> ChatRequest:
        if self._refusal:
            raise self._refusal
        if self._size > MAX_BODY:
            raise Fault(
                413,
                f"The request body has {self._size} bytes; at most {MAX_BODY} are read.",
                error_type="payload_too_large",
            )
        self.request.body = b"".join(self._pieces)
        self._pieces.clear()
        body = questions.json_object(self.request.body)
        return questions.chat_request(body, self.application.store)

    def _due(self, simulation: Simulation | None) -> Simulation:
        """Honour `times`: after so many misbehaviours the same request is answered well."""
        if simulation is None:
            return Simulation()
        if simulation.times is None:
            return simulation
        key = simulation.key or hashlib.sha256(self.request.body).hexdigest()
        done = self.application.misbehaved.get(key, 0)
        self.application.misbehaved[key] = done + 1
        return simulation if done < simulation.times else Simulation()

    async def _answer(self, question: ChatRequest, simulation: Simulation) -> None:
        send = self._send_stream if question.streamed else self._send_plain
        for responder in self.application.responders:
            answer = responder.answer(question)
            if answer is None:
                continue
            try:
                await send(answer, self._completion(answer, question), simulation)
            except Unavailable:
                continue  # nothing was sent yet, else it had become a fault
            finally:
                await answer.parts.aclose()
            return

    def _completion(self, answer: OfflineAnswer, question: ChatRequest) -> Completion:
        clock = {"received_s": self._received} if question.clock else None
        return Completion(answer.origin, clock=clock)

    async def _send_stream(
        self, answer: OfflineAnswer, completion: Completion, simulation: Simulation
    ) -> None:
        async def beat() -> None:
            await self._begin(completion, EVENT_STREAM)
            await self._send(COMMENT)

        finish = None
        try:
            if simulation.first_token_s is not None:
                await beat()
            part = await self._next(answer, beat)
            if not self._sending:
                await beat()
            await self._misbehave(simulation, completion)
            while isinstance(part, Delta):
                completion.add(part)
                data = sse(completion.chunk(part))
                completion.stamp()
                await self._send(data)
                await self._misbehave(simulation, completion)
                part = await self._next(answer, beat)
            finish = part
            # The reason comes twice, the second time beside the usage, as at the real one.
            end = Delta()
            await self._send(sse(completion.chunk(end, reason=finish.reason)))
            usage = finish.usage()
            await self._send(sse(completion.chunk(end, reason=finish.reason, usage=usage)))
            await self._send(DONE)
        except Fault as fault:
            if not self._sending:
                raise
            completion.failed = True
            await self._send(sse(completion.error_chunk(fault)))
        finally:
            if self._sending:
                self.application.remember(completion.generation(finish, streamed=True), self.token)
        self.finish()

    async def _send_plain(
        self, answer: OfflineAnswer, completion: Completion, simulation: Simulation
    ) -> None:
        async def beat() -> None:
            await self._begin(completion, JSON)
            await self._send(PADDING)

        if simulation.stall_after_chunks is not None:
            await _forever()
        finish = None
        try:
            part = await self._next(answer, beat)
            while isinstance(part, Delta):
                completion.add(part)
                part = await self._next(answer, beat)
            finish = part
            if simulation.error_after_chunks is not None:
                await self._begin(completion, JSON)
                raise simulation.fault()
            body = dumps(completion.plain(finish))
        except Fault as fault:
            if not self._sending:
                raise
            completion.failed = True
            body = dumps(completion.plain_error(fault))
        finally:
            if finish or self._sending:
                self.application.remember(completion.generation(finish, streamed=False), self.token)
        if simulation.cut_after_chunks is not None or simulation.reset_after_chunks is not None:
            await self._begin(completion, JSON)
            await self._send(body[: len(body) // 2])
            self._hang_up(reset=simulation.reset_after_chunks is not None)
            return
        self._name_origin(completion, JSON)
        self.finish(body)

    async def _next(
        self, answer: OfflineAnswer, beat: Callable[[], Awaitable[None]]
    ) -> Delta | Finish:
        """Wait for the next part; a caller who hears nothing for long is sent keep-alive bytes."""
        waiting = asyncio.ensure_future(anext(answer.parts))
        try:
            while not waiting.done():
                until = self._quiet_since + self.application.how.patience_s
                await asyncio.wait({waiting}, timeout=max(0.0, until - time.monotonic()))
                if time.monotonic() >= until:
                    await beat()
            return waiting.result()
        except StopAsyncIteration as err:
            broken = "The model broke off."
            raise Fault(502, broken, error_type="provider_unavailable") from err
        except Unavailable as err:
            if not self._sending:
                raise
            raise Fault(502, str(err), error_type="provider_unavailable") from err
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)

    async def _misbehave(self, simulation: Simulation, completion: Completion) -> None:
        sent = completion.pieces
        if simulation.stall_after_chunks == sent:
            await _forever()
        if sent in (simulation.cut_after_chunks, simulation.reset_after_chunks):
            self._hang_up(reset=simulation.reset_after_chunks == sent)
            raise tornado.iostream.StreamClosedError
        if simulation.error_after_chunks == sent:
            raise simulation.fault()
        if simulation.garbage and sent == 2:
            await self._send(sse(completion.chunk(Delta("broken")))[:-20] + b"\n\n")

    def _send_rubbish(self, simulation: Simulation) -> None:
        self.set_status(simulation.status or 200)
        if simulation.html:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(_HTML)
        else:
            self.finish(b'{"id": "gen-broken", "choices": [{"message": {"content": "half an ans')

    async def _begin(self, completion: Completion, content_type: str) -> None:
        if not self._sending:
            self._name_origin(completion, content_type)
            self._sending = True
            await self.flush()

    def _name_origin(self, completion: Completion, content_type: str) -> None:
        if self._sending:
            return  # the headers are on their way
        self.set_header("Content-Type", content_type)
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Generation-Id", completion.id)
        self.set_header("X-Ornb-Source", completion.origin.source)
        self.set_header("X-Ornb-Note", _one_line(completion.origin.note))

    async def _send(self, data: bytes) -> None:
        self._quiet_since = time.monotonic()
        self.write(data)
        await self.flush()

    def _hang_up(self, *, reset: bool) -> None:
        stream = self.detach()
        if reset and not stream.closed():
            # Lingering for 0 s makes close() send a reset.
            linger = struct.pack("HH" if os.name == "nt" else "ii", 1, 0)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        stream.close()


async def _forever() -> None:
    """Wait until the caller hangs up, which cancels."""
    await asyncio.Event().wait()


def _one_line(text: str) -> str:
    return " ".join(text.encode("ascii", "replace").decode().split())[:300]


_HTML = """<!DOCTYPE html>
<html><head><title>Gateway</title></head>
<body><h1>Bad gateway</h1><p>The proxy could not reach the server.</p></body></html>
"""
