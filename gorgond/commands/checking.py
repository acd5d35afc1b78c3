"""`gorgond config --check`: all that is wrong with the configuration, at once.

Beside each value by itself: what the drivers say of the addresses, and what does not fit together. Nothing is connected
for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from gorgond.auth.sites import check_sites
from gorgond.commands.secrets import CREDENTIALS
from gorgond.config import Config, draft
from gorgond.errors import ConfigError, Mistakes
from gorgond.roles import COMMANDS
from gorgond.service.fabric import calls_broker, durable_broker, routed_brokers
from gorgond.stats.visitors import check_address
from gorgond.stores import open_store

ALL_ADDRESSES = ("", "0.0.0.0", "::")  # noqa: S104 - we only compare


def check(path: str | None, environ: Mapping[str, str]) -> None:
    """Check the configuration of the file at `path` and the other places. Raises ConfigError with all that is wrong."""
    mistakes = Mistakes()
    config = draft(path, environ, {}, mistakes)
    signed = ("broker.user", "broker.password")
    main = []
    with mistakes.collect(needs=("broker.url", *signed)):
        main.append(durable_broker(config))
    if config.broker.calls:
        with mistakes.collect(needs=("broker.calls", *signed)):
            main.append(calls_broker(config))
    with mistakes.collect(needs=("broker.url", "broker.calls", "broker.route", *signed)):
        routed_brokers(config, main)
    with mistakes.collect(needs=("store.url",)), config.blaming("store", "url"):
        open_store(config.store.url).close()
    for name in config.instances.provider.split():
        with mistakes.collect(), config.blaming("instances", "provider"):
            config.provider(name)
    if not _has_credential("stats.password"):
        with mistakes.collect(needs=("stats.address", "stats.password")):
            check_address(config)
    _check_ports(config, mistakes)
    check_sites(config, mistakes)
    mistakes.tell()


def _check_ports(config: Config, mistakes: Mistakes) -> None:
    """Two roles cannot listen on the same port of the same address."""
    for one, other in combinations([role.name for role in COMMANDS.values() if role.unit.port], 2):
        here, there = getattr(config, one), getattr(config, other)
        shared = here.address == there.address or here.address in ALL_ADDRESSES or there.address in ALL_ADDRESSES
        places = [f"{role}.{key}" for role in (one, other) for key in ("address", "port")]
        with mistakes.collect(needs=places), config.blaming(other, "port"):
            if here.port == there.port != 0 and shared:
                raise ConfigError(f"{there.port} is that of [{one}] too, at {config.origin(one, 'port')}")


def _has_credential(place: str) -> bool:
    """Whether systemd has this setting for the unit that needs it; or might, where we may not look."""
    try:
        (CREDENTIALS / f"gorgond.{place}").stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
