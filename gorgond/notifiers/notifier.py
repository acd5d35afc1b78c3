"""The contract between the notification server and a channel. A kind of channel is a class of this contract:

class PagerNotifier(Notifier):
    settings = Pager                  # a dataclass: a Notify with settings of its own
    in_hand = 4

    async def send(self, notification, recipient):
        answer = await self._post(notification.title, id=notification.id)
        if answer.status >= 500:
            raise NotSent(f"the pager says {answer.status}")
        if answer.status >= 400:
            raise Undeliverable(f"the pager says {answer.status}")
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, Self

from gorgond.redpill import Message
from gorgond.settings import Notify


class Brief(NamedTuple):
    """A notification in short: its subject, a text, and where it leads; the last two may be empty."""

    subject: str
    text: str
    url: str


class Notification(NamedTuple):
    """What somebody is to know. `id` is the same whenever it is sent again; `at` is since when, ms since 1970; `data`
    is any JSON value."""

    id: str
    user: str
    kind: str
    title: str
    data: Any
    at: int

    @classmethod
    def of(cls, message: Message) -> Self:
        """That in a message. Raises KeyError for one that has none."""
        return cls(*(message.args[name] for name in cls._fields))

    def brief(self, site: str) -> Brief:
        """What it says, as far as its data says that. It leads to an address of the web, or to a page of the website,
        whose address is `site`, if that is known."""
        said = self.data if isinstance(self.data, dict) else {}
        subject, text, url = (str(said.get(name) or "") for name in ("title", "text", "url"))
        if url.startswith("/") and not url.startswith(("//", "/\\")):
            url = site + url
        elif not url.startswith(("https://", "http://")):
            url = ""
        return Brief(subject or self.title, text, url)


class Recipient(NamedTuple):
    """Who gets it. `email` is empty where there is none, or none that its user has confirmed. `unsubscribe` is the
    address at which the user is sent no more of its kind over this channel, empty where nobody can do without; `site`
    that of the website; both are empty where nobody has said what it is. `target` is the document of the one among the
    user's targets to which it is to be sent, where a channel has such; `name` and `email` are empty then."""

    user: str
    name: str
    email: str
    unsubscribe: str
    site: str
    target: Mapping[str, Any] = MappingProxyType({})


class Keys(Protocol):
    """The notification server, for a notifier that signs what it sends."""

    async def kept_key(self, public: str, private: str) -> str:
        """The private key that all notification servers have: this one, if there was none. Raises what asking the store
        raises."""


class Notifier(ABC):
    """One channel, made with its settings when the notification server starts."""

    settings: ClassVar[type[Notify]] = Notify
    """What [notify.NAME] has of this kind."""
    in_hand: ClassVar[int] = 16
    """How many are sent at the same time."""
    targets: ClassVar[str] = ""
    """Where a user may have several targets, endpoints or browsers: the collection of their documents, whose ids are
    the user's, a colon and the target's own. Empty: each user is one."""
    loud: ClassVar[bool] = False
    """Whether people are disturbed by it: they may have quiet hours, and be told of several things together."""
    schedule: ClassVar[Sequence[float]] = ()
    """Where a target may fail for days: the seconds after which a notification is tried again, one after each failure.
    Empty: as long and as often as others are."""

    def __init__(self, name: str, settings: Any) -> None:
        self.name = name

    def reaches(self, recipient: Recipient) -> bool:
        """Whether it can be sent to such a one at all."""
        return True

    def wants(self, target: Mapping[str, Any], notification: Notification) -> bool:
        """Whether a notification is to be sent to this one of its user's targets at all."""
        return True

    async def open(self, keys: Keys) -> None:  # noqa: B027 - most need nothing
        """Fetch what it needs before it can send. It is asked again until it raises nothing."""

    @abstractmethod
    async def send(self, notification: Notification, recipient: Recipient) -> None:
        """Send it. It may be asked again for the same one, by its id, when this process died before that was noted.

        Raises NotSent to be asked again later, for some days, and Undeliverable when that would be in vain; TargetGone
        when its target wants nothing any more. After any other error it is asked again.
        """

    async def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what is open."""
