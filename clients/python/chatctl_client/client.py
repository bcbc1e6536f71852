import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Sequence
from typing import Any, cast

from websockets import Close, ConnectionClosed, WebSocketException, connect

from .protocol import ChatError, Handlers, Hello, OnError, OnMessage, OnPage, OnPush, Page, Push, Resume, Sent, To
from .protocol import backoff, close_code, closed, frame, ignore, is_final, parse


class Client:
    """`urls` are tried in turn, so that a node that went away costs one attempt. `token` may be replaced: the next connection shows it.

    `hello` is that of the newest connection: limits, node, and more.
    """

    def __init__(self, urls: Sequence[str], user: str | None = None, token: str | None = None, client: str | None = None,
                 on_push: OnPush = ignore, on_closed: OnError = ignore) -> None:  # fmt: skip
        self.urls, self.user, self.token, self.client, self.on_push, self.on_closed = urls, user, token, client, on_push, on_closed
        self.conversations: dict[str, Conversation] = {}  # the open ones, by `conv`
        self._answers: dict[int, asyncio.Future[tuple[str, Any]]] = {}  # that are awaited on this connection, by `id`
        self._ids = itertools.count(2)  # 1 is the first frame of each connection
        self._ready = asyncio.Event()  # the server has let us in, or it is over
        self._away(closed("connect first"))

    async def connect(self) -> Hello:
        """Returns when the server has let us in; raises when it never will. From now on it tries by itself, until `close`."""
        if self._ended:
            self._away()
            self._running = asyncio.create_task(self._run())
        await self.call("ping", {})
        return self.hello

    async def open(self, to: To, on_message: OnMessage, on_page: OnPage = ignore, on_push: OnPush = ignore, on_ended: OnError = ignore,
                   limit: int | None = None, resume: Resume | None = None) -> "Conversation":  # fmt: skip
        """Open each conversation once; `resume` goes on where an earlier run of the program stopped."""
        return await Conversation(self, {"to": to, "limit": limit}, Handlers(on_message, on_page, on_push, on_ended), resume).open(resume)

    async def close(self) -> None:
        if not self._ended:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._away(closed("by the program"))

    async def call(self, method: str, body: dict[str, Any], ready: asyncio.Event | None = None) -> Any:
        """A method that needs no open conversation: `list`, `create`, `refresh`, `ping`. (`Conversation` says when it is `ready`.)"""
        ready = ready or self._ready
        while True:  # until there is a definite answer, on this connection or a later one
            while not ready.is_set():
                await ready.wait()
            if self._ended:
                raise self._ended
            frame_id = next(self._ids)
            self._answers[frame_id] = answer = asyncio.get_running_loop().create_future()
            with contextlib.suppress(ConnectionClosed):  # the answer will be that it was lost
                await self._socket.send(frame(frame_id, method, body))
            name, reply = await answer
            if name == "leave":
                self.conversations.pop(body["conv"], None)
            if name == method:
                return reply
            if name == "error":
                error = ChatError(reply)
                if not error.temporary and ready.is_set():  # `not_found`, where it is just being opened again
                    raise error
                await asyncio.sleep((error.retry_after_ms or 0) / 1000 + backoff(3))

    # From now on what is asked, also what was, waits until the server has let us in and its conversation is open again; or all fails as `ended`.
    def _away(self, ended: ChatError | None = None) -> None:
        self._ended = ended
        self._ready.clear()
        for chat in self.conversations.values():
            chat.reopen()
        while self._answers:
            self._hear(min(self._answers), "lost", {})
        if ended:
            self._ready.set()
            if ended.close_code:
                self.on_closed(ended)

    async def _run(self) -> None:
        tries = 0  # in a row
        for url in itertools.cycle(self.urls):
            began = asyncio.get_running_loop().time()
            try:
                close = await self._session(url)
            except (OSError, asyncio.TimeoutError, WebSocketException) as error:
                close = getattr(error, "rcvd", None) or Close(1006, str(error))
            if is_final(close.code):
                return self._away(closed(close.reason, close.code))
            self._away()
            tries = 1 if asyncio.get_running_loop().time() - began > 10 else tries + 1
            await asyncio.sleep(backoff(tries))

    # One connection, to its end.
    async def _session(self, url: str) -> Close:
        # A page may have more than 1 MiB, the default. A dead link says nothing: `websockets` asks, and takes silence for the end.
        async with connect(url, max_size=None, ping_interval=10, ping_timeout=10, close_timeout=1) as self._socket:
            await self._socket.send(frame(1, "hello", {"user": self.user, "token": self.token, "client": self.client}))
            _, name, body = parse(await asyncio.wait_for(self._socket.recv(), 10))
            if name == "error":
                await asyncio.sleep(body.get("retry_after_ms", 0) / 1000)
                return Close(close_code(body), body["message"])
            self.hello: Hello = body
            self._ready.set()
            while True:
                self._hear(*parse(await self._socket.recv()))
                await asyncio.sleep(0)  # who was told goes on before the next frame is heard: what is pushed belongs to an open conversation

    def _hear(self, frame_id: int, name: str, body: Any) -> None:
        answer = self._answers.pop(frame_id, None)
        if answer and not answer.done():
            answer.set_result((name, body))
        elif frame_id == 0:
            chat = None if name == "listed" else self.conversations.get(body.get("conv"))
            asyncio.get_running_loop().call_soon(chat.hear if chat else self.on_push, name, body)


