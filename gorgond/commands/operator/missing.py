"""What the stats servers miss, and are told to miss no more: instances, and what a broker has lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.commands.operator.brokers import PATIENCE
from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.redpill import Message, Producer
from gorgond.stats.instances import MISSING
from gorgond.stats.verdict import gone_hosts


def missing(picture: Mapping[str, Any]) -> list[str]:
    """The names of what is missed: of instances, and of brokers that have lost something."""
    instances = [each["name"] for each in picture["instances"] if each["state"] in MISSING]
    return [*instances, *(each["name"] for each in picture["redis"] if each.get("lost") or each.get("deaf"))]


async def forget(installation: Installation, picture: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Have them miss these no more, of a host that is gone all its instances; what was done, in words. Raises
    GorgonError, when one of them is not missed, before anything is done."""
    hosts = {host: [each["name"] for each in some] for host, some in gone_hosts(picture["instances"]).items()}
    there = [*hosts, *missing(picture)]
    for name in names:
        if name not in there:
            raise GorgonError(f"{name} is not missed; what is: {' '.join(there) or 'nothing'}")
    each = [one for name in names for one in hosts.get(name, [name])]
    async with asyncio.timeout(PATIENCE), Producer(installation.connect().calls, "gorgonctl") as producer:
        await producer.publish("stats", *(Message("stats.forget", {"name": name}) for name in each))
    return [f"{name} is missed no more" for name in names]
