"""The contract of every broker: it stands between redpill's loops and the place where the queues are kept.

A `Broker` is an address; a `Link` is one connection to it, used by one loop. `drivers` has the implementations. Every
operation of a link either happened or raised, and every one but `wait` and `fetch` may be repeated after `BrokerAway`
with the same arguments, which is what `Link.persist` does, to the same effect; a second reply finds nobody who waits
for it.

Every call may arrive late too: a network may hold the bytes of a broken connection and deliver them when the caller has
repeated the call over another one and gone on. The head of each script in `scripts/` says what a late copy does; none
does harm. Calls that would are made on the grounds of what stands (`take_if`, `pause_if`, …), and are void when
something else stands by then; or they are numbered (`push`, `admit`). A process that waits makes sure that nothing
depends on a late copy: `wait` of a consumer's desk is followed by a claim that is void when more lies there than the
consumer knows of, and after a `fetch` without an answer its list is not used again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, TypeVar

from gorgond.redpill.clock import BrokerTime
from gorgond.redpill.errors import BrokerError, BrokerRefused
from gorgond.redpill.limits import Entry, Limit
from gorgond.redpill.outage import Outage
from gorgond.redpill.persist import Persistent
from gorgond.redpill.replication import Replication

T = TypeVar("T")

BLOCK = 1.0  # seconds a blocking call lasts at most where stopping waits for its end
ATTEMPTS = 3  # starts of a message's handling after which it is given up
SILENCE = 20.0  # seconds without a claim after which a consumer is taken for dead
IDLE = 3.0  # seconds that a consumer with nothing in hand waits at most: a sign of life is due before 5 of silence
HEEDED = 10  # ms for which a consumer leaves the messages of a queue to the one whose turn it is
FORGET = 7 * 86400.0  # seconds after which one whose desk is empty is forgotten: no network holds a call for so long
BATCH_MAX = 1000  # messages pushed or taken at a time; far more, and Lua cannot pass them on (its `unpack`)
DUE_MAX = 100  # delayed messages that are due, of which a claim brings so many back to the queue
REASON_MAX = 500  # characters of a failure's reason that are kept
CLAIM_BYTES = 4 * 1024 * 1024  # messages brought in one claim, and what one round sends, unless one alone is larger
AT_QUEUE, STANDING_BY, LOOKING = range(3)  # how a consumer is to wait that got nothing
TOUCH = -1  # what a claim wants that is a sign of life and nothing else
FETCH_MAX = 1000  # replies that one fetch takes at most
REPLY_TTL = 60.0  # seconds a reply waits for its caller


class Voided(BrokerError):
    """The desk was given to others while its consumer was silent: what was on it is not this consumer's any more."""


class Stale(BrokerError):
    """Nothing was done, since what the call was to follow does not stand any more; `stands` does."""

    def __init__(self, stands: str) -> None:
        super().__init__(f"something else stands by now: {stands or 'nothing'}")
        self.stands = stands


@dataclass(frozen=True, slots=True)
class Later:
    """A message that is due later: after so many ms, by the broker's clock; or, `at`, when that says so many ms since
    1970."""

    raw: bytes
    ms: int
    at: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages for a queue, some of them for later, or events for a topic, as a producer numbers them."""

    name: str
    number: int
    messages: Sequence[bytes]
    topic: bool = False
    later: Sequence[Later] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """The room of a queue for messages that wait or are delayed: how many messages, and how many bytes of the broker's
    memory. Of the bytes the first batch is not counted, nor what comes back to the queue from desks or is tried again.
    A durable group keeps no more bytes: it loses its oldest events."""

    messages: int = 100_000
    bytes: int = 256_000_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A message of a claim that failed: its place on the desk, the delay in seconds (None: give up), the reason. If it
    was not `started`, it comes again with the attempts that it had. One that `waits` by the limits of its queue, which
    is its id, comes again `at` a time, ms since 1970, or as soon as it is called."""

    index: int
    delay: float | None
    reason: str
    started: bool = True
    waits: str = ""
    at: int = 0


@dataclass(slots=True)
class Claim:
    """One claim of a consumer. It settles the first `done` messages of the desk and those at the positions `later`.
    `expired` says how many of them were dropped past their deadline, `failures` which of them failed. It sends
    `replies`: list name → replies. It takes messages until `want` lie on the desk; with 0 none is handed out, and TOUCH
    repeats the last claim as a sign of life. The consumer has the first `held` of the messages that then lie there in
    hand, and the broker does not hand them out again.

    A consumer that takes turns with the others of its queue has `patience`: for so many ms it leaves what there is to
    the one whose turn it is. With 0 it takes it."""

    number: int = 0
    length: int = 0
    done: int = 0
    expired: int = 0
    failures: Sequence[Failure] = ()
    replies: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    want: int = 1
    later: Sequence[int] = ()
    held: int = 0
    patience: int = 0


