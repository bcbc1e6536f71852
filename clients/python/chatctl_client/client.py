import asyncio
import contextlib
import itertools
import json
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from websockets import ClientConnection, Close, ConnectionClosed, ConnectionClosedError, WebSocketException, connect

from .protocol import ChatError, Hello, OnError, OnMessage, OnPage, OnPush, Page, Push, Resume, Sent, To
from .protocol import backoff, close_code, closed, frame, ignore, is_final


class Client:
    """`urls` are tried in turn, so that a node that went away costs one attempt. `token` may be replaced: the next connection shows it."""

    hello: Hello  # of the newest connection: limits, node, and more

    def __init__(self, urls: Sequence[str], user: str | None = None, token: str | None = None, client: str | None = None,
                 on_push: OnPush = ignore, on_closed: OnError = ignore) -> None:  # fmt: skip
        self.urls, self.user, self.token, self.client, self.on_push, self.on_closed = urls, user, token, client, on_push, on_closed
        self.conversations: dict[str, Conversation] = {}  # the open ones, by `conv`
        self._socket: ClientConnection  # of the newest connection
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}  # that are awaited on it, by `id`
        self._ids = itertools.count(2)  # 1 is the first frame of each connection
        self._ready = asyncio.Event()  # the server has let us in, or it is over
        self._running: asyncio.Task[None] | None = None
        self._ended: ChatError | None = None
        self._end(closed("connect first"))

    async def connect(self) -> Hello:
        """Returns when the server has let us in; raises when it never will. From now on it tries by itself, until `close`."""
        if self._ended:
            self._ended = None
            self._ready.clear()
            self._running = asyncio.create_task(self._run())
        await self.call("ping", {})
        return self.hello

    async def open(self, to: To, on_message: OnMessage, on_page: OnPage = ignore, on_push: OnPush = ignore, on_ended: OnError = ignore,
                   limit: int | None = None, resume: Resume | None = None) -> "Conversation":  # fmt: skip
        """Open each conversation once; `resume` goes on where an earlier run of the program stopped."""
        return await Conversation(self, {"to": to, "limit": limit}, resume, on_message, on_page, on_push, on_ended).open()

    async def close(self) -> None:
        if self._running:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._end(closed("by the program"))

    async def call(self, method: str, body: dict[str, Any], ready: asyncio.Event | None = None) -> Any:
        """A method that needs no open conversation: `list`, `create`, `refresh`, `ping`. (`Conversation` says when it is `ready`.)"""
        ready = ready or self._ready
        while True:  # until there is a definite answer, on this connection or a later one
            while not (self._ready.is_set() and ready.is_set()):
                await self._ready.wait()
                await ready.wait()
            if self._ended:
                raise self._ended
            frame_id = next(self._ids)
            self._answers[frame_id] = answer = asyncio.get_running_loop().create_future()
            with contextlib.suppress(ConnectionClosed):  # the answer will be empty
                await self._socket.send(frame(frame_id, method, body))
            reply = await answer
            if method in reply:
                return reply[method]
            if "error" in reply:
                error = ChatError(reply["error"])
                if not error.temporary and ready.is_set():  # `not_found`, where it is just being opened again
                    raise error
                await asyncio.sleep((error.retry_after_ms or 0) / 1000 + backoff(3))

    def _end(self, error: ChatError) -> None:
        self._ended = error
        self._ready.set()
        if error.close_code:
            self.on_closed(error)

    async def _run(self) -> None:
        tries = 0  # in a row
        for url in itertools.cycle(self.urls):
            began = time.monotonic()
            try:
                await self._session(url)
            except (OSError, asyncio.TimeoutError, WebSocketException) as error:
                close = getattr(error, "rcvd", None) or Close(1006, str(error))
            if is_final(close.code):
                return self._end(closed(close.reason or f"close code {close.code}", close.code))
            tries = 1 if time.monotonic() - began > 10 else tries + 1
            await asyncio.sleep(backoff(tries))

    # One connection, to its end.
    async def _session(self, url: str) -> NoReturn:
        # A page may have more than 1 MiB, the default. A dead link says nothing: `websockets` asks, and takes silence for the end.
        async with connect(url, max_size=None, ping_interval=10, ping_timeout=10, close_timeout=1) as socket:
            await socket.send(frame(1, "hello", {"user": self.user, "token": self.token, "client": self.client}))
            reply = json.loads(await asyncio.wait_for(socket.recv(), 10))
            if "error" in reply:
                error = ChatError(reply["error"])
                await asyncio.sleep((error.retry_after_ms or 0) / 1000)
                raise ConnectionClosedError(Close(close_code(error), error.message), None)
            self.hello, self._socket = reply["hello"], socket
            self._ready.set()
            for chat in self.conversations.values():
                chat.reopen()
            try:
                while True:
                    self._hear(json.loads(await socket.recv()))
                    await asyncio.sleep(0)  # who was told goes on before the next frame is heard: what is pushed belongs to an open conversation
            finally:
                self._ready.clear()
                while self._answers:
                    self._hear({"id": min(self._answers)})  # lost: asked again on the next connection

    def _hear(self, reply: dict[str, Any]) -> None:
        frame_id = reply.pop("id", None)
        answer = self._answers.pop(frame_id, None)
        if answer and not answer.done():
            answer.set_result(reply)
        elif frame_id is None:
            [(name, body)] = reply.items()
            chat = None if name == "listed" else self.conversations.get(body.get("conv"))
            asyncio.get_running_loop().call_soon(chat.hear if chat else self.on_push, name, body)


