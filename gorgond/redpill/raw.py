"""How a broker reads and changes a message's raw bytes without decoding them, as `scripts/attempts.lua` and
`scripts/later.lua` do.

The attempts are the first field. A message that does not look like a JSON object with fields is left as it is.
"""

from __future__ import annotations

import re

from gorgond.redpill.errors import Undecodable
from gorgond.redpill.message import ATTEMPTS_PREFIX, decode

_ATTEMPTS = re.compile(rb'\{"attempts":([0-9]+)(?=[,}])')
_MARK = re.compile(rb'\{"attempts":1,"later":"([0-9]{1,17}) ([0-9]{1,17}) ([0-9]{1,17}|-)",')
_MOST = 1_000_000  # whatever a producer wrote there, it stays a number that Lua writes in digits


def attempts_of(raw: bytes) -> int:
    """How often the message's handling was started."""
    found = _ATTEMPTS.match(raw)
    return min(int(found[1][:20]), _MOST) if found else 0


def with_attempts(raw: bytes, attempts: int) -> bytes:
    """The message with that many attempts."""
    found = _ATTEMPTS.match(raw)
    if found:
        return b"%s%d%s" % (ATTEMPTS_PREFIX, attempts, raw[found.end() :])
    if raw.startswith(b'{"'):
        return b"%s%d,%s" % (ATTEMPTS_PREFIX, attempts, raw[1:])
    return raw


def unstarted(raw: bytes) -> bytes:
    """The message without the start that was counted when it was handed out."""
    attempts = attempts_of(raw)
    return with_attempts(raw, attempts - 1) if attempts > 1 else raw


def suspected(raw: bytes) -> bytes:
    """The message as found on the desk of a consumer that went away: it may have been started once."""
    return raw if attempts_of(raw) else with_attempts(raw, 1)


def forgiven(raw: bytes) -> bytes:
    """The message with its attempts forgotten."""
    found = _ATTEMPTS.match(raw)
    return b"{" + raw[found.end() + 1 :] if found and raw[found.end()] == ord(",") else raw


def age(raw: bytes, now: int) -> float:
    """Seconds from when the message was sent until `now`; 0.0 for what is none."""
    try:
        sent = decode(raw).sent
    except Undecodable:
        return 0.0
    return max(0.0, (now - sent) / 1000) if sent else 0.0


def marked(raw: bytes, due: int, number: int, delay: int) -> bytes:
    """The message as it lies in an empty queue until it is put off, as `scripts/later.lua` says."""
    return b'{"attempts":1,"later":"%d %d %s",%s' % (due, number, b"-" if delay < 0 else b"%d" % delay, raw[1:])


def unmarked(raw: bytes) -> tuple[int, int, int, bytes] | None:
    """When such a message is due, its number, its delay, and what it was; None for one that has no mark."""
    found = _MARK.match(raw)
    if found is None:
        return None
    delay = -1 if found[3] == b"-" else int(found[3])
    return int(found[1]), int(found[2]), delay, b"{" + raw[found.end() :]
