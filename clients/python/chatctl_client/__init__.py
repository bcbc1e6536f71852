"""A client for chatctl servers.

It reconnects, resumes, fills gaps and sends again, so that each message is stored once, and handed over once and in order.
"""

from .client import Client, Conversation
from .history import ack_items, history
from .protocol import Acked, AckReply, ChatError, Hello, Item, Listed, ListPage, Page, Push, ReadPage, Resume, Sent, To

__all__ = [
    "AckReply", "Acked", "ChatError", "Client", "Conversation", "Hello", "Item", "ListPage", "Listed", "Page", "Push", "ReadPage", "Resume", "Sent", "To",
    "ack_items", "history",
]  # fmt: skip
