"""The steps of ../scenario.md. CHATCTL_URLS=ws://…,ws://…,ws://… python scenario.py"""

import asyncio
import os
import secrets
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from chatctl_client import ChatError, Client, Conversation, Item, Page, Push, To, ack_items, history
from link import Link

URLS = os.environ.get("CHATCTL_URLS", "").split(",")
if len(URLS) < 3:
    sys.exit("CHATCTL_URLS must name three servers: ws://…,ws://…,ws://…")
A, B, C = URLS[:3]
RUN = secrets.token_hex(4)


def name(of: str) -> str:
    return f"{of}-{RUN}"


def equal(found: Any, expected: Any) -> None:
    assert found == expected, f"\n   found {found!r}\nexpected {expected!r}"


async def until(what: str, holds: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < 30, f"not within 30 s: {what}"
        await asyncio.sleep(0.005)


async def refusal(asked: Awaitable[Any]) -> ChatError:
    try:
        answer = await asked
    except ChatError as error:
        return error
    raise AssertionError(f"expected a refusal, got {answer!r}")


def shown(error: ChatError) -> tuple[Any, ...]:
    return error.code, error.message, error.field, error.temporary, error.definite


class Member:
    """Somebody with one conversation open, who writes down what it tells."""

    def __init__(self, user: str, url: str) -> None:
        self.client = Client([url], user=name(user), client="scenario")
        self.chat: Conversation
        self.got: list[Item] = []
        self.pages: list[tuple[Page, bool]] = []
        self.pushes: list[tuple[str, Push]] = []
        self.ended: list[ChatError] = []

    @classmethod
    async def join(cls, user: str, url: str, to: To, limit: int | None = None) -> "Member":
        member = cls(user, url)
        await member.client.connect()
        await member.open(to, limit)
        return member

    async def open(self, to: To, limit: int | None = None) -> Conversation:
        self.chat = await self.client.open(
            to,
            on_message=self.got.append,
            on_page=lambda page, same_epoch: self.pages.append((page, same_epoch)),
            on_push=lambda name, body: self.pushes.append((name, body)),
            on_ended=self.ended.append,
            limit=limit,
        )
        return self.chat

    async def send_many(self, count: int) -> None:
        for n in range(count):
            await self.chat.send(f"{n}")

    async def has(self, count: int) -> None:
        await until(f"{count} messages", lambda: len(self.got) >= count)

    @property
    def seqs(self) -> list[int]:
        return [item["seq"] for item in self.got]

    def node(self) -> str:
        return self.client.hello["node"]

    def limit(self, which: str) -> int:
        return self.client.hello["limits"][which]


async def direct() -> list[Member]:
    ann = await Member.join("ann", A, {"user": name("bob")})
    bob = await Member.join("bob", B, {"user": name("ann")})
    equal(bob.chat.page.get("online"), True)
    await asyncio.gather(ann.send_many(10), bob.send_many(10))
    await asyncio.gather(ann.has(20), bob.has(20))
    equal(ann.seqs, list(range(1, 21)))
    equal(ann.got, bob.got)
    await ann.client.close()
    await until("bob is told that ann went", lambda: any(name == "presence" and not body["online"] for name, body in bob.pushes))
    return [ann, bob]


async def channel() -> list[Member]:
    members = await asyncio.gather(*(Member.join(user, url, {"channel": name("room")}) for user, url in (("ann", A), ("bob", B), ("carol", C))))
    await asyncio.gather(*(member.send_many(10) for member in members))
    await asyncio.gather(*(member.has(30) for member in members))
    equal(members[0].seqs, list(range(1, 31)))
    for other in members[1:]:
        equal(other.got, members[0].got)
    return members


async def late() -> list[Member]:
    ann = await Member.join("ann", A, {"user": name("bob-late")})
    bob = await Member.join("bob-late", B, {"user": name("ann")})
    newest = await ann.chat.send("on time")
    await bob.has(1)
    equal((await bob.chat.call("ack", up_to=newest["seq"]))["unread"], 0)
    sent = await ann.chat.send("written before", ts=newest["ts"] - 60_000)
    equal(sent["late"], True)
    await bob.has(2)
    equal([item["late"] for item in bob.got], [False, True])
    device = await Member.join("bob-late", C, {"user": name("ann")}, limit=1)
    equal([item["seq"] for item in device.chat.page["items"]], [newest["seq"]])
    equal(device.chat.page.get("late"), [bob.got[1]])
    equal(device.chat.page["unread_late"], 1)
    unread_late = [item async for item in history(device.chat, late=True)]
    equal(unread_late, [bob.got[1]])
    await ack_items(bob.chat, unread_late)
    after = await Member.join("bob-late", A, {"user": name("ann")}, limit=1)
    equal((after.chat.page.get("late"), after.chat.page["unread_late"]), ([], 0))
    return [ann, bob, device, after]


async def resume() -> list[Member]:
    link = await Link(B).start()
    ann = await Member.join("ann", A, {"user": name("bob-away")})
    bob = await Member.join("bob-away", link.url, {"user": name("ann")})
    on_c = Member("carol", C)
    await on_c.client.connect()
    await ann.send_many(3)
    await bob.has(3)
    link.away = True
    link.cut()
    await ann.send_many(7)
    equal(len(bob.got), 3)
    link.target, link.away = C, False
    await bob.has(10)
    equal(bob.chat.page.get("recovered"), True)
    equal([item["seq"] for item in bob.chat.page["items"]], list(range(4, 11)))
    equal(bob.node(), on_c.node())
    await ann.send_many(1)
    await bob.has(11)
    equal(bob.got, ann.got)
    equal(bob.seqs, list(range(1, 12)))
    return [ann, bob, on_c]


async def lost_reply() -> list[Member]:
    link = await Link(B).start()
    ann = await Member.join("ann", A, {"user": name("bob-lost")})
    bob = await Member.join("bob-lost", link.url, {"user": name("ann")})
    link.deaf = True
    sending = asyncio.create_task(bob.chat.send("once", cid="once"))
    await ann.has(1)
    link.deaf = False
    link.cut()
    sent = await sending
    equal((sent["dup"], sent["seq"]), (True, ann.got[0]["seq"]))
    for cid in ("cut-1", "cut-2", "cut-3"):
        sending = asyncio.create_task(bob.chat.send("cut", cid=cid))
        await asyncio.sleep(0.001)  # by now it is written
        link.cut()
        await sending
    await asyncio.gather(ann.has(4), bob.has(4))
    stored = [item async for item in history(ann.chat, order="asc", limit=2)]
    equal([item["cid"] for item in stored], ["once", "cut-1", "cut-2", "cut-3"])
    equal(ann.got, stored)
    equal(bob.got, stored)
    return [ann, bob]


async def gap() -> list[Member]:
    link = await Link(B).start()
    senders = await asyncio.gather(*(Member.join(user, url, {"channel": name("busy")}) for user, url in (("ann", A), ("carol", C), ("dan", B))))
    bob = await Member.join("bob", link.url, {"channel": name("busy")})
    await senders[0].send_many(1)
    await bob.has(1)
    link.away = True
    link.cut()
    each = bob.limit("resume_max") // 3 + 1
    await asyncio.gather(*(sender.send_many(each) for sender in senders))
    link.away = False
    await bob.has(1 + 3 * each)
    await senders[0].send_many(1)
    await bob.has(2 + 3 * each)
    page, same_epoch = bob.pages[0]
    equal((len(bob.pages), page.get("recovered"), page.get("gap"), page.get("unread_more"), same_epoch), (1, False, True, True, True))
    equal(bob.seqs, list(range(1, 3 + 3 * each)))
    equal(bob.got, senders[0].got)
    return [*senders, bob]


async def unread() -> list[Member]:
    ann = await Member.join("ann", A, {"user": name("dave")})
    await ann.send_many(5)
    dave = Member("dave", B)
    await dave.client.connect()
    items = (await dave.client.call("list", {}))["items"]
    equal([(item["to"], item["head"], item["unread"]) for item in items], [({"user": name("ann")}, 5, 5)])
    chat = await dave.open({"user": name("ann")})
    equal((chat.page["unread"], chat.page["acked"]), (5, {"up_to": 0, "ranges": []}))
    equal(await chat.call("ack", up_to=3), {"acked": {"up_to": 3, "ranges": []}, "unread": 2})
    equal(await ack_items(chat, chat.page["items"][4:]), {"acked": {"up_to": 3, "ranges": [[5, 6]]}, "unread": 1})
    equal((await refusal(chat.call("ack", up_to=6))).code, "ack_above_head")
    equal(await chat.call("ack", up_to=5), {"acked": {"up_to": 5, "ranges": []}, "unread": 0})
    device = await Member.join("dave", C, {"user": name("ann")})
    equal((device.chat.page["unread"], device.chat.page["acked"]["up_to"]), (0, 5))
    await until("ann is told what dave has read", lambda: any(name == "acked" and body["up_to"] == 5 for name, body in ann.pushes))
    return [ann, dave, device]


async def forbidden() -> list[Member]:
    ann, bob = Member("ann", A), Member("bob", B)
    await asyncio.gather(ann.client.connect(), bob.client.connect())
    group = (await ann.client.call("create", {}))["group"]
    chat = await ann.open({"group": group})
    refused = await refusal(bob.open({"group": group}))
    equal(refused.code, "not_found")
    equal(shown(refused), shown(await refusal(bob.open({"group": secrets.token_urlsafe(16)}))))
    not_read = await refusal(bob.client.call("read", {"conv": chat.id}))
    equal(not_read.code, "not_found")
    equal(shown(not_read), shown(await refusal(bob.client.call("read", {"conv": "x" * len(chat.id)}))))
    await chat.call("invite", user=name("bob"))
    await bob.open({"group": group})
    await chat.send("welcome")
    await bob.has(1)
    await chat.call("remove", user=name("bob"))
    await until("bob is told that the group ended for him", lambda: len(bob.ended) > 0)
    equal(bob.ended[0].code, "not_found")
    return [ann, bob]


async def errors() -> list[Member]:
    ann = await Member.join("ann", A, {"user": name("erin")})
    first = await ann.chat.send("one", cid="same")
    conflict = await refusal(ann.chat.send("two", cid="same"))
    future = await refusal(ann.chat.send("early", ts=int(time.time() * 1000) + ann.limit("future_skew_ms_max") + 60_000))
    empty = await refusal(ann.chat.send(""))
    cursor = await refusal(ann.chat.call("read", cursor=""))
    equal([conflict.code, future.code, empty.code, cursor.code], ["conflict", "ts_in_future", "invalid_field", "bad_cursor"])
    equal(empty.field, "content")
    for error in (conflict, future, empty, cursor):
        equal((error.definite, error.temporary), (True, False))
    equal((await ann.chat.send("two"))["seq"], first["seq"] + 1)
    return [ann]


STEPS: list[tuple[str, Callable[[], Coroutine[Any, Any, list[Member]]]]] = [
    ("direct: both ways over two nodes, one order", direct),
    ("channel: three users on three nodes, one order", channel),
    ("late: flagged, and shown until acknowledged", late),
    ("resume: exactly what was missed, from another node", resume),
    ("lost reply: the same cid again is stored once", lost_reply),
    ("gap: more missed than resume_max is told, and filled from history", gap),
    ("unread: counts and acknowledgements", unread),
    ("forbidden is missing: equal errors", forbidden),
    ("errors: codes, and nothing done", errors),
]


async def main() -> int:
    for what, step in STEPS:
        try:
            for member in await asyncio.wait_for(step(), 60):
                await member.client.close()
            print(f"ok: {what}", flush=True)
        except Exception:
            print(f"failed: {what}: {traceback.format_exc()}", flush=True)
            return 1
    return 0


sys.exit(asyncio.run(main()))
