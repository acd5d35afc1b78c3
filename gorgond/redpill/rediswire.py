"""A connection to Redis, and what is said on it, whatever it is: rounds, errors, the end.

One round trip is one write of packed commands and the reading of their answers, under one deadline (`redisprotocol`). A
round that was cut short, by an error or by cancellation, drops the connection: answers left unread would go to the next
caller.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from gorgond.redpill import keys, protocol, script
from gorgond.redpill.broker import Link
from gorgond.redpill.copies import Copies
from gorgond.redpill.errors import BrokerAway, BrokerError, BrokerRefused, Overslept, QueueFull
from gorgond.redpill.logline import log
from gorgond.redpill.meaning import ROUND_TIMEOUT, meaning
from gorgond.redpill.outage import overslept
from gorgond.redpill.redisprotocol import RedisProtocol
from gorgond.redpill.redisserver import DRIVER_ERRORS, RedisServer, fields
from gorgond.redpill.resp import Command

_EXIST: Command = ["SCRIPT", "EXISTS", *(each.sha for each in script.ALL)]
OLDEST_REDIS = (7, 0)
COPY_TIMEOUT = 1.0  # seconds that all replicas have for having what was promised; then fewer are enough
# Goes to all replicas, and to nobody else; it needs no memory and no disk, so nothing refuses it.
_SENT_TO_REPLICAS: Command = ["PUBLISH", keys.KEPT, ""]
_ROLE: Command = ["ROLE"]
_COPIES = "copies"  # what of the broker is away when they have not

# The driver's words and those of a lost connection, none for our own timeout, where somebody listens and gives no
# answer, not even one of TLS.
_NO_ANSWER = re.compile(r"$|Timeout|.*(reading from|Connection (closed|reset))(?!.*\[SSL: )")

_OTHER_SCHEME = {
    "redis": "it speaks TLS: rediss://",
    "rediss": "it speaks no TLS: redis://",
    "sentinel": "it speaks TLS: sentinels://",
    "sentinels": "it speaks no TLS: sentinel://",
}


def _text(answer: bytes | None) -> str:
    return (answer or b"").decode(errors="replace")


def _good(answer: Any) -> Any:
    """The answer, unless it is an error of Redis: that is raised."""
    if isinstance(answer, ResponseError):
        raise answer
    return answer


def not_permitted(answer: Any) -> bool:
    """Whether that is the answer to who has not the right."""
    return isinstance(answer, ResponseError) and str(answer).startswith("NOPERM ")


def _agree(said: str) -> None:
    """Raises BrokerRefused when keys and scripts are of another major version."""
    if why := protocol.refusal(said):
        raise BrokerRefused(why)


def _preflight(about: dict[str, str], broker: RedisServer) -> None:
    """Refuse a Redis that is too old; warn about one that would lose messages, or that another may pass for."""
    version = about.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise BrokerRefused(f"this is Redis {version}; 7.0 or newer is needed")
    if about.get("maxmemory_policy") != "noeviction":
        log.warning("the broker may evict messages: set maxmemory-policy noeviction in its configuration")
    if broker.durable and about.get("aof_enabled") != "1":
        log.warning("the broker loses its messages when it dies: set appendonly yes in its configuration")
    if broker.trusting:
        log.warning("others in the network may pass for the broker: leave %s out of its address", broker.trusting)


def nanoseconds(answer: Sequence[bytes]) -> int:
    """The time in an answer to TIME, in ns since 1970."""
    seconds, microseconds = answer
    return int(seconds) * 1_000_000_000 + int(microseconds) * 1000


def _meaning(error: Exception, limit: asyncio.Timeout) -> BrokerError:
    """redpill's error for one that a round met, which had this limit."""
    if limit.expired() and overslept(limit):
        return Overslept("this process did not run when an answer was due; it connects again")
    return meaning(error)


