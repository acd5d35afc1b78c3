"""All drills by name, in the order in which `drill --all` runs them."""

from __future__ import annotations

from gorgond.chaos.drill import Drill
from gorgond.chaos.drills import broker, roles

DRILLS: dict[str, Drill] = {drill.name: drill for drill in (*broker.DRILLS, *roles.DRILLS)}
