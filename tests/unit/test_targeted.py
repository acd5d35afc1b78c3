"""A user's many targets: those that find no place come again."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

from gorgond.app.notifying import SEND, send_args
from gorgond.app.webhooks import Webhook
from gorgond.notifiers.delivering import Server
from gorgond.notifiers.pace import Pace
from gorgond.notifiers.targeted import AT_ONCE, TRIES, Targeted
from gorgond.notifiers.webhook import WebhookNotifier
from gorgond.redpill import DONE, Message

USER = "1000000001"


class Pushed:
    """A notification server, which keeps when what is pushed is due."""

    def __init__(self) -> None:
        self.due: list[int] = []
        self.tries: list[int] = []

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        assert queue == "notify_put:push"
        assert at is not None
        self.due.append(at)
        self.tries.append(message.args[TRIES])


async def test_those_that_find_no_place_do_not_come_again_at_the_same_moment() -> None:
    # given a user to whom as many are on their way as may be
    server, notifier = Pushed(), WebhookNotifier("push", Webhook(kind="webhook"))
    channel = Targeted(notifier, cast(Any, None), cast(Server, server), cast(Pace, None), "")
    with ExitStack() as under_way:
        for _ in range(AT_ONCE):
            under_way.enter_context(channel._places.place(USER))
        # when others come, of which none finds a place
        for number in range(30):
            args = send_args(f"n{number}", USER, "k", "K", {}, 0) | {"target": "t", TRIES: 4}
            assert await channel.handle(Message(SEND, args)) == DONE
    # then they come again one by one: all at once they would find as few
    assert server.tries == [5] * 30
    assert max(server.due) - min(server.due) > 4000
