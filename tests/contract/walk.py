"""A random walk of a producer and three consumers over two queues; after each step all places are looked at.

Repeats, crashes, pauses, consumers that come too late and outages are among the steps. Copies of earlier calls of
anybody arrive late, as from a connection that was broken long ago. The walk compares the messages in all places with
the broker's answers so far. At the end everything is drained, and nothing may be missing.

Where consumers take `turns`, claims heed those of others or do not, by chance, and somebody hears the bell.

Time stands still unless an hour passes, or the clock is set back by one, which are steps too: on Redis all times it
keeps are changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gorgond.redpill.broker import ATTEMPTS, HEEDED, Batch, Failure, Later, Link, Room, Stale, Voided
from gorgond.redpill.errors import BrokerAway, Superseded
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.raw import attempts_of
from tests.contract.puppet import Puppet
from tests.contract.worlds import HOUR_MS, World, as_pushed

LARGE = b"-" * 2100  # makes a message one of those that Redis moves one by one
STEPS = 20
LIMIT = 12
HOUR = 3600.0
SILENCE = 3 * HOUR
CALLS = ("push", "take_if", "claim", "wait", "leave", "recover", "pause_if", "resume_if", "requeue", "drop")
CONSUMERS = [("a", "one"), ("a", "two"), ("b", "one")]

Step = Callable[[], Awaitable[object]]


@dataclass
class Actor:
    """A consumer, the messages it was handed, and its predecessors that do not know that they are."""

    puppet: Puppet
    handed: list[bytes] = field(default_factory=list)  # they are the head of the desk
    kept: list[bytes] = field(default_factory=list)  # by the last claim
    waited: bool = False  # since its last claim
    void: bool = False  # it gave its desk up, or others got it
    surprised: bool = False  # something lies on its desk that it does not know of
    quiet: int = 0  # hours since its last claim
    zombies: list[Actor] = field(default_factory=list)


class Walk:
    """One interleaving: what happened (`log`), and what of the messages is known from the answers."""

    def __init__(self, world: World, links: Sequence[Link], seed: int, outages: bool, turns: bool) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.outages = outages
        self.turns = turns
        self.log: list[object] = []
        self.link, self.waiter, self.network = links
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        for name in CALLS:
            setattr(self.link, name, self._recording(name))
        self.names = {name: f"{name}{seed}" for name in "ab"}
        self.actors = [Actor(Puppet(self.link, self.names[queue], consumer)) for queue, consumer in CONSUMERS]
        self.accepted: dict[str, set[bytes]] = {queue: set() for queue in self.queues}
        self.gone: dict[str, set[bytes]] = {queue: set() for queue in self.queues}
        self.starts: Counter[bytes] = Counter()
        self.batches: list[Batch] = []
        self.made = 0

    def _recording(self, name: str) -> Callable[..., Awaitable[Any]]:
        ask = getattr(type(self.link), name)

        async def recorded(*args: Any, **more: Any) -> Any:
            answer: object = None
            try:
                answer = await ask(self.link, *args, **more)
                return answer
            finally:
                if answer is not False:  # there is no letter of that number, yet
                    self.calls.append((name, args, more))

        return recorded

    @property
    def queues(self) -> Sequence[str]:
        return list(self.names.values())

    async def run(self) -> None:
        """The steps, then the draining."""
        for actor in self.actors:
            await actor.puppet.take()
        steps = self.steps()
        for step in self.random.choices(list(steps), list(steps.values()), k=STEPS):
            answer = await step()
            self.log.append((step.__name__, answer))
            self.check()
            self.after(step)
        await self.drain()

    def steps(self) -> dict[Step, int]:
        """What may happen next, and how often it does."""
        return {
            self.push: 5, self.push_again: 2, self.do_claim: 7, self.claim_at_once: 5, self.claim_again: 3,
            self.zombie_claim: 2, self.wait: 3, self.late_wait: 1, self.crash: 2, self.leave: 1, self.pass_hour: 1,
            self.clock_set_back: 1, self.late_copy: 12,
            self.recover: 2, self.die: 1, self.outlive: 1, self.requeue: 1, self.drop: 1, self.pause: 1, self.resume: 2,
            self.outage: int(self.outages), self.stand_by: 3 * self.turns,
        }  # fmt: skip

    def check(self) -> None:
        """Every message is in exactly one place; the figures say the same."""
        for queue in self.queues:
            places = self.world.places(queue)
            found = [*places.all(), *self.gone[queue]]
            assert set(found) == self.accepted[queue], f"lost {self.accepted[queue] - set(found)}"
            assert len(found) == len(self.accepted[queue]), f"in two places: {Counter(found).most_common(3)}"
            assert places.counts().difference() == 0, places.counts()
            self.log.append((queue, places))

    def after(self, step: Step) -> None:
        """This was done, and all is as it should be."""

    def finish(self, queue: str, raw: bytes) -> None:
        """The broker has settled, or dropped, the message for good."""
        assert as_pushed(raw) not in self.gone[queue], f"settled twice: {raw!r}"
        self.gone[queue].add(as_pushed(raw))

    def some(self) -> Actor:
        return self.random.choice(self.actors)

    async def push(self) -> object:
        queue = self.random.choice(self.queues)
        messages = [self.message() for _ in range(self.random.randint(1, 4))]
        later = [await self.later() for _ in range(self.random.choice((0, 0, 1, 2)))]
        return await self._send(self.batch(queue, messages[len(later) :], later))

    def batch(self, queue: str, messages: Sequence[bytes], later: Sequence[Later] = ()) -> Batch:
        """The next batch of the producer."""
        self.batches.append(Batch(queue, len(self.batches) + 1, messages, later=later))
        return self.batches[-1]

    async def later(self) -> Later:
        """A message that is due before some hours have passed, not when anything tried again is, or by now; where time
        stands still, soon too."""
        ms = max(0, self.random.choice((0, 1, 1, 2)) * HOUR_MS - HOUR_MS // 3)
        if self.outages and self.random.random() < 0.5:
            ms = 500
        if self.random.random() < 0.5:
            return Later(self.message(), await self.network.clock() + ms, at=True)
        return Later(self.message(), ms)

    def message(self) -> bytes:
        self.made += 1
        if self.random.random() < 0.1:
            return b"garbage %d" % self.made
        return b'{"id":"%d","op":"x","trace":"%s"}' % (self.made, b"" if self.random.random() < 0.7 else LARGE)

    async def push_again(self) -> object:
        last = {batch.name: batch for batch in self.batches}
        return await self._send(self.random.choice(list(last.values()))) if last else None

    async def _send(self, batch: Batch) -> object:
        refused = (await self.link.push("p", Room(LIMIT), [batch]))[0]
        if refused is None:
            self.accepted[batch.name].update((*batch.messages, *(each.raw for each in batch.later)))
        return repr(refused)

    async def do_claim(self) -> object:
        return await self._claim_number(self.some())

    async def _claim_number(self, actor: Actor) -> object:
        """Settle the first of what was handed out, in some way."""
        done = range(min(self.random.randint(0, 6), len(actor.handed)))
        return await self._settle(actor, done, held=False)

    async def claim_at_once(self) -> object:
        """Settle some of what was handed out, in any order; the others stay in hand."""
        actor = self.some()
        places = range(len(actor.handed))
        done = sorted(self.random.sample(places, self.random.randint(0, len(places))))
        return await self._settle(actor, done, held=True)

    async def _settle(self, actor: Actor, places: Sequence[int], held: bool) -> object:
        puppet, done = actor.puppet, [actor.handed[place] for place in places]
        others = [raw for place, raw in enumerate(actor.handed) if place not in places]
        first = next((number for number, place in enumerate(places) if number != place), len(places))
        actor.waited, actor.quiet = False, 0
        fates = self.random.choices(("done", "expired", "fails", "dies"), (6, 1, 3, 1), k=len(done))
        delays = [self.random.choice((0.0, HOUR)) for _ in done]
        failures = [
            Failure(place, delay if fate == "fails" else None, fate)
            for place, fate, delay in zip(places, fates, delays, strict=True)
            if fate[-1] == "s"
        ]
        actor.kept = others if held else []
        want = self.random.choice((0, 1, 3, 5, 8))
        puppet.patience = self.random.choice((0, HEEDED)) if self.turns else 0
        before = self.world.places(puppet.queue)
        try:
            handed = await puppet.claim(
                first, want, failures=failures, expired=fates.count("expired"), later=places[first:],
                held=len(actor.kept),
            )  # fmt: skip
        except (Voided, Superseded) as refused:
            return await self._take_refusal(actor, refused)
        if before.paused:
            lay = set(map(as_pushed, before.desks.get(puppet.name, [])))
            assert lay.issuperset(map(as_pushed, handed)), f"taken from a paused queue: {handed}"
        for raw, fate in zip(done, fates, strict=True):
            if fate in ("done", "expired"):
                self.finish(puppet.queue, raw)
        if want:
            self._start(actor, [*actor.kept, *handed])
        else:
            actor.handed = others
        return handed

    def _start(self, actor: Actor, handed: list[bytes]) -> None:
        still = set(map(as_pushed, actor.handed))
        actor.handed = handed
        attempts = [attempts_of(raw) for raw in handed if raw.startswith(b"{")]
        assert len(handed) < 2 or not any(attempts) or {*attempts} == {2}, f"with what may kill it: {handed}"
        for raw in map(as_pushed, handed):
            if raw not in still and raw.startswith(b"{"):
                self.starts[raw] += 1
                assert self.starts[raw] <= ATTEMPTS, f"started too often: {raw!r}"

    async def _take_refusal(self, actor: Actor, refused: Exception) -> object:
        actor.handed = []
        if isinstance(refused, Voided):
            assert actor.void or actor.surprised, "a healthy consumer has lost its desk"
            await actor.puppet.take()
            actor.void, actor.surprised, actor.quiet = False, False, 0
        elif actor in self.actors:
            raise refused
        return repr(refused)

    async def claim_again(self) -> object:
        """The claim's answer was lost; or, after a wait, the consumer shows that it lives and ignores the answer."""
        actor = self.some()
        puppet, known = actor.puppet, actor.puppet.length
        if puppet.claimed.number == 0:
            return None
        before = self.world.places(puppet.queue)
        try:
            handed = await puppet.repeat()
        except (Voided, Superseded) as refused:
            return await self._take_refusal(actor, refused)
        after = self.world.places(puppet.queue)
        assert (after.desks, after.dead) == (before.desks, before.dead)
        if actor.waited:
            puppet.length = known
        elif puppet.claimed.want:
            actor.handed = [*actor.kept, *handed]
        return handed

    async def zombie_claim(self) -> object:
        actor = self.some()
        if not actor.zombies:
            return None
        zombie = self.random.choice(actor.zombies)
        before = [self.world.places(queue) for queue in self.queues]
        with pytest.raises((Voided, Superseded)) as refused:
            await zombie.puppet.claim(len(zombie.handed), 5)
        assert [self.world.places(queue) for queue in self.queues] == before
        return repr(refused.value)

    async def wait(self) -> object:
        """Wait with all in hand that lies on the desk, and for a push if the queue is empty."""
        actor = self.some()
        puppet = actor.puppet
        before = self.world.places(puppet.queue)
        all_in_hand = puppet.length == len(actor.handed) and not any(map(attempts_of, actor.handed))
        if not all_in_hand or puppet.claimed.number == 0 or before.paused or actor.void:
            return None
        pushed: object = None
        if before.queued:
            raw = await puppet.wait()
        else:
            puppet.link = self.waiter
            waiting = asyncio.create_task(puppet.wait(10))
            self.batches.append(Batch(puppet.queue, len(self.batches) + 1, [self.message()]))
            pushed = await self._send(self.batches[-1])
            raw = await waiting
            puppet.link = self.link
        assert raw is not None
        actor.waited = True
        if not attempts_of(raw):  # or a further start is to be counted by the next claim
            self._start(actor, [*actor.handed, raw])
        return raw, pushed

    async def stand_by(self) -> object:
        """Somebody hears the bell, or a late copy does, and nobody looks."""
        return await self.network.stand_by(self.random.choice(self.queues), 0.001)

    async def late_wait(self) -> object:
        """A wait of a lost connection is served."""
        puppet = self.some().puppet
        return await self._late_wait(puppet.queue, puppet.name)

    async def _late_wait(self, queue: str, consumer: str) -> object:
        before = self.world.places(queue)
        if not before.queued or before.paused:
            return None
        for actor in self.actors:
            if (actor.puppet.queue, actor.puppet.name) == (queue, consumer):
                actor.surprised = True
        return await self.network.wait(queue, consumer, 1)

    async def late_copy(self) -> object:
        """A call that was sent over a connection long broken arrives; nobody gets the answer."""
        if not self.calls:
            return None
        name, args, more = self.random.choice(self.calls)
        if name == "wait":
            return await self._late_wait(args[0], args[1])
        before = [self.world.places(queue) for queue in self.queues]
        with contextlib.suppress(Voided, Superseded, Stale):
            found = await getattr(self.network, name)(*args, **more)
            if name == "recover":
                self._note_recovered(args[0], found)
                return name, found
        for was, queue in zip(before, self.queues, strict=True):
            places = self.world.places(queue)
            if name == "claim":  # a copy of the last claim may find that something is due
                assert (places.desks, places.dead) == (was.desks, was.dead)
                assert Counter(places.all()) == Counter(was.all())
                assert places.figures == was.figures
            else:
                assert places == was, f"changed by a copy of {name} {args}"
        return name

    async def crash(self) -> object:
        """The consumer's process dies and another takes its desk; who is not drawn for long is dead for the others."""
        actor = self.some()
        old = actor.puppet
        actor.zombies.append(Actor(old, actor.handed))
        actor.puppet, actor.handed = Puppet(self.link, old.queue, old.name), []
        actor.void, actor.surprised, actor.quiet = False, False, 0
        return await actor.puppet.take()

    async def leave(self) -> object:
        """The consumer gives its desk up and has not started what it was handed."""
        actor = self.some()
        returned = await actor.puppet.leave(unhandled=bool(actor.handed))
        if returned:
            self.starts.subtract(map(as_pushed, actor.handed))
        actor.handed, actor.void = [], True
        return returned

    async def pass_hour(self) -> object:
        self.world.pass_hours(self.queues)
        for actor in self.actors:
            actor.quiet += 1
        return None

    async def clock_set_back(self) -> object:
        self.world.pass_hours(self.queues, -1)
        return None

    async def recover(self) -> object:
        return await self._recover(self.random.choice(self.queues))

    async def _recover(self, queue: str) -> object:
        found = await self.link.recover(queue, SILENCE)
        self._note_recovered(queue, found)
        return found

    def _note_recovered(self, queue: str, found: list[tuple[str, int]]) -> None:
        """Others got these desks: only of consumers that could have shown themselves."""
        for actor in self.actors:
            if actor.puppet.queue == queue and actor.puppet.name in dict(found):
                assert actor.void or actor.quiet >= SILENCE / HOUR, "the desk of a healthy consumer was given to others"
                actor.void = True

    async def die(self) -> object:
        """Hours pass in which somebody looks for the silent; who is in luck has claims."""
        lucky = [actor for actor in self.actors if self.random.random() < 0.5]
        answers = [await self._recover(queue) for queue in self.queues]
        for _ in range(3):
            await self.pass_hour()
            for actor in lucky:
                await self._claim_number(actor)
            answers += [await self._recover(queue) for queue in self.queues]
        return answers

    async def outlive(self) -> object:
        """A consumer is taken for dead, and then late waits bring it as many messages as it believes to have."""
        puppet = self.some().puppet
        found = await self.network.recover(puppet.queue, 0)
        for actor in self.actors:
            actor.void |= actor.puppet.queue == puppet.queue and actor.puppet.name in dict(found)
        left = self.world.places(puppet.queue)
        late = min(puppet.length, len(left.queued)) if puppet.name in dict(found) and not left.paused else 0
        return found, [await self.network.wait(puppet.queue, puppet.name, 1) for _ in range(late)]

    async def pause(self) -> object:
        queue = self.random.choice(self.queues)
        was = self.world.places(queue).paused
        assert await self.link.pause(queue) is not was
        return queue

    async def resume(self) -> object:
        queue = self.random.choice(self.queues)
        was = self.world.places(queue).paused
        assert await self.link.resume(queue) is was
        return queue

    async def requeue(self) -> object:
        queue, number = self._letter()
        raw = self.world.places(queue).dead.get(number)
        done = await self.link.requeue(queue, number)
        assert done == (raw is not None)
        if raw is not None:
            del self.starts[as_pushed(raw)]
        return queue, number, done

    async def drop(self) -> object:
        queue, number = self._letter()
        raw = self.world.places(queue).dead.get(number)
        done = await self.link.drop(queue, number)
        assert done == (raw is not None)
        if raw is not None:
            self.finish(queue, raw)
        return queue, number, done

    def _letter(self) -> tuple[str, int]:
        queue = self.random.choice(self.queues)
        return queue, self.random.choice([*self.world.places(queue).dead, 1])

    async def outage(self) -> object:
        """The broker goes down and up; what was asked meanwhile did not happen."""
        assert isinstance(self.world.broker, MemoryBroker)
        actor = self.some()
        waiting = asyncio.create_task(self.waiter.wait("none", "consumer", 10))
        await self.link.ping()
        self.world.broker.kill()
        puppet, made = actor.puppet, len(self.calls)
        for asked in (waiting, puppet.take(), puppet.leave(), self.link.recover(puppet.queue, 0)):
            with pytest.raises(BrokerAway):
                await asked
        del self.calls[made:]
        self.check()
        self.world.broker.start()
        return None

    async def drain(self) -> None:
        """Everybody is dead; one consumer a queue gets it all done, and the dead letters too."""
        for queue in self.queues:
            await self.link.recover(queue, 0)
            await self.link.resume(queue)
            consumer = Puppet(self.link, queue, "drain")
            await consumer.take()
            self.world.pass_hours([queue], STEPS + 1)  # however often the clock was set back
            done: list[bytes] = []
            requeued = False
            while True:
                handed = await consumer.claim(len(done), 8)
                for raw in done:
                    self.finish(queue, raw)
                done = handed
                if handed:
                    continue
                letters = self.world.places(queue).dead
                if requeued or not letters:
                    break
                requeued = True
                for number in letters:
                    assert await self.link.requeue(queue, number)
            assert self.gone[queue] == self.accepted[queue], "not everything was done"
            counts = (await self.link.counts([queue]))[0]
            assert counts == self.world.places(queue).counts()
            assert counts.accepted == counts.done + counts.expired + counts.dropped, counts


async def walk(
    world: World, links: Sequence[Link], seed: int, *, outages: bool = False, turns: bool = False
) -> list[object]:
    """The interleaving of that seed: all its answers and states."""
    return await walk_to_the_end(Walk(world, links, seed, outages, turns), seed)


async def walk_to_the_end(steps: Walk, seed: int) -> list[object]:
    """A walk to its end."""
    try:
        await steps.run()
    except BaseException as error:
        told = "\n".join(map(str, steps.log))
        error.add_note(f"{told}\nafter these steps; again with INTERLEAVINGS_SEED={seed}")
        raise
    return steps.log
