"""Makes an instance of a row of the table."""

from __future__ import annotations

from importlib import import_module

from gorgond.config import Config
from gorgond.roles.row import Role
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service


def make(role: Role, config: Config, fabric: Fabric, instance: str) -> Service:
    """One instance, whose module is imported now. Raises ConfigError when it cannot be with this configuration."""
    module, _, name = role.path.partition(":")
    made: Service = getattr(import_module(module), name)(config, fabric, instance)
    return made


def instances(role: Role, config: Config, number: int) -> list[str]:
    """The names of so many instances: numbers, or those of its sections. None where it has nothing to do."""
    if role.section:
        return config.names_of(role.section) if number else []
    places = [place.split(".") for place in role.only_with]
    if places and not any(config.settings[section][key].text for section, key in places):
        return []
    return [str(each) for each in range(1, number + 1)]
