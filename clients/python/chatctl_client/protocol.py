"""The words of the protocol: what goes over the wire as it is."""

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

To = dict[str, str]
"""`{"user": …}`, `{"channel": …}` or `{"group": …}`."""
Push = dict[str, Any]
"""The body of a push, as its name says."""

Item = TypedDict("Item", {"seq": int, "from": str, "cid": str, "type": str, "content": str, "ts": int, "at": int, "late": bool})
Resume = TypedDict("Resume", {"epoch": str, "seq": int})
Acked = TypedDict("Acked", {"up_to": int, "ranges": list[list[int]]})
Sent = TypedDict("Sent", {"seq": int, "ts": int, "late": bool, "dup": bool, "at": int})


class _Unread(TypedDict):
    unread: int


class Unread(_Unread, total=False):
    unread_more: bool


class AckReply(Unread):
    acked: Acked


class _Page(Unread):
    conv: str
    epoch: str
    head: int
    acked: Acked
    items: list[Item]
    unread_late: int


class Page(_Page, total=False):
    """What `open` answers. After `recovered` there is no `late`, `gap`, `unread_before` and `next`."""

    late: list[Item]
    late_next: str
    unread_before: int
    gap: bool
    next: str
    recovered: bool
    online: bool


class _ReadPage(TypedDict):
    items: list[Item]


class ReadPage(_ReadPage, total=False):
    next: str


class Listed(Unread):
    conv: str
    to: To
    head: int
    newest: Item


class _ListPage(TypedDict):
    items: list[Listed]


class ListPage(_ListPage, total=False):
    next: str


class Hello(TypedDict):
    session: str
    user: str
    node: str
    protocol: int
    ping_ms: int
    engine: dict[str, str]
    limits: dict[str, int]


class ChatError(Exception):
    """An error of the protocol, or `closed`: by the program, or for good by the server (`close_code`). Only a `definite` one says that nothing happened."""

    def __init__(self, error: dict[str, Any], close_code: int | None = None) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]
        self.message: str = error["message"]
        self.temporary: bool = error["temporary"]
        self.definite: bool = error["definite"]
        self.field: str | None = error.get("field")
        self.retry_after_ms: int | None = error.get("retry_after_ms")
        self.close_code = close_code


def closed(reason: str, close_code: int | None = None) -> ChatError:
    return ChatError({"code": "closed", "message": reason or f"close code {close_code}", "temporary": False, "definite": False}, close_code)


# Handlers are plain functions, called one at a time in the order of events: start a task for what takes time.

OnMessage = Callable[[Item], Any]
"""Each message after the first page: once, by `seq`."""
OnPage = Callable[[Page, bool], Any]
"""The server could not simply continue. With the same epoch (`True`) what was missed follows as messages; with another one this page stands for
all before it."""
OnPush = Callable[[str, Push], Any]
"""Of a conversation: `acked`, `presence`, `members`, best effort. Of a client: `listed`, `notice`, and whatever belongs to no open conversation."""
OnError = Callable[[ChatError], Any]
"""`on_ended`: the conversation could not be opened again, `not_found` after a removal from a group. `on_closed`: the server said not to come back
(`close_code`; 4501: only with a new token); `connect` begins again."""


class Handlers(NamedTuple):
    """Of a conversation."""

    message: OnMessage
    page: OnPage
    push: OnPush
    ended: OnError


def ignore(*_: Any) -> None:
    pass


def frame(frame_id: int, method: str, body: dict[str, Any]) -> str:
    """An absent field is left out, never `null`."""
    return json.dumps({"id": frame_id, method: {name: value for name, value in body.items() if value is not None}}, ensure_ascii=False)


def parse(text: str | bytes) -> tuple[int, str, Any]:
    """What came: an answer has the `id` of its question and the name of its method, or `error`; a push has none, which is 0 here."""
    named = json.loads(text)
    frame_id = named.pop("id", 0)
    [(name, body)] = named.items()
    return frame_id, name, body


def backoff(tries: int) -> float:
    """Seconds, after so many tries in a row. Jitter over the whole span: after a restart of a server its clients must not come back all at once."""
    return random.uniform(0, min(10, 0.125 * 2 ** min(tries, 10)))


def close_code(error: dict[str, Any]) -> int:
    """How a connection ends whose `hello` is refused like this."""
    return {"bad_token": 4501, "token_expired": 4501, "limit": 4504}.get(error["code"], 1013 if error["temporary"] else 4500)


def is_final(code: int) -> bool:
    """3500–3999 and 4500–4999 say that we must not come back; after 1002, 1003, 1007 and 1009 we would only do the same wrong again."""
    return 3500 <= code < 4000 or 4500 <= code < 5000 or code in (1002, 1003, 1007, 1009)
