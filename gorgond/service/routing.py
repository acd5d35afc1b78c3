"""The routes that all hosts of a fabric have agreed on.

What one host pushes where no other one looks nobody would take. So an instance whose configuration has other routes
does not start.

The durable broker keeps them (`Link.route`). `gorgonctl route agree` puts there those of the configuration of the host
on which it runs, and `gorgond up` its own.
"""

from __future__ import annotations

from gorgond.errors import ConfigError
from gorgond.redpill import KEPT, Broker, Link
from gorgond.service.fabric import Fabric, topic_of


async def check_route(link: Link, ours: str) -> None:
    """Compare the routes of this process with those that its durable broker keeps. Raises ConfigError when they are
    others, BrokerAway."""
    agreed = await link.route()
    if agreed != ours:
        raise ConfigError(
            f"[broker] route is {ours or 'nothing'} here, and the hosts have agreed on {agreed or 'nothing'}: "
            "write the same line on all hosts, then gorgonctl route agree"
        )


async def agree(fabric: Fabric) -> list[str]:
    """Have all hosts agree on the routes of this fabric; the groups that were made for it. Raises BrokerAway,
    BrokerRefused."""
    made = await make_groups(fabric)
    await keep_route(fabric)
    return made


async def make_groups(fabric: Fabric) -> list[str]:
    """Make the durable groups of topics where these have their route, so that no event comes before them; those that
    there were not, with where. Raises the same."""
    link, made = fabric.durable.link("route"), list[str]()
    try:
        groups = await link.groups() if fabric.routes else []
    finally:
        await link.close()
    for topic in fabric.routes:
        carrier = fabric.carrier(topic, fabric.durable)
        if carrier is not fabric.durable:
            joined = [each for each in groups if each.joined and topic_of(each.name) == topic]
            made += await _join(carrier, {each.name: each.limit or KEPT for each in joined})
    return made


async def keep_route(fabric: Fabric) -> None:
    """Have the durable broker keep the routes of this fabric. Raises the same."""
    link = fabric.durable.link("route")
    try:
        await link.set_route(fabric.route)
    finally:
        await link.close()


async def _join(carrier: Broker, limits: dict[str, int]) -> list[str]:
    """Make these groups there; those that there were not."""
    link = carrier.link("route")
    try:
        await link.ping()
        made = []
        for name, limit in limits.items():
            topic, _, group = name.partition("/")
            if await link.join(topic, group, limit):
                made.append(f"{name} at {carrier.shown}")
        return made
    finally:
        await link.close()
