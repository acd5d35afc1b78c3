"""How a run of gorgon-chaos ends otherwise than with a verdict.

GorgonError
├── Refused     nothing was done, since it is not allowed or cannot be: exit code 3
└── Aborted     begun and broken off, everything undone: exit code 2
"""

from __future__ import annotations

from gorgond.errors import GorgonError


class Refused(GorgonError):
    """Nothing was done; the message says what would have to be different."""


class Aborted(GorgonError):
    """Broken off on the way; what was done to the fabric is undone."""
