import asyncio
import json
import random
from collections.abc import Callable
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from .protocol import ChatError, Hello, Push

T = TypeVar("T")


def backoff(tries: int) -> float:
    """Seconds. Jitter over the whole span: after a restart of a server its clients must not come back all at once."""
    return random.uniform(0, min(10, 0.25 * 2 ** min(tries, 10)))


def deferred() -> "asyncio.Future[Any]":
    """A future of which nobody has to hear: one that failed unheard is no error of the program."""
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def lost(message: str) -> ChatError:
    return ChatError({"code": "lost", "message": message, "temporary": True, "definite": False})


class Connection:
    """One WebSocket, to its end: commands and their answers, and pushes. `websockets` pings by itself."""

    def __init__(self, socket: ClientConnection, on_push: Callable[[str, Push], None]) -> None:
        self.hello: Hello | None = None
        self.lost = asyncio.Event()
        self._socket = socket
        self._on_push = on_push
        self._pending: dict[int, tuple[str, asyncio.Future[Any], Callable[[Any], None]]] = {}
        self._id = 0
        self._heard = 0.0

    async def run(self) -> tuple[int, str]:
        """Reads to the end: close code and reason."""
        watch = asyncio.create_task(self._watch())
        try:
            async for data in self._socket:
                self._heard = asyncio.get_running_loop().time()
                self._receive(json.loads(data))
        except ConnectionClosed:
            pass
        finally:
            watch.cancel()
            self.lost.set()
            for _, answer, _ in self._pending.values():
                if not answer.done():
                    answer.set_exception(lost(f"close code {self._socket.close_code}"))
        return self._socket.close_code or 1006, self._socket.close_reason or ""

    async def ask(self, method: str, body: dict[str, Any], on_reply: Callable[[Any], None] = lambda reply: None) -> Any:
        """One command. `on_reply` runs before any later frame is looked at; what awaits the answer may run after some."""
        if self.lost.is_set():
            raise lost("not connected")
        self._id += 1
        frame_id, answer = self._id, deferred()
        if not self._pending:
            self._heard = asyncio.get_running_loop().time()
        self._pending[frame_id] = (method, answer, on_reply)
        try:
            command = {name: value for name, value in body.items() if value is not None}
            await self._socket.send(json.dumps({"id": frame_id, method: command}, ensure_ascii=False))
            return await answer
        except ConnectionClosed as error:
            raise lost(str(error)) from None
        finally:
            del self._pending[frame_id]

    async def close(self, code: int = 1000) -> None:
        await self._socket.close(code)

    def _receive(self, frame: dict[str, Any]) -> None:
        frame_id = frame.pop("id", None)
        if frame_id is None:
            for name, body in frame.items():
                self._on_push(name, body)
        elif frame_id in self._pending:
            method, answer, on_reply = self._pending[frame_id]
            if answer.done():
                return
            if "error" in frame:
                answer.set_exception(ChatError(frame["error"]))
            else:
                on_reply(frame[method])
                answer.set_result(frame[method])

    async def _watch(self) -> None:
        """Every command is answered in time; silence is the end of the link."""
        while True:
            await asyncio.sleep(1)
            answer_ms_max = self.hello["limits"]["answer_ms_max"] if self.hello else 5000
            if self._pending and asyncio.get_running_loop().time() - self._heard > 5 + answer_ms_max / 1000:
                self._socket.transport.abort()


async def settle(
    where: "Callable[[], asyncio.Future[Connection]]",
    method: str,
    body: dict[str, Any],
    patient: bool = False,
    on_reply: Callable[[Any, Connection], None] = lambda reply, connection: None,
) -> tuple[Any, Connection]:
    """Asks until there is a definite answer, on the connection that `where` gives by then.

    It asks again after a lost connection, an indefinite error, or when the server says for how long to wait.
    With `patient`, other temporary errors are no answer either.
    """
    tries = 0
    while True:
        place = where()
        connection = await asyncio.shield(place)
        try:
            return await connection.ask(method, body, lambda reply: on_reply(reply, connection)), connection
        except ChatError as error:
            moved = error.code == "not_found" and place is not where()  # a `reset` closed the conversation meanwhile
            if error.definite and error.retry_after_ms is None and not moved and not (patient and error.temporary):
                raise
            if error.code == "lost":
                await connection.lost.wait()
                await asyncio.sleep(0)  # others must get their turn to see it
            else:
                await asyncio.sleep(backoff(tries) if error.retry_after_ms is None else error.retry_after_ms / 1000)
        tries += 1
