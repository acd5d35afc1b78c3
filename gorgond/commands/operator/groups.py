"""The durable groups of topics: what each keeps, and since when nobody has taken anything from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gorgond.commands.operator import text
from gorgond.commands.operator.brokers import open_links
from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.redpill import SILENCE, Group
from gorgond.service.words import counted


async def groups(installation: Installation) -> list[Group]:
    """Those of all topics, by name. Raises GorgonError."""
    async with open_links(installation.connect()) as links:
        found = [each for link in links.values() for each in await link.groups()]
    return sorted(found, key=lambda each: each.name)


async def drop(installation: Installation, names: Sequence[str]) -> list[str]:
    """Delete these groups, topic/group, with all that they keep; what was done, in words. Raises GorgonError, when one
    is not there or somebody consumes it, before anything is done."""
    async with open_links(installation.connect()) as links:
        there = {broker: {each.name: each for each in await link.groups()} for broker, link in links.items()}
        for name in names:
            found = [some[name] for some in there.values() if name in some]
            if not found:
                known = sorted({each for some in there.values() for each in some})
                raise GorgonError(f"there is no group {name}; there are {' '.join(known) or 'none yet'}")
            if any(each.idle is not None and each.idle < SILENCE for each in found):
                raise GorgonError(f"{name} is consumed: stop what consumes it first, or it makes the group anew")
        said = []
        for name in names:
            topic, _, group = name.partition("/")
            kept = sum(some[name].kept for some in there.values() if name in some)
            for broker, link in links.items():
                if name in there[broker]:
                    await link.forget(topic, group)
            said.append(f"the group {name} is dropped, and the {counted(kept, 'event')} that it kept")
    return said


def group_rows(found: Sequence[Group]) -> list[dict[str, Any]]:
    """For programs."""
    return [asdict(each) for each in found]


def group_table(found: Sequence[Group]) -> list[str]:
    """The lines of `gorgonctl groups`."""
    if not found:
        return ["there are no groups"]
    rows = []
    for each in found:
        idle = "never consumed" if each.idle is None else "consumed"
        if each.idle is not None and each.idle >= SILENCE:
            idle = f"by nobody for {text.duration(each.idle)}"
        limit = "" if each.limit is None else text.count(each.limit)
        rows.append((each.name, text.count(each.kept), text.size(each.bytes), limit, idle if each.joined else "parted"))
    return text.table(("group", ">keeps", ">memory", ">at most", "consumed"), rows)