class Claimed(NamedTuple):
    """The answer to a claim: the desk's length, the messages to handle next, and, where there are none, in how many
    seconds the next of the delayed is due, if that is known, and how the consumer is to wait: at the queue (AT_QUEUE),
    for the bell (STANDING_BY), or to claim again soon (LOOKING)."""

    length: int
    messages: list[bytes]
    due: float | None = None
    stand: int = AT_QUEUE


@dataclass(frozen=True, slots=True)
class Counts:
    """All figures of one queue at one moment. The first four say how many messages are where; `oldest` is the age in
    seconds of the message at the head. The rest counts since the queue was made:

        accepted = done + queued + in_flight + delayed + dead + expired + dropped + overflow
    """

    queued: int = 0
    in_flight: int = 0
    delayed: int = 0
    dead: int = 0
    oldest: float = 0.0
    accepted: int = 0
    done: int = 0
    expired: int = 0
    retried: int = 0
    recovered: int = 0
    requeued: int = 0
    dropped: int = 0
    overflow: int = 0
    paused: bool = False

    def difference(self) -> int:
        """Accepted messages that are in no place; 0 unless the broker lost data."""
        kept = self.done + self.queued + self.in_flight + self.delayed + self.dead
        return self.accepted - kept - self.expired - self.dropped - self.overflow


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message given up: its number in the queue, when (ms since 1970), why, how often started, and its raw bytes."""

    number: int
    at: int
    reason: str
    attempts: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Group:
    """A durable group, `name` being topic/group: how many events it keeps, those in hand or given up among them; the
    bytes of those that wait; how many may; and how many seconds ago somebody who consumes it was heard of last (None:
    never). `joined`: it gets what is published."""

    name: str
    kept: int
    bytes: int
    limit: int | None
    idle: float | None
    joined: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Where a message lies: `place` is queued, desk, delayed, dead, or reply for a reply that waits on a caller's list;
    `detail` how many are before it, the consumer, when it is due (ms since 1970), the letter's number, or nothing."""

    queue: str
    place: str
    detail: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """The broker's answer to an instance that asks for a lease. `token` is the fencing token; 0 says that another
    instance has the lease. A token other than at the last call says that the lease had ended in between. `done` is how
    many seconds ago an instance last did the work that the lease is for; None: never. `at` is the broker's time in ms
    since 1970. `stands` is the lease that stands, on whose grounds the next call is made."""

    token: int
    done: float | None
    at: int = 0
    stands: str = ""


Step = Literal["keep", "replace", "again", "pushed", "begin", "end", "fail"]


@dataclass(frozen=True, slots=True)
class Unique:
    """One step of the only job that waits or runs under `key`, taken on behalf of the job `id`.

    keep, replace, again    `raw` is to be the job under the key, for `seconds`, unless there is one. One that waits is
                            kept, or gets what `raw` asks for in its place; one that runs is kept, or followed by `raw`.
                            `at` is when that was asked for, ms since 1970: of two replacements the later one holds
    pushed                  the job is in its queue
    begin                   a worker, which calls itself `raw`, begins it; it was started `at` times before
    end, fail               it is over: done or cancelled, or given up
    """

    key: str
    step: Step
    id: str
    raw: bytes = b""
    at: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """Where on this host a broker is met, and as whom; without a password as nobody in particular."""

    path: str
    user: str
    password: str


class Broker(ABC):
    """Where queues are kept: what `connect` gives, and producers, consumers and callers are made of.

        broker = connect("redis://localhost")
        link = broker.link("look")
        (counts,) = await link.counts(["orders"])
        await link.close()

    `url` is its address; `shown` is what the log calls it, which holds no password; brokers of one `place` are the
    same, however their addresses are written. Nothing is connected until
    something is asked. All who use it share its `outage`, whose `length` is for how many seconds it has been away, 0.0
    while it is there, and its `time`. Threads may share a broker, but no link. A link raises BrokerAway when there is
    no answer, which `Link.persist` waits for, and BrokerRefused when an operator must act.
    """

    in_process: ClassVar[bool] = False  # it lives in one event loop, which all who use it must share

    def __init__(self, url: str, shown: str) -> None:
        self.url = url
        self.shown = shown
        self.place: Hashable = url
        self.outage = Outage(f"broker {shown}")
        self.time = BrokerTime()
        self.met = False  # whether it was ever reached
        self.socket: UnixSocket | None = None  # if that is its address
        self.set_name = ""  # what Sentinels call it, if its address is theirs

    @classmethod
    @abstractmethod
    def at(cls, url: str, durable: bool) -> Broker:
        """The broker at this address, as `connect` gives it. Raises ValueError for an address that is none."""

    @abstractmethod
    def link(self, name: str) -> Link:
        """A connection of its own for the loop called `name`; it connects when first used."""

    async def fail_over(self, login: str = "") -> tuple[str, str]:
        """Have the Sentinels of a set name another master, which has all that was acknowledged: where the master was,
        and where it is now. `login` is `user:password` of who may order it of them, percent-encoded; empty: anybody
        may. Raises BrokerAway and BrokerRefused: the master is as it was."""
        raise BrokerRefused(f"{self.outage.what} is one server: there is none that could take over")


