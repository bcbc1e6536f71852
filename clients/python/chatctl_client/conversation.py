import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .command import Command, deferred
from .protocol import ChatError, Item, Page, Push, Resume, Sent, closed

if TYPE_CHECKING:
    from .client import Client


class Conversation:
    """An open conversation, made by `Client.open`.

    What it tells comes in the order of events, to plain functions: start a task for what takes time. `on_message(item)`: each message after the first page, once, by `seq`.
    `on_page(page, same_epoch)`: the server could not simply continue; with the same epoch, what was missed follows as messages, with another
    one this page stands for all before it. `on_push(name, body)`: `acked`, `presence`, `members`, best effort. `on_ended(error)`: it could not be
    opened again, `not_found` after a removal from a group.
    """

    def __init__(self, client: "Client", request: dict[str, Any], resume: Resume | None, *handlers: Callable[..., Any]) -> None:
        self.id = ""
        self.page: Page
        """The last answer of `open`: the first one, or that after a reconnect."""
        self.last = resume["seq"] if resume else 0
        """The highest `seq` handed over. With `page["epoch"]` it is what to keep for `resume` in a later run of the program."""
        self.is_open = False
        self.ended: ChatError | None = None
        """Why it is over: it was left, or could not be opened again."""
        self._epoch = resume["epoch"] if resume else None
        self._client, self._request = client, request
        self._on_message, self._on_page, self._on_push, self._on_ended = handlers
        self._want = 0
        self._filling: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()

    async def send(self, content: str, cid: str | None = None, type: str = "text", ts: int | None = None) -> Sent:
        """Sends again with the same `cid` until it is known what became of it. Choose and keep `cid` where the program may end before.

        One at a time: the order is yours.
        """
        body = {"cid": cid or str(uuid.uuid4()), "type": type, "content": content, "ts": ts}
        async with self._sending:
            sent: Sent = await self.call("send", **body)
            return sent

    async def call(self, method: str, **body: Any) -> Any:
        """Any other method of a conversation: `read`, `ack`, `invite`, `remove`, `quit`."""
        return await self._client.ask(Command(method, lambda: {"conv": self.id, **body}, deferred(), self))

    async def leave(self) -> None:
        await self.call("leave")
        self._client.forget(self, closed("left"))

    def open(self) -> "asyncio.Future[Any]":
        """`Client` calls it: opens, and opens again when the connection or the stream has ended."""
        self.is_open = False
        self._client.take_back(self)
        opened = deferred()
        opened.add_done_callback(self._opened)
        return self._client.ask(Command("open", self._open_body, opened, self, self._start))

    def _open_body(self) -> dict[str, Any]:
        return {**self._request, "resume": {"epoch": self._epoch, "seq": self.last} if self._epoch is not None else None}

    def _opened(self, answer: "asyncio.Future[Any]") -> None:
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, ChatError) and error.code != "closed" and self.id:
            self._client.forget(self, error)
            self._on_ended(error)

    def _start(self, page: Page) -> None:
        is_first = self._epoch is None
        same_epoch = page["epoch"] == self._epoch and page["head"] >= self.last
        if not same_epoch:
            self.last = page["head"]
        self.page, self.id, self._epoch, self._want, self.is_open = page, page["conv"], page["epoch"], page["head"], True
        self._client.conversations[self.id] = self
        if page.get("recovered"):
            self._take(page["items"])
        elif not is_first:
            asyncio.get_running_loop().call_soon(self._on_page, page, same_epoch)
        self._fill()
        self._client.flush()

    def hear(self, name: str, body: Push) -> None:
        """`Client` calls it."""
        if name == "msg":
            item: Item = {key: value for key, value in body.items() if key != "conv"}  # type: ignore[assignment]
            self._want = max(self._want, item["seq"])
            self._take([item])
            self._fill()
        elif name in ("reset", "removed"):
            self.open()  # it tells what became of it
        else:
            asyncio.get_running_loop().call_soon(self._on_push, name, body)

    def _take(self, items: Sequence[Item]) -> None:
        """The only way out for messages: each follows the last. By `call_soon`, so that an error in a handler harms nothing here."""
        for item in items:
            if item["seq"] == self.last + 1:
                self.last += 1
                asyncio.get_running_loop().call_soon(self._on_message, item)

    def _fill(self) -> None:
        """What neither a page nor a push has brought is in history, and with it what was pushed too early."""
        if self.last < self._want and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._read_missing())

    async def _read_missing(self) -> None:
        while self.last < self._want:
            epoch = self._epoch
            try:
                page = await self.call("read", after_seq=self.last, limit=200)
            except ChatError:
                return  # only when the conversation or the client ends, which is told
            if epoch == self._epoch:
                self._take(page["items"])
