"""The contract between a provider and its source. A kind of provider is a class of this contract:

    @dataclass(frozen=True, slots=True)
    class MailSettings(Provider):
        server: str = setting("", matching("a host name, or nothing", r"[\\w.-]*"), "where the mail is")

    class MailSource(Source):
        settings = MailSettings

        async def poll(self, cursor):
            mails, last = await self._fetch(since=cursor or 0)
            return Batch([Item(mail.uid, mail.document) for mail in mails], last, wait=60.0)

A kind can do what its class overrides. Its module is imported by every process, since each checks the whole
configuration; what is heavy is imported when the source is made, which happens in its provider alone. A source runs in
an event loop that others need too: what blocks goes to a thread. An error of a method stops nothing else: a poll is
tried again, later each time; a caller is answered with the error. A ConfigError ends the process until an operator has
mended what it says (exit code 78).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from gorgond.errors import NotFound
from gorgond.settings import Provider

IDLE = 3600.0  # seconds until a source is polled again that has nothing to say
KEY_MAX = 100  # characters of an item's id; a longer one is a digest


class Item(NamedTuple):
    """A document that came from outside. `key` is the source's own name of it, the same whenever it is read again: the
    document's id is made of it, so that each is stored once. An item that changes is told under another key."""

    key: str
    document: Mapping[str, Any]
    collection: str = "items"


class Batch(NamedTuple):
    """The result of a poll: `cursor` is from where the next poll goes on, any JSON value, and `wait` the seconds until
    then. The cursor is kept when the items are, and may be given to a poll twice."""

    items: Sequence[Item]
    cursor: Any = None
    wait: float = 0.0


class Pushed(NamedTuple):
    """A request that somebody outside sent to /hooks/NAME. The names of headers are in lower case; `id` is the same
    when it is told again."""

    id: str
    headers: Mapping[str, str]
    query: str
    body: bytes


class Source:
    """One provider's way to the outside, made with its settings when the provider starts."""

    settings: ClassVar[type[Provider]]
    """What [provider.NAME] has of this kind."""
    network: ClassVar[bool] = True
    """Whether its unit needs the network."""
    remembers: ClassVar[bool] = True
    """Whether its cursor is kept in the store, so that a successor goes on where it was."""

    def __init__(self, name: str, settings: Any) -> None:
        self.name = name
        self.total = 0  # how many items there will be in all; 0: nobody knows
        self.status = ""  # what it says of itself in the status line

    async def poll(self, cursor: Any) -> Batch | None:
        """The items that are new since `cursor`, None the first time. Returns None: there will never be more, and the
        provider ends. One of all instances is asked at a time; it is cancelled when another one may be asked."""
        return Batch((), cursor, IDLE)

    async def get(self, op: str, args: Mapping[str, Any]) -> Any:
        """Fetch something for an application: a JSON value. `op` is what follows the provider's name. Raises Refused
        with the code that is answered."""
        raise NotFound(f"{self.name} answers no {op or 'get'}")

    async def put(self, op: str, args: Mapping[str, Any], id: str) -> Any:
        """Send something for an application: a JSON value. `id` is the same when it is asked again since an answer was
        lost: what has been sent under it is not sent twice. Raises Refused."""
        raise NotFound(f"{self.name} answers no {op or 'put'}")

    async def hook(self, pushed: Pushed) -> Sequence[Item]:
        """The items in what was pushed to /hooks/NAME, which anybody can do. Raises Refused for what is not theirs."""
        return ()

    async def close(self) -> None:
        """Let go of what is open."""


def takes_hooks(kind: type[Source]) -> bool:
    """Whether /hooks/NAME is for providers of this kind."""
    return kind.hook is not Source.hook


def id_of(name: str, key: str) -> str:
    """The id of the document of an item of provider `name`."""
    id = f"{name}:{key}"
    return id if len(id) <= KEY_MAX else f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"
