import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from .connection import Connection, backoff, deferred, settle
from .conversation import Conversation
from .protocol import ChatError, Hello, Item, ListPage, Page, Push, Resume, To, closed


def is_final(code: int) -> bool:
    """3500–3999 and 4500–4999 say so; after 1002, 1003, 1007 and 1009 we would only do the same wrong again."""
    return 3500 <= code < 4000 or 4500 <= code < 5000 or code in (1002, 1003, 1007, 1009)


class Client:
    """`urls` are tried in turn, so that a node that went away costs one attempt.

    `on_push(name, body)` gets `listed`, `notice`, and whatever belongs to no open conversation. `on_closed(error)`: the server said not to come back
    (`close_code`; 4501: only with a new token); `connect` begins again.
    """

    def __init__(
        self,
        urls: Sequence[str],
        user: str | None = None,
        token: str | None = None,
        client: str | None = None,
        on_push: Callable[[str, Push], Any] = lambda name, body: None,
        on_closed: Callable[[ChatError], Any] = lambda error: None,
    ) -> None:
        self.conversations: dict[str, Conversation] = {}
        """The open ones, by `conv`."""
        self.hello: Hello | None = None
        """Of the newest connection: limits, node, and more."""
        self._urls = urls
        self._greeting = {"user": user, "token": token, "client": client}
        self._on_push, self._on_closed = on_push, on_closed
        self._connection: asyncio.Future[Connection] | None = None
        self._running: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, token: str | None = None) -> Hello:
        """Returns when the server has let us in; raises when it never will. From now on it tries by itself, until `close`."""
        if token is not None:
            self._greeting["token"] = token
        if self._running is None or self._running.done():
            self._connection = deferred()
            self._running = asyncio.create_task(self._run())
            for conversation in list(self.conversations.values()):
                self._start(conversation)
        hello = (await asyncio.shield(self.connection())).hello
        assert hello is not None
        return hello

    async def open(
        self,
        to: To,
        on_message: Callable[[Item], Any],
        on_page: Callable[[Page, bool], Any] = lambda page, same_epoch: None,
        on_push: Callable[[str, Push], Any] = lambda name, body: None,
        on_ended: Callable[[ChatError], Any] = lambda error: None,
        limit: int | None = None,
        resume: Resume | None = None,
    ) -> Conversation:
        """Open each conversation once; `resume` goes on where an earlier run of the program stopped. Handlers: see `Conversation`."""
        conversation = Conversation(self, to, on_message, on_page, on_push, on_ended, limit, resume)
        self._start(conversation)
        await asyncio.shield(conversation.opened())
        return conversation

    async def list(self, limit: int | None = None, cursor: str | None = None) -> ListPage:
        page: ListPage = await self.call("list", {"limit": limit, "cursor": cursor})
        return page

    async def refresh(self, token: str) -> dict[str, int]:
        """Another token for this session and those to come."""
        self._greeting["token"] = token
        reply: dict[str, int] = await self.call("refresh", {"token": token})
        return reply

    async def call(self, method: str, body: dict[str, Any]) -> Any:
        """Any other method without a conversation: `create`, `ping`."""
        return (await settle(self.connection, method, body))[0]

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def connection(self) -> "asyncio.Future[Connection]":
        if self._connection is None:
            raise closed("connect first")
        return self._connection

    def _start(self, conversation: Conversation) -> None:
        task = asyncio.create_task(conversation.run())
        self._tasks.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        tries, attempt = 0, 0
        error = closed("by the program")
        try:
            while True:
                began = asyncio.get_running_loop().time()
                code, reason, wait = await self._session(self._urls[attempt % len(self._urls)])
                if is_final(code):
                    error = closed(reason or f"close code {code}", code)
                    asyncio.get_running_loop().call_soon(self._on_closed, error)
                    return
                if asyncio.get_running_loop().time() - began > 10:
                    tries = 0
                await asyncio.sleep(max(wait, backoff(tries)))
                tries, attempt = tries + 1, attempt + 1
        finally:
            if self.connection().done():
                self._connection = deferred()
            self.connection().set_exception(error)

    async def _session(self, url: str) -> tuple[int, str, float]:
        try:
            socket = await connect(url, max_size=None)  # a page may have more than the default of 1 MiB
        except (OSError, asyncio.TimeoutError, WebSocketException) as error:
            return 1006, str(error), 0
        connection = Connection(socket, self._push)
        greeting = asyncio.create_task(self._greet(connection))
        try:
            code, reason = await connection.run()
            refused = await greeting
        finally:
            greeting.cancel()
            if connection.hello:
                self._connection = deferred()
            await socket.close()
        if refused and not refused.temporary and not is_final(code):
            code, reason = 4500, str(refused)
        return code, reason, (refused.retry_after_ms or 0) / 1000 if refused else 0

    async def _greet(self, connection: Connection) -> ChatError | None:
        try:
            connection.hello = self.hello = await connection.ask("hello", self._greeting)
            self.connection().set_result(connection)
            return None
        except ChatError as error:
            if not error.temporary:
                # The server's own close code says more, where it closes.
                await asyncio.wait([asyncio.ensure_future(connection.lost.wait())], timeout=1)
            await connection.close()
            return error

    def _push(self, name: str, body: Push) -> None:
        conversation = None if name == "listed" else self.conversations.get(body.get("conv", ""))
        if conversation:
            conversation.on_push(name, body)
        else:
            asyncio.get_running_loop().call_soon(self._on_push, name, body)
