import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from .command import Command, deferred, refuse
from .conversation import Conversation
from .protocol import ChatError, Hello, Item, Page, Push, Resume, To, backoff, closed, is_final


def now() -> float:
    return asyncio.get_running_loop().time()


class Client:
    """`urls` are tried in turn, so that a node that went away costs one attempt. `token` may be replaced: the next connection shows it.

    `on_push(name, body)` gets `listed`, `notice`, and whatever belongs to no open conversation. `on_closed(error)`: the server said not to come back
    (`close_code`; 4501: only with a new token); `connect` begins again.
    """

    def __init__(
        self, urls: Sequence[str], user: str | None = None, token: str | None = None, client: str | None = None,
        on_push: Callable[[str, Push], Any] = lambda name, body: None, on_closed: Callable[[ChatError], Any] = lambda error: None,
    ) -> None:  # fmt: skip
        self.urls, self.user, self.token, self.client, self.on_push, self.on_closed = urls, user, token, client, on_push, on_closed
        self.conversations: dict[str, Conversation] = {}
        """The open ones, by `conv`."""
        self.hello: Hello | None = None
        """Of the newest connection: limits, node, and more."""
        self._is_in = False  # `hello` was answered on this connection
        self._waiting: list[Command] = []  # to be written in this order, each when its conversation is open
        self._asked: dict[int, Command] = {}  # written, not answered
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._id, self._heard = 0, 0.0
        self._running: asyncio.Task[None] | None = None
        self._ended: ChatError | None = closed("connect first")

    async def connect(self) -> Hello:
        """Returns when the server has let us in; raises when it never will. From now on it tries by itself, until `close`."""
        if self._ended:
            self._ended = None
            self._running = asyncio.create_task(self._run())
            for chat in self.conversations.values():
                chat.open()
        await self.call("ping", {})
        assert self.hello
        return self.hello

    async def open(
        self, to: To, on_message: Callable[[Item], Any], on_page: Callable[[Page, bool], Any] = lambda page, same_epoch: None,
        on_push: Callable[[str, Push], Any] = lambda name, body: None, on_ended: Callable[[ChatError], Any] = lambda error: None,
        limit: int | None = None, resume: Resume | None = None,
    ) -> "Conversation":  # fmt: skip
        """Open each conversation once; `resume` goes on where an earlier run of the program stopped. Handlers: see `Conversation`."""
        chat = Conversation(self, {"to": to, "limit": limit}, resume, on_message, on_page, on_push, on_ended)
        await chat.open()
        return chat

    async def call(self, method: str, body: dict[str, Any]) -> Any:
        """A method that needs no open conversation: `list`, `create`, `refresh`, `ping`."""
        return await self.ask(Command(method, lambda: body, deferred()))

    async def close(self) -> None:
        self._end(closed("by the program"))
        if self._running:
            self._running.cancel()
            await asyncio.wait([self._running])

    def ask(self, command: Command) -> "asyncio.Future[Any]":
        """`Conversation` calls it."""
        ended = self._ended or (command.chat and command.chat.ended)
        if ended:
            refuse(command, ended)
        else:
            self._waiting.append(command)
            self.flush()
        return command.answer

    def flush(self) -> None:
        """`Conversation` calls it when it is open."""
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            can_go = self._is_in and (command.chat is None or command.chat.is_open or command.method == "open")
            self._write(command) if can_go else self._waiting.append(command)

    def take_back(self, chat: "Conversation | None" = None) -> None:
        """`Conversation` calls it when it was closed: what was not answered is asked again, first."""
        unanswered = {frame_id: command for frame_id, command in self._asked.items() if chat is None or command.chat is chat}
        for frame_id in unanswered:
            del self._asked[frame_id]
        self._waiting[:0] = [command for command in unanswered.values() if command.method != "hello"]

    def forget(self, chat: "Conversation", error: ChatError) -> None:
        """`Conversation` calls it at its end."""
        chat.ended = error
        self.conversations.pop(chat.id, None)
        self.take_back(chat)
        gone = [command for command in self._waiting if command.chat is chat]
        self._waiting = [command for command in self._waiting if command.chat is not chat]
        for command in gone:
            refuse(command, error)

    def _end(self, error: ChatError) -> None:
        self._ended = error
        self.take_back()
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            refuse(command, error)

    async def _run(self) -> None:
        tries, attempt = 0, 0
        while True:
            began = now()
            code, reason, wait = await self._session(self.urls[attempt % len(self.urls)])
            if is_final(code):
                error = closed(reason or f"close code {code}", code)
                self._end(error)
                asyncio.get_running_loop().call_soon(self.on_closed, error)
                return
            if now() - began > 10:
                tries = 0
            await asyncio.sleep(max(wait, backoff(tries)))
            tries, attempt = tries + 1, attempt + 1

    async def _session(self, url: str) -> tuple[int, str, float]:
        """One connection, to its end: close code, reason, and for how long the server asks us to wait."""
        hello = Command("hello", lambda: {"user": self.user, "token": self.token, "client": self.client}, deferred(), on_reply=self._welcome)
        others: list[asyncio.Task[None]] = []
        self._outgoing = asyncio.Queue()
        try:
            async with connect(url, max_size=None) as socket:  # a page may have more than the default of 1 MiB
                self._write(hello)
                others += [asyncio.create_task(each) for each in (self._send(socket), self._watch(socket), self._refused(socket, hello))]
                async for data in socket:
                    self._hear(json.loads(data))
            code, reason = socket.close_code or 1006, socket.close_reason or ""
        except (OSError, asyncio.TimeoutError, WebSocketException) as error:
            received = getattr(error, "rcvd", None)
            code, reason = (received.code, received.reason) if received else (1006, str(error))
        finally:
            for task in others:
                task.cancel()
            self._is_in = False
            self.take_back()
            for chat in self.conversations.values():
                if chat.is_open and not self._ended:
                    chat.open()
        refused = hello.answer.exception() if hello.answer.done() else None
        if not isinstance(refused, ChatError):
            return code, reason, 0
        if not refused.temporary and not is_final(code):
            code, reason = 4500, str(refused)
        return code, reason, (refused.retry_after_ms or 0) / 1000

    async def _send(self, socket: Any) -> None:
        while True:
            await socket.send(await self._outgoing.get())

    async def _watch(self, socket: Any) -> None:
        """Every command is answered in time; silence is the end of the link. `websockets` pings by itself."""
        while True:
            await asyncio.sleep(1)
            if self._asked and now() - self._heard > 5 + (self.hello["limits"]["answer_ms_max"] if self.hello else 5000) / 1000:
                socket.transport.abort()

    async def _refused(self, socket: Any, hello: Command) -> None:
        await asyncio.wait([hello.answer])
        error = hello.answer.exception()
        if isinstance(error, ChatError):
            await asyncio.sleep(0 if error.temporary else 1)  # the server's own close code says more, where it closes
            await socket.close()

    def _welcome(self, hello: Hello) -> None:
        self.hello, self._is_in = hello, True
        self.flush()

    def _write(self, command: Command) -> None:
        if not self._asked:
            self._heard = now()
        self._id += 1
        self._asked[self._id] = command
        body = {name: value for name, value in command.body().items() if value is not None}
        self._outgoing.put_nowait(json.dumps({"id": self._id, command.method: body}, ensure_ascii=False))

    def _hear(self, frame: dict[str, Any]) -> None:
        self._heard = now()
        frame_id = frame.pop("id", None)
        command = self._asked.pop(frame_id, None)
        if frame_id is None:
            for name, body in frame.items():
                chat = None if name == "listed" else self.conversations.get(body.get("conv", ""))
                chat.hear(name, body) if chat else asyncio.get_running_loop().call_soon(self.on_push, name, body)
        elif command and "error" in frame:
            self._retry(command, ChatError(frame["error"]))
        elif command:
            command.on_reply(frame[command.method])
            if not command.answer.done():
                command.answer.set_result(frame[command.method])

    def _retry(self, command: Command, error: ChatError) -> None:
        is_harmless = command.method in ("open", "read")
        again = error.temporary and (not error.definite or error.retry_after_ms is not None or is_harmless)
        if command.method == "hello" or not again:
            return refuse(command, error)
        command.tries += 1
        wait = backoff(command.tries) if error.retry_after_ms is None else error.retry_after_ms / 1000
        asyncio.get_running_loop().call_later(wait, self.ask, command)
