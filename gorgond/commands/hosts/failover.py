"""A planned failover, by an operator."""

from __future__ import annotations

from urllib.parse import quote

from gorgond.commands.operator.installation import Installation
from gorgond.commands.secrets import password
from gorgond.service.access import SENTINEL


async def fail_over(installation: Installation) -> tuple[str, str]:
    """Have another host's Redis be the master, without a request that fails: where the master was, and where it is now.
    Raises BrokerAway and BrokerRefused."""
    known = password(SENTINEL)
    login = f"{SENTINEL}:{quote(known, safe='')}" if known else ""
    return await installation.connect().durable.fail_over(login)
