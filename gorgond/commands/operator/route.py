"""Which queues go over a broker of their own: what the configuration of this host says, what all hosts have agreed on,
and what lies where."""

from __future__ import annotations

from typing import Any

from gorgond.commands.operator import text
from gorgond.commands.operator.brokers import open_links
from gorgond.commands.operator.installation import Installation
from gorgond.redpill import Counts
from gorgond.service import routing
from gorgond.service.fabric import topic_of
from gorgond.stats.queues import together

Row = dict[str, Any]


async def route(installation: Installation) -> Row:
    """All that is known of it:

        {"route": what this host's configuration says, "agreed": what the hosts have agreed on,
         "queues": [{"queue", "broker", "pushed": whether that is where it is pushed, "holds": messages there}]}

    Raises GorgonError.
    """
    fabric = installation.connect()
    rows = []
    async with open_links(fabric) as links:
        agreed = await links["durable"].route()
        for name, broker in fabric.named.items():
            queues = await links[name].queues()
            for routed in fabric.routes:
                here = [each for each in queues if topic_of(each) == routed]
                held = _held(together(await links[name].counts(here) if here else []))
                carriers = {fabric.carrier(routed, usual) for usual in fabric.main}
                if broker in carriers or held:
                    rows.append({"queue": routed, "broker": name, "pushed": broker in carriers, "holds": held})
    return {"route": fabric.route, "agreed": agreed, "queues": sorted(rows, key=lambda row: str(row["queue"]))}


def _held(counts: Counts) -> int:
    return counts.queued + counts.in_flight + counts.delayed + counts.dead


async def agree(installation: Installation) -> list[str]:
    """Have all hosts agree on what the configuration of this one says; what was done, in words. Raises GorgonError."""
    fabric = installation.connect()
    made = await routing.agree(fabric)
    return [
        *(f"made the group {each}" for each in made),
        f"all hosts have agreed on {fabric.route or 'no routes'}: gorgonctl restart on each",
    ]


def route_lines(found: Row) -> list[str]:
    """The lines of `gorgonctl route`."""
    lines = []
    if found["queues"]:
        rows = [
            (row["queue"], row["broker"], text.count(row["holds"]), "" if row["pushed"] else "is drained")
            for row in found["queues"]
        ]
        lines = text.table(("queue", "broker", ">holds", ""), rows)
    if found["route"] == found["agreed"]:
        return [*lines, "all hosts have agreed on it" if lines else "no queue has a route, and the hosts agree"]
    return [
        *lines,
        f"this host says  {found['route'] or 'no routes'}",
        f"agreed is       {found['agreed'] or 'no routes'}",
        "once all hosts say the same: gorgonctl route agree, then gorgonctl restart on each",
    ]
