import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .protocol import ChatError

if TYPE_CHECKING:
    from .conversation import Conversation


@dataclass
class Command:
    """Asked until there is a definite answer, on this connection or a later one; `body` is made each time, `on_reply` runs before any later frame."""

    method: str
    body: Callable[[], dict[str, Any]]
    answer: "asyncio.Future[Any]"
    chat: "Conversation | None" = None
    on_reply: Callable[[Any], None] = lambda reply: None
    tries: int = 0


def deferred() -> "asyncio.Future[Any]":
    """A future of which nobody has to hear: one that failed unheard is no error of the program."""
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def refuse(command: Command, error: ChatError) -> None:
    if not command.answer.done():
        command.answer.set_exception(error)
