"""What only saves typing."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from .client import Conversation
from .protocol import AckReply, Item


async def history(chat: Conversation, **query: Any) -> AsyncIterator[Item]:
    """History to its end, page by page. `late=True`: all that is late and unread."""
    while True:
        page = await chat.call("read", **query)
        for item in page["items"]:
            yield item
        if "next" not in page:
            return
        query["cursor"] = page["next"]


async def ack_items(chat: Conversation, shown: Iterable[Item], at_once: int = 100) -> AckReply:
    """Acknowledges exactly these: while `gap` or `late_next` of the page says that more is unread than was shown."""
    ranges: list[list[int]] = []
    for seq in sorted(item["seq"] for item in shown):
        if ranges and seq <= ranges[-1][1]:
            ranges[-1][1] = seq + 1
        else:
            ranges.append([seq, seq + 1])
    while True:
        reply: AckReply = await chat.call("ack", ranges=ranges[:at_once])
        ranges = ranges[at_once:]
        if not ranges:
            return reply
