"""All drills by name, in the order in which `drill --all` runs them."""

from __future__ import annotations

from gorgond.chaos.drill import Drill
from gorgond.chaos.drills import broker, network, roles, room, soak, store

_ALL = (broker, room, roles, store, network, soak)
DRILLS: dict[str, Drill] = {drill.name: drill for each in _ALL for drill in each.DRILLS}
