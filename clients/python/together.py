"""One of the two programs of "together" in ../scenario.md: CHATCTL_URL, CHATCTL_USER, CHATCTL_PEER."""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable

from chatctl_client import Client, Item
from link import Link

URL, USER, PEER = (os.environ[name] for name in ("CHATCTL_URL", "CHATCTL_USER", "CHATCTL_PEER"))


async def main() -> None:
    link = await Link(URL).start()
    client = Client([link.url], user=USER)
    got: list[Item] = []
    await client.connect()
    chat = await client.open({"user": PEER}, on_message=got.append)

    async def until(holds: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < 30, f"not within 30 s; has {len(got)} messages"
            await asyncio.sleep(0.005)

    # Both are there before the first text, so that both are handed all of them.
    await chat.send("here", type="presence")
    await until(lambda: any(item["type"] == "presence" and item["from"] == PEER for item in [*chat.page["items"], *got]))
    for n in range(20):
        if n == 10:
            link.cut()
        await chat.send(f"{n} from Python, ü🙂", ts=int(time.time() * 1000) - 60_000 if n == 15 else None)
    await until(lambda: sum(item["type"] == "text" for item in got) >= 40)
    texts = [item for item in got if item["type"] == "text"]
    lines = [f"{i['seq']} {i['from']} {i['cid']} {i['content']} {i['ts']} {'late' if i['late'] else ''}" for i in texts]
    late = sum(item["late"] for item in texts)
    print(f"{len(lines)} messages, {late} late, {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}")
    await client.close()


asyncio.run(asyncio.wait_for(main(), 60))
