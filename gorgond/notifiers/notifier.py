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
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

from gorgond.redpill import Message
from gorgond.settings import Notify


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


class Recipient(NamedTuple):
    """Who gets it. `unsubscribe` is the address at which the user is sent no more of its kind over this channel; empty
    where nobody has said what the website's address is. `target` is the document of the one among the user's targets to
    which it is to be sent, where a channel has such; `name` and `email` are empty then."""

    user: str
    name: str
    email: str
    unsubscribe: str
    target: Mapping[str, Any] = MappingProxyType({})


class Notifier(ABC):
    """One channel, made with its settings when the notification server starts."""

    settings: ClassVar[type[Notify]] = Notify
    """What [notify.NAME] has of this kind."""
    in_hand: ClassVar[int] = 16
    """How many are sent at the same time."""
    targets: ClassVar[str] = ""
    """Where a user may have several targets, endpoints or browsers: the collection of their documents, whose ids are
    the user's, a colon and the target's own. Empty: each user is one."""

    def __init__(self, name: str, settings: Any) -> None:
        self.name = name

    def wants(self, target: Mapping[str, Any], notification: Notification) -> bool:
        """Whether a notification is to be sent to this one of its user's targets at all."""
        return True

    @abstractmethod
    async def send(self, notification: Notification, recipient: Recipient) -> None:
        """Send it. It may be asked again for the same one, by its id, when this process died before that was noted.

        Raises NotSent to be asked again later, for some days, and Undeliverable when that would be in vain. After any
        other error it is asked again.
        """

    async def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what is open."""
