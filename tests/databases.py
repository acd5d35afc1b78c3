"""The databases that there are drivers for: what holds for one holds for each."""

from __future__ import annotations

from gorgond.stores.drivers import DRIVERS

SCHEMES = list({place: scheme for scheme, place in [*DRIVERS.table.items()][::-1]}.values())
"""A scheme of each driver; who needs such a database says in a fixture how to come by it."""

WHOLE = ["mongodb", "sqlite"]
"""Those on which whole fabrics are tried, which takes long: the contract says that the others do the same."""

EARLIER = ["mongodb", "sqlite"]
"""Those that have what an older version wrote, which kept less with a document than this one does."""
