"""A consumer moved by hand: it remembers what a Consumer would, and the test says what happens when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gorgond.redpill.broker import AT_QUEUE, ATTEMPTS, Claim, Failure, Link


class Puppet:
    """Consumer `name` of `queue` over `link`; to crash it, make another of its name, or none."""

    def __init__(self, link: Link, queue: str = "q", name: str = "consumer") -> None:
        self.link = link
        self.queue = queue
        self.name = name
        self.token = ""
        self.length = 0
        self.claimed = Claim()
        self.attempts = ATTEMPTS
        self.patience = 0  # ms for which it heeds another one's turn
        self.stand = AT_QUEUE  # how it is to wait, by the last claim
        self.due: float | None = None  # in how many seconds a delayed message is, by the last claim

    async def take(self) -> int:
        """Take the desk: how many messages a predecessor left there."""
        self.token, self.length = await self.link.take(self.queue, self.name)
        self.claimed = Claim()
        return self.length

    async def claim(
        self,
        done: int = 0,
        want: int = 1,
        *,
        failures: Sequence[Failure] = (),
        expired: int = 0,
        replies: Mapping[str, Sequence[bytes]] | None = None,
        later: Sequence[int] = (),
        held: int = 0,
    ) -> list[bytes]:
        """The next claim: what it hands out."""
        number = self.claimed.number + 1
        self.claimed = Claim(
            number, self.length, done, expired, failures, replies or {}, want, later, held, self.patience
        )
        return await self.repeat()

    async def repeat(self) -> list[bytes]:
        """The same claim again, as after a lost answer."""
        claimed = await self.link.claim(self.queue, self.name, self.token, self.claimed, self.attempts)
        self.length, self.due, self.stand = claimed.length, claimed.due, claimed.stand
        return claimed.messages

    async def wait(self, timeout: float = 1.0) -> bytes | None:
        """Wait for a message on the desk."""
        raw = await self.link.wait(self.queue, self.name, timeout)
        self.length += raw is not None
        return raw

    async def leave(self, unhandled: bool = False) -> int:
        """Give the desk up: how many messages went back."""
        return await self.link.leave(self.queue, self.name, self.token, unhandled)

    async def give_back(self, how: str) -> None:
        """Bring what it has had back to the queue: it leaves, others recover its desk, or its first dead letter is
        requeued."""
        if how == "leave":
            await self.leave()
        elif how == "recover":
            await self.link.recover(self.queue, 0)
        else:
            assert how == "requeue"
            await self.link.requeue(self.queue, 1)