class RedisWire(Link):
    """One connection to Redis, made when it is needed."""

    broker: RedisServer

    def __init__(self, broker: RedisServer, name: str) -> None:
        super().__init__(broker, name)
        self._connection: RedisProtocol | None = None
        self._copies = Copies(broker.copies, broker.role)
        self._listening: tuple[str, ...] = ()
        self._heard: deque[Any] = deque()  # what came for a listener together with what it was told

    async def _connect(self) -> RedisProtocol:
        connection: RedisProtocol | None = None
        try:
            async with asyncio.timeout(ROUND_TIMEOUT) as limit:
                connection = await self.broker.open()
                about = await self._introduce(connection)
            if about:
                _preflight(fields(about), self.broker)
                self.broker.checked = True
        except BaseException as error:
            if connection is not None:
                connection.end()
            if isinstance(error, DRIVER_ERRORS):
                raise self._unmet(error, limit) from None
            raise
        self._connection = connection
        self._copies = Copies(self.broker.copies, self.broker.role)
        self.note_connection()
        self.broker.met = True
        return connection

    async def _introduce(self, connection: RedisProtocol) -> list[bytes]:
        """Say who we are, and see to it that keys and scripts are those of our version: what Redis says about itself if
        that was not looked at yet."""
        [said] = await connection.ask([["GET", keys.PROTOCOL]], 1, ROUND_TIMEOUT)  # by itself: nobody may be let in yet
        # Where we may not ask, since the broker's users are still those of an earlier gorgond, it is our own.
        version = protocol.VERSION if not_permitted(said) else _text(_good(said))
        _agree(version)
        name = "gorgon:" + "".join(c for c in self.name if "!" <= c <= "~")
        commands: list[Command] = [["TIME"], ["CLIENT", "SETNAME", name], _EXIST]
        if not self.broker.checked:
            commands += [["INFO", section] for section in ("server", "memory", "persistence")]
        asked = time.monotonic_ns()
        at, *answers = await connection.ask(commands, len(commands), ROUND_TIMEOUT)
        if not not_permitted(at):  # as the users of an earlier gorgond may not ask
            self.broker.time.heard(nanoseconds(_good(at)), asked, time.monotonic_ns())
        _, known, *about = map(_good, answers)
        if not all(known):
            await self._load_scripts(connection)
        if protocol.is_outdated(version) and self.broker.may_load:
            await self._note_version(connection, version)
        return about

    def _unmet(self, error: Exception, limit: asyncio.Timeout) -> BrokerError:
        """The error to raise when no connection was made. Where somebody who never answered yet does not answer, it may
        be that one side speaks TLS and the other does not."""
        found = _meaning(error, limit)
        other = _OTHER_SCHEME.get(self.broker.url.partition(":")[0])
        if other is None or self.broker.met or not _NO_ANSWER.match(str(error)):
            return found
        return BrokerAway(f"{found} (perhaps {other})")

    async def _note_version(self, connection: RedisProtocol, said: str) -> None:
        """Put our version there, where none is or an earlier one; nobody waits until somebody has who may."""
        how = ("XX",) if said else ("NX", "GET")  # with GET it says what another one has put there meanwhile
        [answer] = await connection.ask([["SET", keys.PROTOCOL, protocol.VERSION, *how]], 1, ROUND_TIMEOUT)
        if not_permitted(answer):
            self.broker.may_load = False
        elif isinstance(answer, ResponseError):  # it has no room, as for all else
            log.info("%s: the version of keys and scripts is not noted: %s", self.name, answer)
        else:
            _agree("" if said else _text(answer))

    async def _load_scripts(self, connection: RedisProtocol) -> None:
        """Load what Redis does not know. A role that may not load waits until somebody has: raises BrokerAway."""
        async with self.broker.loading():
            [known] = map(_good, await connection.ask([_EXIST], 1, ROUND_TIMEOUT))  # another one may just have
            missing = [each.text for each, there in zip(script.ALL, known, strict=True) if not there]
            if missing and self.broker.may_load:
                commands: list[Command] = [["SCRIPT", "LOAD", text] for text in missing]
                answers = await connection.ask(commands, len(commands), ROUND_TIMEOUT)
                if not any(map(not_permitted, answers)):
                    list(map(_good, answers))
                    return
                self.broker.may_load = False
        if missing:
            raise BrokerAway(
                "it has not the scripts of this version, and only its operator may load them: "
                "gorgon-broker-watch does so on its host, or `gorgonctl secrets` as root"
            )

    async def _reached(self) -> RedisProtocol:
        if self._connection is not None:
            return self._connection
        try:
            return await self._connect()
        except BrokerAway as away:
            away.unsent = True
            raise

    async def _round(
        self, commands: Sequence[Command], blocking: float = 0.0, replies: int | None = None, more: bool = False
    ) -> list[Any]:
        """The answers to `commands`, an error of Redis standing in its command's place; or so many `replies`, and with
        `more` those that came with them."""
        self._asked = time.monotonic()
        connection = await self._reached()
        whole = False
        try:
            count = len(commands) if replies is None else replies
            answers = await connection.ask(commands, count, ROUND_TIMEOUT + blocking, more)
            whole = True
            return answers
        except DRIVER_ERRORS as error:
            raise meaning(error) from None
        finally:
            if not whole:
                await self.close()

    @property
    def _promised(self) -> Callable[[Sequence[Command]], Awaitable[list[Any]]]:
        """A round of what promises something to somebody: it counts when the replicas that must have it have it."""
        return self._kept if self.broker.copies else self._round

    async def _kept(self, commands: Sequence[Command]) -> list[Any]:
        """A round that ends when all replicas that keep step have what it wrote or read, and so many at least. Raises
        BrokerAway when fewer have: it may be repeated, as any round without an answer. Who keeps step the master says
        when it has done it: one that comes back is waited for from then on, or was given it with all else.

        Redis 7.2 and newer wait for what the same connection sent to replicas last, and for all before it. A round that
        finds all done may have sent them nothing, though they do not have yet what it found: so each sends something.
        """
        await self._reached()
        copies, answers = self._copies, list[Any]()
        asked: list[Command] = [*commands, _SENT_TO_REPLICAS]
        while True:
            waiting: Command = ["WAIT", copies.awaited, int(COPY_TIMEOUT * 1000)]
            *more, have, role = await self._round([*asked, waiting, _ROLE], COPY_TIMEOUT)
            answers, asked = answers + more, []
            await self._check_copies(answers[-1], have, role)
            if copies.suffice(have, role):
                self._outage.end(by=_COPIES)
                return answers[:-1]

    async def _check_copies(self, sent: Any, have: Any, role: Any) -> None:
        """Raises BrokerAway unless so many replicas have what was sent as must have it."""
        least, is_master = self.broker.copies, isinstance(role, list) and role[:1] == [b"master"]
        if isinstance(sent, int) and isinstance(have, int) and is_master and have >= least:
            return
        await self.close()
        for answer in (sent, have, role):
            if not_permitted(answer):
                raise meaning(answer)
        odd = [answer for answer in (have, role) if isinstance(answer, ResponseError)]
        what = f"{have} of {least} replicas have what was sent" if is_master else "it is no master any more"
        what = f"Redis says: {odd[0]}" if odd else what
        self._outage.begin(what, by=_COPIES)  # for others it may be there
        raise BrokerAway(what)

    async def _ask(self, command: Command, queue: str = "", blocking: float = 0.0) -> Any:
        return await self._check((await self._round((command,), blocking))[0], queue)

    async def _promise(self, command: Command, queue: str = "") -> Any:
        return await self._check((await self._promised((command,)))[0], queue)

    async def _check(self, answer: Any, queue: str) -> Any:
        """The answer, or its error raised; what must be repeated is repeated on a new connection."""
        if not isinstance(answer, ResponseError):
            return answer
        error = meaning(answer, queue)
        if isinstance(error, BrokerAway):
            await self.close()
        raise error

    async def _persistent(self, command: Command, promises: bool = False) -> Any:
        """The answer to a command that must not fail for want of room: a disk that is full is waited for."""
        try:
            return await (self._promise(command) if promises else self._ask(command))
        except QueueFull as full:
            raise BrokerAway(str(full)) from None

    async def close(self) -> None:
        connection, self._connection, self._listening = self._connection, None, ()
        self._heard.clear()
        if connection is not None:
            connection.end()
