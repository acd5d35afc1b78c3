"""The copies of the broker that there are, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gorgond.commands.operator.installation import Installation
from gorgond.commands.operator.replication import replication_lines
from gorgond.stats.replication import ReplicationHealth, reasons, stops


async def look(installation: Installation) -> dict[str, Any]:
    """The servers of the durable broker, each asked itself, as a row of the picture. Raises GorgonError."""
    link, health = installation.connect().durable.link("gorgonctl"), ReplicationHealth()
    try:
        health.hear(await link.replication())
    finally:
        await link.close()
    return health.row()


def holds(found: Mapping[str, Any]) -> list[str]:
    """What hurts, and what may happen without harm, in words."""
    return [*stops(found), *reasons(found), *([found["holds"]] if found["holds"] else [])]


def lines(found: Mapping[str, Any]) -> list[str]:
    """All of it."""
    return [*stops(found), *reasons(found), *replication_lines(found)]
