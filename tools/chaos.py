#!/usr/bin/env -S sh -c 'exec "${0%/*}/python" "$0" "$@"'
"""Kills, stops and hangs gorgond's processes, and proves that nothing is lost by it: gorgon-chaos, from a checkout.

tools/chaos.py --help      docs/chaos.md is its manual
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gorgond.chaos.cli import main

if __name__ == "__main__":
    sys.exit(main())