class Link(Persistent, ABC):
    """One connection to a broker; not for two callers at once."""

    def __init__(self, broker: Broker, name: str) -> None:
        super().__init__(broker.outage, name)
        self.broker = broker

    async def _following(self, call: Callable[[str], Awaitable[T]], stands: str = "") -> T:
        """What `call` answers when it follows what stands, which the broker tells if it is not as thought."""
        while True:
            try:
                return await call(stands)
            except Stale as stale:
                stands = stale.stands

    @abstractmethod
    async def ping(self) -> None:
        """A sign of life."""

    @abstractmethod
    async def clock(self) -> int:
        """The broker's time, ms since 1970; its `time` learns of it."""

    @abstractmethod
    async def push(self, producer: str, room: Room, batches: Sequence[Batch]) -> list[BrokerError | None]:
        """Append each batch to its queue unless it has no room, or to its topic's groups; what is for later is delayed.

        Returns in each batch's place None, or why it was refused (QueueFull, BrokerRefused). A batch whose number
        was seen from this producer is answered like the first time, without effect.
        """

    async def take(self, queue: str, consumer: str) -> tuple[str, int]:
        """Take the consumer's desk: its new fencing token, and how many messages a predecessor left there."""
        return await self._following(lambda stands: self.take_if(queue, consumer, stands))

    @abstractmethod
    async def take_if(self, queue: str, consumer: str, stands: str) -> tuple[str, int]:
        """The same if that token stands (empty: none). Raises Stale."""

    @abstractmethod
    async def claim(self, queue: str, consumer: str, token: str, claim: Claim, attempts: int = ATTEMPTS) -> Claimed:
        """Do a claim: what it brought. Raises Voided, Superseded."""

    @abstractmethod
    async def wait(self, queue: str, consumer: str, timeout: float) -> bytes | None:
        """Wait for a message, which is then on the desk. After BrokerAway the desk must be taken again.

        Raises QueueFull when the broker has no room to let anybody wait; `claim` works even then.
        """

    async def stand_by(self, queue: str, timeout: float) -> bool:
        """Wait for the bell of a queue: whether it rang. A late copy takes a ring away, and the next push rings again.
        Only asked where a claim has said STANDING_BY."""
        raise NotImplementedError

    @abstractmethod
    async def leave(self, queue: str, consumer: str, token: str, unhandled: bool = False) -> int:
        """Give the desk up, its messages going back to the head of the queue: how many. `unhandled`: what was handed
        out last was not handled, so that where its start was counted, it is taken back."""

    @abstractmethod
    async def recover(self, queue: str, silence: float) -> list[tuple[str, int]]:
        """Return desks of consumers that were silent for `silence` seconds to the head of the queue: (consumer,
        messages). Only when they could be heard as long: when somebody has called this without a gap of half that time.
        Consumers that were silent for FORGET are forgotten."""

    @abstractmethod
    async def reply(self, name: str, replies: Sequence[bytes]) -> None:
        """Append replies to a caller's list."""

    @abstractmethod
    async def fetch(self, names: Sequence[str], timeout: float, most: int = FETCH_MAX) -> list[bytes]:
        """Wait for replies on one of a caller's lists and take up to `most` off it; empty when none came in time. After
        BrokerAway a late copy may take what comes there, and nobody gets it: ask for no more replies on them."""

    async def join(self, topic: str, group: str, limit: int) -> bool:
        """Make the durable group, queue topic/group, which keeps the newest `limit` events from now on; whether there
        was none."""
        return await self._following(lambda stands: self.join_if(topic, group, limit, stands))

    @abstractmethod
    async def join_if(self, topic: str, group: str, limit: int, stands: str) -> bool:
        """The same in that epoch of the queue, if there is something to change. Raises Stale."""

    async def part(self, topic: str, group: str) -> None:
        """No further events for the group; those it has stay."""
        await self._following(lambda stands: self.part_if(topic, group, stands))

    @abstractmethod
    async def part_if(self, topic: str, group: str, stands: str) -> bool:
        """The same in that epoch of the queue, if there is something to change: whether there was. Raises Stale."""

    async def forget(self, topic: str, group: str) -> bool:
        """Delete the group, and all that it keeps; False when there is none. Its next consumer makes it anew."""
        return await self._following(lambda stands: self.forget_if(topic, group, stands))

    @abstractmethod
    async def forget_if(self, topic: str, group: str, stands: str) -> bool:
        """The same in that epoch of the queue. Raises Stale."""

    @abstractmethod
    async def groups(self) -> list[Group]:
        """The durable groups of all topics, and those that nobody has joined any more but that keep something."""

    @abstractmethod
    async def listen(self, topics: Sequence[str], timeout: float) -> tuple[str, bytes] | None:
        """The next live (topic, event) of `topics`, which stay the same in all calls; None when none came in time."""

    @abstractmethod
    async def counts(self, queues: Sequence[str]) -> list[Counts]:
        """Each queue's figures."""

    @abstractmethod
    async def admit(self, family: str, asker: str, number: int, limits: Sequence[Limit], back: bool = False) -> float:
        """Count in each limit of the family that something happens, and return 0.0; or, if one of them does not admit
        it, count nothing and return the seconds until all would. `back`: take back what was counted.

        `asker`, whose name nobody else has, numbers its calls upwards; a number that was seen counts nothing.
        """

    @abstractmethod
    async def enter(self, queue: str, asker: str, number: int, entry: Entry) -> int:
        """Whether a message of the queue may be begun: 0, and it has the slots that it needs; or when it is to come
        again, ms since 1970, unless it is called before. `asker` numbers its calls as those of `admit`."""

    @abstractmethod
    async def exit(self, queue: str, asker: str, number: int, entry: Entry) -> None:
        """It is over: give back the slots that it got by the call of that number. Who waits for one is called."""

    async def lease(self, name: str, owner: str, seconds: float, done: int | None = None, stands: str = "") -> Lease:
        """Take the lease of that name for `seconds` from now, or keep it, unless another owner has it; 0 gives it up.
        `done`: when what it is for was done, as `Lease.at`. `stands`: that of the last answer, if there was one."""
        return await self._following(lambda stands: self.lease_if(name, owner, seconds, done, stands), stands)

    @abstractmethod
    async def lease_if(self, name: str, owner: str, seconds: float, done: int | None, stands: str) -> Lease:
        """The same if that lease stands. Raises Stale."""

    @abstractmethod
    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        """Take a step of a unique job of the queue. The answer is the id of the job that stands under the key, and its
        message if that is not known to be in the queue: somebody must push it, then take the step `pushed`. The answer
        to `begin` is no id for a copy of a job that is over or runs elsewhere, and a message that holds in its place
        what the job is asked for now."""

    @abstractmethod
    async def about(self) -> dict[str, str]:
        """The broker's words about itself: the fields of Redis' INFO, and its setting `appendfsync` if we may ask."""

    async def replication(self) -> Replication:
        """What each of the broker's servers says: which is the master, which follow it, whom Sentinels name. It never
        raises for one that does not answer, and asks over connections of its own."""
        return Replication()

    async def server_times(self) -> list[BrokerTime]:
        """The clock of each of the broker's servers, of those that say what it is. It never raises for one that does
        not."""
        return []

    @abstractmethod
    async def route(self) -> str:
        """What `set_route` has put there last; empty: nothing."""

    @abstractmethod
    async def set_route(self, route: str) -> None:
        """Have the broker keep by which brokers queues go, as the service writes it. A late copy puts back what it
        says: who starts then is refused, and an operator told."""

    @abstractmethod
    async def queues(self) -> list[str]:
        """The names of all queues that were ever used, groups of topics among them."""

    @abstractmethod
    async def find(self, text: bytes) -> list[Found]:
        """Where messages and replies lie that hold this text. It looks at all of them: for people."""

    @abstractmethod
    async def dead(self, queue: str, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Dead letters numbered above `after`, oldest first."""

    @abstractmethod
    async def requeue(self, queue: str, number: int) -> bool:
        """Put a dead letter back at the end of its queue; False when there is none of that number."""

    async def pause(self, queue: str) -> bool:
        """Let consumers take nothing more from the queue, until it is resumed; False when it was paused already. Pushes
        go on, and what is on desks is finished."""
        return await self._following(lambda stands: self.pause_if(queue, stands))

    @abstractmethod
    async def pause_if(self, queue: str, stands: str) -> bool:
        """The same in that epoch of the queue, if it is not paused. Raises Stale."""

    async def resume(self, queue: str) -> bool:
        """Undo `pause`; False when the queue was not paused."""
        return await self._following(lambda stands: self.resume_if(queue, stands))

    @abstractmethod
    async def resume_if(self, queue: str, stands: str) -> bool:
        """The same in that epoch of the queue, if it is paused. Raises Stale."""

    @abstractmethod
    async def drop(self, queue: str, number: int) -> bool:
        """Delete a dead letter; False when there is none of that number."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connection."""
