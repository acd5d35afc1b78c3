"""The message and the reply: what travels through the queues. The format is public: see docs/protocol.md.

A message is one JSON object; fields that are empty are left out:

    attempts  how often its handling has been started, counted by the broker's scripts; if there, the first field
    id        unique, 1 to 128 characters, time-ordered when made here
    op        what is asked, "items.find"
    args      the operation's arguments, an object
    reply     name of the list on which the caller waits for the reply
    next      name of the queue the message goes to afterwards (routing slip)
    user      who asks, an object, added by the auth server
    deadline  milliseconds since 1970 by the broker's clock; work past it is dropped
    sent      milliseconds since 1970 by the broker's clock
    trace     W3C traceparent
    needs     the protocol that its consumer must know, if it is not the first; one that knows less leaves the message

A reply is a header line of JSON, a newline, and the body as raw bytes: {"id": …} for success, and
{"id": …, "error": {"code": 404, "message": …}} for failure. A reply that is passed on over HTTP may have "status" and
"headers" in its header, an error "field", "reason" and "headers".
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gorgond.redpill.clock import now_ms
from gorgond.redpill.codec import dumps, loads
from gorgond.redpill.errors import CallFailed, Undecodable

PROTOCOL = 1
"""The protocol that this consumer understands. An operation, or an argument, that comes later makes it one more, and
its messages have that in `needs`: while an upgrade is under way an older consumer leaves them for a newer one."""

ID_MAX = 128
MORE = {"X-More": "true"}
"""The headers of an answer that has not all that was asked for, since there was no room for it."""
NEXT = "X-Next"
"""The header of a list after which more may follow, with the cursor to ask for that."""
ATTEMPTS_PREFIX = b'{"attempts":'

_counter = itertools.count()
_process = os.urandom(5).hex()


def _reseed() -> None:
    global _process
    _process = os.urandom(5).hex()


os.register_at_fork(after_in_child=_reseed)


def new_id() -> str:
    """A unique id of 27 characters that sorts by time: 11 hex of milliseconds, 6 of a counter, 10 of this process."""
    # hex() takes half the time of a format.
    return hex(time.time_ns() // 1_000_000 << 24 | next(_counter) & 0xFFFFFF)[2:] + _process  # noqa: FURB116


@dataclass(slots=True)
class Message:
    """One request, job or event. Times are milliseconds since 1970; 0 and empty mean absent.

        Message("order.price", {"number": 7}, deadline=now_ms() + 10_000)

    `op` is what is asked, and `args` are its arguments: whatever JSON can hold. `id`, 1 to 128 characters, is the
    message's own: the same id means the same request. `reply` is the list on which the caller waits, and `next` the
    queue to which the receiver passes the message on. `user` says who asks. Past its `deadline` the message is dropped.
    `sent` is when it was made. `trace` is a W3C `traceparent`. `attempts` is how often its handling was started, which
    the broker counts. `needs` is the version of the protocol that a consumer must know to understand it.

    Treat it as a value. It is not frozen, since making a frozen one takes three times as long. Nothing is checked here:
    `decode` raises Undecodable for a message that does not fit, and `encode` raises for arguments that are no JSON.
    """

    op: str
    args: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    reply: str = ""
    next: str = ""
    user: dict[str, Any] | None = None
    deadline: int = 0
    sent: int = field(default_factory=now_ms)
    trace: str = ""
    attempts: int = 0
    needs: int = 1

    def encode(self, reply: str = "") -> bytes:
        """The message as JSON, with `reply` in place of its own.

        Raises TypeError or ValueError when `args` or `user` hold what JSON cannot.
        """
        wire: dict[str, Any] = {"attempts": self.attempts} if self.attempts else {}
        wire["id"] = self.id
        wire["op"] = self.op
        if self.args:
            wire["args"] = self.args
        if reply or self.reply:
            wire["reply"] = reply or self.reply
        if self.next:
            wire["next"] = self.next
        if self.user is not None:
            wire["user"] = self.user
        if self.deadline:
            wire["deadline"] = self.deadline
        wire["sent"] = self.sent
        if self.trace:
            wire["trace"] = self.trace
        if self.needs > 1:
            wire["needs"] = self.needs
        return dumps(wire)

    def is_expired(self, now: int) -> bool:
        """Whether the deadline has passed at `now` (milliseconds since 1970)."""
        return 0 < self.deadline <= now

    def forward(self, **changes: Any) -> Message:
        """The same message for the queue in `next`, with other values of the fields in `changes`. Its attempts start
        anew there."""
        return replace(self, next="", attempts=0, **changes)


def decode(raw: bytes) -> Message:
    """The message in `raw`; unknown fields are ignored, so that newer writers can add some.

    Raises Undecodable, saying what does not fit.
    """
    if not raw.startswith(b'{"'):  # where the broker's scripts put the attempts
        raise Undecodable("does not begin with a brace and a quotation mark")
    try:
        wire = loads(raw)
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"not JSON: {error}") from None
    get = wire.get
    args = get("args")
    message = Message(
        get("op"), {} if args is None else args, get("id"), get("reply", ""), get("next", ""), get("user"),
        get("deadline", 0), get("sent", 0), get("trace", ""), get("attempts", 0),
        get("needs", 1),
    )  # fmt: skip
    if (
        type(message.id) is str
        and 0 < len(message.id) <= ID_MAX
        and type(message.op) is type(message.reply) is type(message.next) is type(message.trace) is str
        and type(message.deadline) is type(message.sent) is type(message.attempts) is type(message.needs) is int
        and type(message.args) is dict
        and (message.user is None or type(message.user) is dict)
    ):
        if message.attempts and not raw.startswith(ATTEMPTS_PREFIX):  # where no broker counts them
            message.attempts = 0
        return message
    raise Undecodable(
        f"id must be a text of 1 to {ID_MAX} characters, op, reply, next and trace texts, args and user objects, "
        "deadline, sent, attempts and needs whole numbers"
    )


@dataclass(slots=True)
class Reply:
    """The answer to the call whose message had this `id`: `body`, which is JSON unless both sides agree otherwise, or
    `error`, which has an HTTP status number and a message for the caller.

    `status` and `headers` are for a caller who passes the body on over HTTP.
    """

    id: str
    body: bytes = b""
    error: CallFailed | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def more(self) -> bool:
        """Whether the answering side had no room for all that was asked for."""
        return bool(self.headers) and MORE.items() <= self.headers.items()

    @property
    def next(self) -> str:
        """The cursor after which more may follow; empty when this is the end of a list, or no list."""
        return self.headers.get(NEXT, "") if self.headers else ""

    def encode(self) -> bytes:
        """Header line and body."""
        if self.error is None and self.status == 200 and not self.headers:
            return b'{"id":%s}\n%s' % (dumps(self.id), self.body)
        head: dict[str, Any] = {"id": self.id}
        if self.error is not None:
            head["error"] = {"code": self.error.code, "message": self.error.message}
            if self.error.reason:
                head["error"]["reason"] = self.error.reason
            if self.error.field:
                head["error"]["field"] = self.error.field
            if self.error.headers:
                head["error"]["headers"] = dict(self.error.headers)
        else:
            head["status"] = self.status
            if self.headers:
                head["headers"] = dict(self.headers)
        return dumps(head) + b"\n" + self.body


_NO_HEADERS: Mapping[str, str] = {}


def decode_reply(raw: bytes) -> Reply:
    """The reply in `raw`. Raises Undecodable."""
    header, _, body = raw.partition(b"\n")
    try:
        wire = loads(header)
        if len(wire) == 1:  # as nearly all are
            return Reply(str(wire["id"]), body, None, 200, _NO_HEADERS)
        error = wire.get("error")
        if error is None:
            return Reply(str(wire["id"]), body, None, int(wire.get("status", 200)), _texts(wire))
        field, reason = str(error.get("field", "")), str(error.get("reason", ""))
        failed = CallFailed(int(error["code"]), str(error["message"]), field, _texts(error), reason)
        return Reply(str(wire["id"]), body, failed)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise Undecodable(f"not a reply: {problem!r}") from None


def _texts(wire: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers in a part of a reply's header."""
    headers = wire.get("headers")
    return {str(name): str(text) for name, text in headers.items()} if headers else _NO_HEADERS
