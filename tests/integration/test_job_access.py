"""An app server under its own name in Redis: it may do jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.test_access import Guarded, guarded, serving
from tests.programs import asked
from tests.waiting import eventually_async

__all__ = ["guarded"]


async def test_an_app_server_may_do_jobs(guarded: Callable[[], Guarded], tmp_path: Path) -> None:
    server = guarded()
    server.start()
    try:
        async with serving(server, tmp_path, ("web", "auth", "app", "store"), "tests.integration.jobbing") as url:
            # when jobs are enqueued in each way, and cancelled
            for name, options in (
                ("note", {"what": "a"}),
                ("note", {"what": "b", "unique": "k", "delay": "100ms"}),
                ("first", {"what": "c"}),
                ("long", {}),
            ):
                answer = await asyncio.to_thread(asked, f"{url}/enqueue/{name}", json.dumps(options).encode())
                id = json.loads(answer or b"{}")["job"]

            async def has_run(*wanted: list[Any]) -> bool:
                answer = await asyncio.to_thread(asked, f"{url}/ran")
                ran = json.loads(answer or b"[]")
                return all(each in ran for each in wanted)

            await eventually_async(lambda: has_run(["long", 6000, 1]))
            assert await asyncio.to_thread(asked, f"{url}/cancel/{id}", b"") is not None
            # then it could, and nobody was refused anything
            notes = [["note", what, 1] for what in "abc"]
            await eventually_async(lambda: has_run(["cancelled", 6000, 1], *notes))
        assert server.cli("ACL", "LOG") == ""
    finally:
        server.close()
