"""`gorgond ROLE`: one instance of a role as this process."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING

from gorgond.commands.flags import settings_of
from gorgond.config import Config, load
from gorgond.errors import ConfigError
from gorgond.roles import ROLES
from gorgond.roles.row import Role

if TYPE_CHECKING:
    from gorgond.service.life import Service

INSTANCE = r"[A-Za-z0-9_-]{1,32}"


def serve(arguments: argparse.Namespace) -> int:
    """Run it until it is told to end; the exit code. Raises ConfigError when its name cannot be one."""
    from gorgond.service.last_word import tell_failed
    from gorgond.service.log import set_up
    from gorgond.service.machine import host_name
    from gorgond.service.process import report_refusal, run_process

    role = ROLES[arguments.role]
    if "mode" in arguments:
        role = ROLES.get(f"{role.name}-{arguments.mode}", role)
    instance = arguments.name if role.section else _chosen_instance(arguments.instance)
    flags = settings_of(arguments, f"provider.{instance.partition('.')[0]}")

    def read() -> Config:
        return load(arguments.config, os.environ, flags)

    try:
        config = read()
    except ConfigError as error:
        return report_refusal(error)
    set_up(config.log.level, config.log.format, f"{role.name}@{instance}")
    name = f"{role.name}@{instance}.{host_name()}"
    return run_process(
        lambda: _make(role, config, instance), read, lambda why: tell_failed(config, name, why)
    )  # fmt: skip


def _make(role: Role, config: Config, instance: str) -> Service:
    from gorgond.roles.making import make
    from gorgond.service.fabric import connect_fabric

    service = make(role, config, connect_fabric(config), instance)
    if role.finishes:
        from gorgond.commands.progress import Bar

        service.progress = Bar("pushed").show
    return service


def _chosen_instance(instance: str | None) -> str:
    origin = "--instance"
    if instance is None:
        origin, instance = "GORGOND_INSTANCE", os.environ.get("GORGOND_INSTANCE", "1")
    if not re.fullmatch(INSTANCE, instance):
        raise ConfigError(f"{origin} cannot be {instance!r}; allowed: 1 to 32 letters, digits, _ and -")
    return instance
