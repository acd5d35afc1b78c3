"""The messages that a claim hands out, read: which of them are to be handled, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gorgond.redpill import keys
from gorgond.redpill.broker import Failure
from gorgond.redpill.clock import judged_ms
from gorgond.redpill.errors import Undecodable
from gorgond.redpill.message import PROTOCOL, Message, decode
from gorgond.redpill.outcome import left_for_newer


@dataclass(slots=True)
class Received:
    """Messages off the desk: those to be handled with their places there; how many of the others are `expired`, past
    their deadlines; which have failed; which of these are `left` for a newer consumer."""

    raws: Sequence[bytes]
    messages: list[tuple[int, Message]] = field(default_factory=list)
    expired: int = 0
    failures: list[Failure] = field(default_factory=list)
    left: list[Message] = field(default_factory=list)

    def drop_expired(self) -> None:
        """Their deadlines have passed while they waited for their handler."""
        now, before = judged_ms(), len(self.messages)
        self.messages = [each for each in self.messages if not each[1].is_expired(now)]
        self.expired += before - len(self.messages)


def receive(raws: Sequence[bytes], finishes: bool) -> Received:
    """Read these. Where the handler `finishes` what it has begun, a message that may have been started is handled
    although its deadline has passed."""
    received = Received(raws)
    messages = received.messages
    now = judged_ms()
    for index, raw in enumerate(raws):
        try:
            message = decode(raw)
            if message.reply:  # could it be answered?
                keys.queue(message.reply)
                message.id.encode()
        except (Undecodable, ValueError) as error:
            received.failures.append(Failure(index, None, f"undecodable: {error}"))
            continue
        if message.is_expired(now) and not (finishes and message.attempts):
            received.expired += 1
        elif message.needs > PROTOCOL:
            received.failures.append(left_for_newer(index, f"it needs a consumer that knows protocol {message.needs}"))
            received.left.append(message)
        else:
            messages.append((index, message))
    return received
