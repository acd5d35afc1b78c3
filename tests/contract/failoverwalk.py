"""A random walk in which, between any two steps, a replica takes over from the master.

What it has is a beginning of what the master had, with all that was promised: such a state of the one Redis of the walk
is kept after each step, and is put back. What was claimed since is unknown to the broker then, and is done again. A
producer whose push was not acknowledged sends it again, whether the replica had it or not.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from gorgond.redpill.broker import Link, Room, Voided
from gorgond.redpill.errors import Superseded
from tests.contract.walk import LIMIT, Step, Walk
from tests.contract.worlds import InRedis

Keys = dict[bytes, tuple[bytes, int]]


@dataclass(frozen=True)
class State:
    """What the broker keeps at one moment, and what the walk knows of it."""

    keys: Keys
    gone: dict[str, set[bytes]]
    starts: Counter[bytes]


class FailoverWalk(Walk):
    """The steps of a walk, without late copies (docs/protocol.md says what those of a lost call do), and failovers."""

    def __init__(self, world: InRedis, links: Sequence[Link], seed: int, client: redis.Redis) -> None:
        super().__init__(world, links, seed, outages=False, turns=False)
        self.client = client
        self.states: list[State] = []  # since the last promise: any of them may be what the replica has
        self.failovers = 0
        self.dying = False  # whether the master dies before it answers the next claim
        setattr(self.link, "claim", self._claiming(self.link.claim))  # noqa: B010 - as the walk does

    def _claiming(self, claim: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def claiming(*args: Any, **more: Any) -> Any:
            if self.dying:
                self.dying = False
                before = [*self.states, self.state()]
                with contextlib.suppress(Voided, Superseded):
                    await claim(*args, **more)
                self.become(self.random.choice([*before, self.state()]))
            return await claim(*args, **more)

        return claiming

    def steps(self) -> dict[Step, int]:
        late = (self.late_wait, self.late_copy, self.zombie_claim)  # whose successor's `take` may be forgotten
        steps = {step: weight for step, weight in super().steps().items() if step not in late}
        return steps | {self.fail_over: 4, self.push_without_an_answer: 4, self.claim_without_an_answer: 4}

    def after(self, step: Step) -> None:
        """What these do is on the replica later; all others promise something, or the time passes."""
        if step not in (self.do_claim, self.claim_at_once, self.claim_again, self.crash, self.leave, self.recover):
            self.states.clear()
        self.states.append(self.state())

    def state(self) -> State:
        pipeline = self.client.pipeline(transaction=False)
        names: Any = sorted(self.client.keys("gorgon:{*"))
        for name in names:
            pipeline.dump(name)
            pipeline.pttl(name)
        found = pipeline.execute()
        keys = {name: (found[2 * i], max(0, found[2 * i + 1])) for i, name in enumerate(names)}
        return State(keys, copy.deepcopy(self.gone), self.starts.copy())

    async def fail_over(self) -> object:
        """The replica has what was promised, and some of what came since."""
        if not self.states:
            return None
        self.become(self.random.choice(self.states))
        return self.failovers

    async def push_without_an_answer(self) -> object:
        """The master dies before the replica has the push, or before it says so. The producer sends it again."""
        queue = self.random.choice(self.queues)
        messages = [self.message() for _ in range(self.random.randint(1, 4))]
        batch = self.batch(queue, messages)
        before = [*self.states, self.state()]
        await self.link.push("p", Room(LIMIT), [batch])
        self.become(self.random.choice([*before, self.state()]))
        return await self._send(batch)

    async def claim_without_an_answer(self) -> object:
        """The master dies before the replica has the claim, or before it answers. The consumer sends it again."""
        self.dying = True
        try:
            return await self.do_claim()
        finally:
            self.dying = False

    async def claim_again(self) -> object:
        """A claim whose answer came is not sent again after a failover."""
        return None if any(actor.void for actor in self.actors) else await super().claim_again()

    def become(self, state: State) -> None:
        """The broker has this from now on. Consumers do not know that it has forgotten what they did since."""
        pipeline = self.client.pipeline(transaction=False)
        pipeline.flushdb()
        for name, (value, expires) in state.keys.items():
            pipeline.restore(name, expires, value)
        pipeline.execute()
        self.gone, self.starts = copy.deepcopy(state.gone), state.starts.copy()
        for actor in self.actors:
            actor.void = True
        self.failovers += 1
