"""Jobs, as an application declares them.

Each has a queue of its own, app_job:SHOP.RESIZE. So it can be paused, its figures and dead letters are told apart, a
slow one holds up no other, and an app server that does not know it leaves it alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gorgond.app.annotations import Argument
from gorgond.app.limits import Bound
from gorgond.app.response import plain_value
from gorgond.errors import BadArgument, BadRequest, Refused
from gorgond.redpill import Attempts, dumps, loads
from gorgond.validators import duration

QUEUE = "app_job"
WAIT = "wait"  # in the metrics, what a job does in its queue from when it may begin until it does
RESERVED = frozenset({"unique", "mode", "window", "delay", "at"})  # what `enqueue` itself is told
ARGS_MAX = 1_000_000  # bytes of a job's arguments, as JSON

_LONG = duration("3650d")
_MOST = 3650 * 86400.0  # seconds


def seconds_of(time: float | str) -> float:
    """Seconds, of a number of them or of a text as "2m". Raises ValueError, also for what is no time to wait for."""
    if isinstance(time, str) and time != "0":
        try:
            return float(_LONG.parse(time))
        except ValueError:
            raise ValueError(f"{time!r} is not {_LONG.allowed}") from None
    if not -_MOST <= float(time) <= _MOST:
        raise ValueError(f"{time} is no number of seconds, which is at most {_MOST:g}")
    return float(time)


@dataclass(frozen=True, slots=True)
class Job:
    """A function of an application that is done in the background. Times are seconds."""

    name: str
    handler: Callable[..., Awaitable[Any]]
    arguments: Sequence[Argument]
    attempts: Attempts
    timeout: float
    keep: float  # for how long after its end its status is kept; with 0 there is none
    bounds: Sequence[Bound] = ()  # of how many are done at the same time, and how often it is begun

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ValueError(f"timeout must be a time above 0, not {self.timeout}")
        if not self.keep >= 0:
            raise ValueError(f"keep must be a time, or 0 for none, not {self.keep}")

    @property
    def queue(self) -> str:
        """Where its messages wait."""
        return f"{QUEUE}:{self.name}"

    def __call__(self, *args: Any, **named: Any) -> Awaitable[Any]:
        """The function itself, as a test or another function of the application calls it."""
        return self.handler(*args, **named)

    def written(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as JSON has them. Raises BadArgument for what the annotations do not allow."""
        try:
            said = dumps(args, plain_value)
        except (TypeError, ValueError) as error:
            raise BadArgument(f"{self.name}: an argument is no JSON: {error}") from None
        if len(said) > ARGS_MAX:
            raise Refused(413, f"the arguments of {self.name} have {len(said)} bytes, and must have at most {ARGS_MAX}")
        written: dict[str, Any] = loads(said)
        try:
            self.values(written)
        except BadRequest as bad:
            raise BadArgument(f"{self.name}: {bad}") from None
        return written

    def values(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The function's arguments, of those in a message. Raises BadRequest."""
        known = {each.name: each for each in self.arguments}
        for name in args:
            if name not in known:
                raise BadRequest(f"{name:.100}", f"not known here; allowed are {', '.join(known) or 'none'}")
        for each in self.arguments:
            if each.required and each.name not in args:
                raise BadRequest(each.name, "must be given")
        return {name: known[name].kind.read(value, name) for name, value in args.items()}
