"""The brokers that tests run with: one scheme of each driver there is."""

from __future__ import annotations

from gorgond.redpill import DRIVERS

BROKERS = list({place: scheme for scheme, place in [*DRIVERS.items()][::-1]}.values())