class Conversation:
    """An open conversation, made by `Client.open`. What it tells comes in the order of events.

    `page` is the last answer of `open`: the first one, or that after a reconnect. `last` is the highest `seq` handed over; with `page["epoch"]`
    it is what to keep for `resume` in a later run of the program.
    """

    def __init__(self, client: Client, request: dict[str, Any], on: Handlers, resume: Resume | None) -> None:
        self._client, self._request, self._on = client, request, on
        self.id, self.last, self._want = "", resume["seq"] if resume else 0, 0
        self._ready, self._sending = asyncio.Event(), asyncio.Lock()  # ready: it is open, or it is over
        self._filling: asyncio.Task[None] | None = None

    async def send(self, content: str, cid: str | None = None, type: str = "text", ts: int | None = None) -> Sent:
        """Again with the same `cid` until it is known what became of it: keep your own where the program may end before. One at a time."""
        async with self._sending:
            return cast(Sent, await self.call("send", cid=cid or str(uuid.uuid4()), type=type, content=content, ts=ts))

    async def call(self, method: str, **body: Any) -> Any:
        """Any other method of a conversation: `read`, `ack`, `leave`, `invite`, `remove`, `quit`."""
        return await self._client.call(method, {"conv": self.id, **body}, self._ready)

    # `Client` calls it the first time.
    async def open(self, resume: Resume | None) -> "Conversation":
        try:
            page: Page = await self._client.call("open", {**self._request, "resume": resume})
        except ChatError as error:
            self._ready.set()  # what is asked from now on is answered by the server
            if not self.id:
                raise
            if error.code != "closed":
                self._client.conversations.pop(self.id, None)
                self._on.ended(error)
            return self
        same_epoch = resume is not None and page["epoch"] == resume["epoch"] and page["head"] >= self.last
        if resume and not page.get("recovered"):
            asyncio.get_running_loop().call_soon(self._on.page, page, same_epoch)
        self.page, self.id, self._want, self.last = page, page["conv"], page["head"], self.last if same_epoch else page["head"]
        self._client.conversations[self.id] = self
        self._ready.set()
        self._take(page["items"] if page.get("recovered") else [])
        return self

    # `Client` calls it when the connection has ended; so may the stream.
    def reopen(self) -> None:
        if self._ready.is_set():
            self._ready.clear()
            self._opening = asyncio.create_task(self.open({"epoch": self.page["epoch"], "seq": self.last}))

    # `Client` calls it.
    def hear(self, name: str, body: Push) -> None:
        del body["conv"]
        if name == "msg":
            self._want = body["seq"]
            self._take([body])
        elif name in ("reset", "removed"):
            self.reopen()  # it tells what became of it
        else:
            self._on.push(name, body)

    # The only way out for messages: each follows the last. By `call_soon`, so that an error in a handler harms nothing here.
    def _take(self, items: Sequence[Any]) -> None:
        for item in items:
            if item["seq"] == self.last + 1:
                self.last += 1
                asyncio.get_running_loop().call_soon(self._on.message, item)
        if self.last < self._want and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill())

    # What neither a page nor a push has brought is in history, and with it what was pushed too early.
    async def _fill(self) -> None:
        with contextlib.suppress(ChatError):  # only when the conversation or the client ends, which is told
            while self.last < self._want:
                self._take((await self.call("read", after_seq=self.last, limit=self._client.hello["limits"]["read_limit_max"]))["items"])
