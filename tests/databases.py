"""The databases that there are drivers for: what holds for one holds for each."""

from __future__ import annotations

from gorgond.stores.drivers import DRIVERS

SCHEMES = list({place: scheme for scheme, place in [*DRIVERS.table.items()][::-1]}.values())
"""A scheme of each driver; who needs such a database says in a fixture how to come by it."""
