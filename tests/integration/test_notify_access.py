"""A notification server under its own name in Redis: it may do its work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from gorgond.redpill import Message, Producer, connect, now_ms
from gorgond.service.access import OPERATOR
from tests.integration.mail import MailServer
from tests.integration.telling import COMMENT
from tests.integration.test_access import Guarded, guarded, serving
from tests.integration.test_notify_kills import inbox
from tests.programs import asked
from tests.waiting import eventually_async

__all__ = ["guarded"]


async def test_a_notification_server_may_do_its_work(guarded: Callable[[], Guarded], tmp_path: Path) -> None:
    server = guarded()
    server.start()
    try:
        with MailServer().running() as mail:
            # given all that have to do with notifications, each under its own name, and a user
            conf = tmp_path / "gorgond.conf"
            conf.write_text(f"[notify.email]\nurl = {mail.url}\n")
            user = {"id": "1000000001", "name": "Ann", "email": "ann@notes.example", "authtokens": {"since": 0}}
            async with serving(
                server, tmp_path, ("web", "app", "store", "notify"), "tests.integration.telling", str(conf)
            ) as url:
                async with Producer(connect(server.address(OPERATOR)), "test") as producer:
                    await producer.push("auth_store_put", Message("users.insert", {"documents": [user]}))
                # when the user is notified, at once and later
                for at in (None, now_ms() + 500):
                    what = json.dumps({"user": user["id"], "kind": COMMENT, "at": at}).encode()
                    assert await asyncio.to_thread(asked, f"{url}/tell", what)
                # then it could, and nobody was refused anything
                await eventually_async(lambda: len(mail.mails) == 2)
                await eventually_async(lambda: len(inbox(f"sqlite:///{tmp_path}/test.db", str(user["id"]))) == 2)
        assert server.cli("ACL", "LOG") == ""
    finally:
        server.close()
