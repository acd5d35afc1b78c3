"""The brokers that tests run with: one scheme of each driver there is."""

from __future__ import annotations

from gorgond.redpill import DRIVERS

_ALL = list({place: scheme for scheme, place in [*DRIVERS.items()][::-1]}.values())

SETS = ["sentinel"]  # several servers, which take as long to start as many tests do
BROKERS = [scheme for scheme in _ALL if scheme not in SETS]