class Conversation:
    """An open conversation, made by `Client.open`. What it tells comes in the order of events."""

    page: Page  # the last answer of `open`: the first one, or that after a reconnect

    def __init__(self, client: Client, request: dict[str, Any], resume: Resume | None, *handlers: Callable[..., Any]) -> None:
        self.id = ""
        # The highest `seq` handed over. With `page["epoch"]` it is what to keep for `resume` in a later run of the program.
        self.last = resume["seq"] if resume else 0
        self._epoch = resume["epoch"] if resume else None
        self._client, self._request = client, request
        self._on_message, self._on_page, self._on_push, self._on_ended = handlers
        self._want = 0
        self._ready = asyncio.Event()  # it is open, or it is over
        self._sending = asyncio.Lock()
        self._filling: asyncio.Task[None] | None = None

    async def send(self, content: str, cid: str | None = None, type: str = "text", ts: int | None = None) -> Sent:
        """Again with the same `cid` until it is known what became of it: keep your own where the program may end before. One at a time."""
        async with self._sending:
            sent: Sent = await self.call("send", cid=cid or str(uuid.uuid4()), type=type, content=content, ts=ts)
            return sent

    async def call(self, method: str, **body: Any) -> Any:
        """Any other method of a conversation: `read`, `ack`, `invite`, `remove`, `quit`."""
        return await self._client.call(method, {"conv": self.id, **body}, self._ready)

    async def leave(self) -> None:
        await self.call("leave")
        self._client.conversations.pop(self.id, None)

    # `Client` calls it.
    async def open(self) -> "Conversation":
        resume = {"epoch": self._epoch, "seq": self.last} if self._epoch else None
        page: Page = await self._client.call("open", {**self._request, "resume": resume})
        same_epoch = page["epoch"] == self._epoch and page["head"] >= self.last
        if self._epoch and not page.get("recovered"):
            asyncio.get_running_loop().call_soon(self._on_page, page, same_epoch)
        if not same_epoch:
            self.last = page["head"]
        self.page, self.id, self._epoch, self._want = page, page["conv"], page["epoch"], page["head"]
        self._client.conversations[self.id] = self
        self._ready.set()
        self._take(page["items"] if page.get("recovered") else [])
        return self

    # `Client` calls it when the connection has ended; so may the stream.
    def reopen(self) -> None:
        if self._ready.is_set():
            self._ready.clear()
            self._opening = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        try:
            await self.open()
        except ChatError as error:
            self._ready.set()  # what is asked from now on is answered by the server
            if error.code != "closed":
                self._client.conversations.pop(self.id, None)
                self._on_ended(error)

    # `Client` calls it.
    def hear(self, name: str, body: Push) -> None:
        del body["conv"]
        if name == "msg":
            self._want = body["seq"]
            self._take([body])
        elif name in ("reset", "removed"):
            self.reopen()  # it tells what became of it
        else:
            self._on_push(name, body)

    # The only way out for messages: each follows the last. By `call_soon`, so that an error in a handler harms nothing here.
    def _take(self, items: Sequence[Any]) -> None:
        for item in items:
            if item["seq"] == self.last + 1:
                self.last += 1
                asyncio.get_running_loop().call_soon(self._on_message, item)
        if self.last < self._want and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill())

    # What neither a page nor a push has brought is in history, and with it what was pushed too early.
    async def _fill(self) -> None:
        with contextlib.suppress(ChatError):  # only when the conversation or the client ends, which is told
            while self.last < self._want:
                page = await self.call("read", after_seq=self.last, limit=self._client.hello["limits"]["read_limit_max"])
                self._take(page["items"])
