import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from .connection import Connection, deferred, settle
from .protocol import AckReply, ChatError, Item, Page, Push, ReadPage, Resume, Sent, To, closed

if TYPE_CHECKING:
    from .client import Client


class Conversation:
    """An open conversation, made by `Client.open`.

    What it tells comes in the order of events, to plain functions: start a task for what takes time. `on_message(item)`: each message after the first page, once, by `seq`.
    `on_page(page, same_epoch)`: the server could not simply continue; with the same epoch, what was missed follows as messages, with another
    one this page stands for all before it. `on_push(name, body)`: `acked`, `presence`, `members`, best effort. `on_ended(error)`: it could not be
    opened again, `not_found` after a removal from a group.
    """

    def __init__(
        self,
        client: "Client",
        to: To,
        on_message: Callable[[Item], Any],
        on_page: Callable[[Page, bool], Any],
        on_push: Callable[[str, Push], Any],
        on_ended: Callable[[ChatError], Any],
        limit: int | None,
        resume: Resume | None,
    ) -> None:
        self.id = ""
        self.page: Page
        """The last answer of `open`: the first one, or that after a reconnect."""
        self.last = resume["seq"] if resume else 0
        """The highest `seq` handed over. With `page["epoch"]` it is what to keep for `resume` in a later run of the program."""
        self._epoch = resume["epoch"] if resume else None
        self._client = client
        self._request = {"to": to, "limit": limit}
        self._on_message, self._on_page, self._on_push, self._on_ended = on_message, on_page, on_push, on_ended
        self._want = 0
        self._held: dict[int, Item] = {}
        self._filling: asyncio.Task[None] | None = None
        self._is_open = False
        self._ready = deferred()
        self._again = asyncio.Event()
        self._left = False
        self._sending = asyncio.Lock()

    async def send(self, content: str, cid: str | None = None, type: str = "text", ts: int | None = None) -> Sent:
        """Sends again with the same `cid` until it is known what became of it. Choose and keep `cid` where the program may end before.

        One at a time: the order is yours.
        """
        message = {"cid": cid or str(uuid.uuid4()), "type": type, "content": content, "ts": ts}
        async with self._sending:
            sent: Sent = await self.call("send", message)
            return sent

    async def read(
        self,
        from_ts: int | None = None,
        to_ts: int | None = None,
        order: str | None = None,
        after_seq: int | None = None,
        late: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ReadPage:
        """One page of history."""
        query = {"from": from_ts, "to": to_ts, "order": order, "after_seq": after_seq, "late": late, "limit": limit, "cursor": cursor}
        page: ReadPage = await self.call("read", query)
        return page

    async def history(self, **query: Any) -> AsyncIterator[Item]:
        """History to its end; arguments as of `read`. `late=True`: all that is late and unread."""
        while True:
            page = await self.read(**query)
            for item in page["items"]:
                yield item
            if "next" not in page:
                return
            query["cursor"] = page["next"]

    async def ack(self, up_to: int) -> AckReply:
        """Acknowledges everything up to this `seq`."""
        reply: AckReply = await self.call("ack", {"up_to": up_to})
        return reply

    async def ack_items(self, shown: Iterable[Item]) -> AckReply:
        """Acknowledges exactly these: while `gap` or `late_next` of the page says that more is unread than was shown."""
        ranges: list[list[int]] = []
        for seq in sorted(item["seq"] for item in shown):
            if ranges and seq <= ranges[-1][1]:
                ranges[-1][1] = seq + 1
            else:
                ranges.append([seq, seq + 1])
        size = self._client.hello["limits"]["ack_ranges_max"] if self._client.hello else 100
        while True:
            reply: AckReply = await self.call("ack", {"ranges": ranges[:size]})
            ranges = ranges[size:]
            if not ranges:
                return reply

    async def leave(self) -> None:
        self._left = True
        await self.call("leave", {})
        self._client.conversations.pop(self.id, None)
        self._close()

    async def call(self, method: str, body: dict[str, Any], patient: bool = False) -> Any:
        """Any other method of a conversation: `invite`, `remove`, `quit`."""
        return (await settle(self.opened, method, {"conv": self.id, **body}, patient))[0]

    def opened(self) -> "asyncio.Future[Connection]":
        return self._ready

    async def run(self) -> None:
        """Opens, and opens again whenever the connection or the stream has ended. `Client` calls it."""
        if self._ready.done():
            self._ready = deferred()
        while not self._left:
            self._again = asyncio.Event()
            resume = {"epoch": self._epoch, "seq": self.last} if self._epoch is not None else None
            try:
                _, connection = await settle(self._client.connection, "open", {**self._request, "resume": resume}, True, self._start)
                ends = [asyncio.ensure_future(connection.lost.wait()), asyncio.ensure_future(self._again.wait())]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for end in ends:
                    end.cancel()
                self._close()
            except ChatError as error:
                self._ready.set_exception(error)
                if error.code != "closed" and self.id:
                    self._client.conversations.pop(self.id, None)
                    self._on_ended(error)
                return
        self._ready.set_exception(closed("left"))

    def _close(self) -> None:
        if self._is_open:
            self._ready = deferred()
        self._is_open = False
        self._again.set()

    def _start(self, page: Page, connection: Connection) -> None:
        first = self._epoch is None
        same_epoch = page["epoch"] == self._epoch and page["head"] >= self.last
        if not same_epoch:
            self.last = page["head"]
        self._epoch = page["epoch"]
        self._want = page["head"]
        recovered = page.get("recovered", False)
        self._held = {item["seq"]: item for item in page["items"]} if recovered else {}
        if not recovered and not first:
            asyncio.get_running_loop().call_soon(self._on_page, page, same_epoch)
        self.page = page
        self.id = page["conv"]
        self._client.conversations[self.id] = self
        self._is_open = True
        self._ready.set_result(connection)
        self._deliver()

    def on_push(self, name: str, body: Push) -> None:
        """`Client` calls it."""
        if name == "msg":
            item: Item = {key: value for key, value in body.items() if key != "conv"}  # type: ignore[assignment]
            if item["seq"] > self.last and len(self._held) < 1000:  # others are read when it is their turn
                self._held[item["seq"]] = item
            self._want = max(self._want, item["seq"])
            self._deliver()
        elif name in ("reset", "removed"):
            self._close()  # opening again tells what became of it
        else:
            asyncio.get_running_loop().call_soon(self._on_push, name, body)

    def _deliver(self) -> None:
        """The only way out for messages: each follows the last. By `call_soon`, so that an error in a handler harms nothing here."""
        while item := self._held.pop(self.last + 1, None):
            self.last += 1
            asyncio.get_running_loop().call_soon(self._on_message, item)
        if self.last < self._want and self._filling is None:
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        try:
            while self.last < self._want:
                epoch = self._epoch
                limit = self._client.hello["limits"]["read_limit_max"] if self._client.hello else None
                page: ReadPage = await self.call("read", {"after_seq": self.last, "limit": limit}, True)
                if epoch != self._epoch:
                    continue
                self._held.update((item["seq"], item) for item in page["items"] if item["seq"] > self.last)
                if not page["items"]:
                    await asyncio.sleep(0.1)
                self._deliver()
        except ChatError:
            pass  # only when the conversation or the client ends, which is told
        finally:
            self._filling = None
