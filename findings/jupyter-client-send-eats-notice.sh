#!/usr/bin/env bash
# jupyter_client 8.10.0 with pyzmq 27.3.0: a message that is sent while a coroutine waits for one on
# the same channel can leave that coroutine asleep, though its message has arrived.
#
# Behaviour: `await channel.get_msg(timeout=4)` is waiting. The event loop is busy for a moment, in
# which the kernel's reply arrives, and then sends something on that channel. The coroutine wakes
# up when its 4 s are over, and has the reply; without the sending it has it at once.
# `Session.send` sends over a shadow of the asyncio socket: libzmq tells of arrivals by an edge on
# one descriptor, sending takes that edge, and only the asyncio socket's own methods look again.
#
# Surprise: nbclient 0.11.0 does just that for each change of an ipywidgets `Output`: it sends the
# state back on the channel on which it waits for the end of the cell. A cell then lasts, now and
# then, as long as its timeout, and passes; of six such waits seen, all were of notebooks with an
# `Output`, on a busy machine. nbclient's default is no timeout at all.
#
# Seen on 2026-11-30, Python 3.11, ipykernel 7.4.0:
#   nothing sent: the reply was had after the wait's own 4 s: False
#   sent:         the reply was had after the wait's own 4 s: True
#
# Exits 0 as long as the second waits for its whole time and the first does not, and 1 otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check jupyter_client==8.10.0 pyzmq==27.3.0 ipykernel==7.4.0
cat > look.py <<'PYTHON'
import asyncio
import time

from jupyter_client.manager import start_new_async_kernel


async def whole_wait(client, *, send):
    """Tell whether a reply that arrives while the loop is busy is had only at the timeout."""
    asked = client.execute("1")
    waiting = asyncio.ensure_future(client.shell_channel.get_msg(timeout=4))
    await asyncio.sleep(0)
    began = time.monotonic()
    time.sleep(1)  # the loop is busy; the reply arrives
    if send:  # nothing answers to it: there is no such comm
        content = {"comm_id": "none", "data": {}}
        client.shell_channel.send(client.session.msg("comm_msg", content))
    reply = await waiting
    assert reply["parent_header"]["msg_id"] == asked
    return time.monotonic() - began > 3


async def main():
    manager, client = await start_new_async_kernel()
    try:
        client.execute("0")
        await client.shell_channel.get_msg(timeout=60)
        found = {send: await whole_wait(client, send=send) for send in (False, True)}
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
    for send, late in found.items():
        what = "sent:        " if send else "nothing sent:"
        print(f"{what} the reply was had after the wait's own 4 s: {late}")
    return found != {False: False, True: True}


raise SystemExit(asyncio.run(main()))
PYTHON
venv/bin/python look.py
