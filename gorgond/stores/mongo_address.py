"""What the address of a MongoDB may not say: that a write is stored before a majority has it on disk.

Our own settings go before those of an address; so one that says otherwise would be passed over without a word.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from gorgond.errors import ConfigError

DEMANDED = {"w": ("majority", "more than half of the replica set has it"), "journal": ("true", "it is on their disks")}
ALIASES = {"j": "journal"}


def demand_majority(url: str) -> None:
    """Raises ConfigError, which says what to write, for one that says otherwise."""
    for name, value in parse_qsl(url.partition("?")[2].replace(";", "&"), keep_blank_values=True):
        option = ALIASES.get(name.lower(), name.lower())
        if option in DEMANDED and value != DEMANDED[option][0]:
            demanded, why = DEMANDED[option]
            raise ConfigError(
                f"its address says {name}={value}; what is stored counts when {why}: say {option}={demanded}, or "
                "nothing of that"
            )
