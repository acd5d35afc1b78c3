"""A message that asks for writes, and all that becomes of it: what is written, announced and answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from gorgond.errors import StoreRefused
from gorgond.redpill import DONE, ID_MAX, CallFailed, Done, Message, dumps, encoded, plain
from gorgond.stores.contract import Once, Write, Written
from gorgond.stores.filters import check_write
from gorgond.stores.requests import once_of, writes_of
from gorgond.stores.schema import PRIVATE, UNANNOUNCED

_EVENT = {
    ("insert", "stored"): "added",
    ("insert", "exists"): "added",
    ("replace", "stored"): "edited",
    ("patch", "stored"): "edited",
    ("delete", "deleted"): "deleted",
}
"""The event to announce, by the verb of a write and its effect; all others changed nothing."""

_TOLD = {
    "conflict": (422, "there is another one of this id, with other content"),
    "stale": (409, "there is a newer version, or it was deleted since"),
    "missing": (404, "there is none"),
}
"""The refusals of a job without a caller, by effects that leave undone what the job is for."""


@dataclass(slots=True)
class Job:
    """A message, the writes that it asks for, and what became of each; or why it is refused as a whole."""

    message: Message
    writes: Sequence[Write] = ()
    once: Once | None = None
    done: Sequence[Written | StoreRefused] = ()
    refused: StoreRefused | None = None

    @classmethod
    def of(cls, message: Message, queue: str) -> Self:
        """The job that a message of this queue asks for. One that is wrong uses up no key."""
        try:
            writes, once = writes_of(message, queue), once_of(message)
            if once is not None:
                for write in writes:
                    check_write(write)
        except StoreRefused as refused:
            return cls(message, refused=refused)
        return cls(message, writes, once)

    def refuse(self, why: StoreRefused) -> None:
        """Do nothing of it."""
        self.writes, self.refused = (), why

    def changes(self) -> Iterator[Change]:
        """The changes, also those that had been made before: then the announcement may have been lost."""
        for number, (write, one) in enumerate(zip(self.writes, self.done, strict=True)):
            if isinstance(one, StoreRefused) or write.collection in UNANNOUNCED:
                continue
            event = _EVENT.get((write.kind, one.effect))
            if event is not None:
                yield Change(self.message, number, write, event, one.ts, one.again)

    def outcome(self) -> Done:
        """A refusal of any of the writes is an error, else there is an answer if the message asks for one. A message
        that asks for none gets an error, too, when one was not done."""
        if self.refused is not None:
            return refusal(self.refused)
        message, results = self.message, []
        for write, one in zip(self.writes, self.done, strict=True):
            if isinstance(one, StoreRefused):
                return refusal(one)
            if not message.reply and one.effect in _TOLD and (write.kind, one.effect) != ("delete", "missing"):
                code, why = _TOLD[one.effect]
                return Done(error=CallFailed(code, f"{write.collection} {write.id}: {why}", "id"))
            results.append({"id": write.id, "effect": one.effect})
        return Done(dumps({"results": results})) if message.reply else DONE


class Change(NamedTuple):
    """A write that is to be announced."""

    message: Message
    number: int  # of the write, in the message
    write: Write
    verb: str
    ts: int
    again: bool

    def content(self) -> Any:
        """What was written, for `event`: the document as it is stored, or the changes. Where its JSON is there already
        it is not made again."""
        write = self.write
        if write.kind not in ("insert", "replace"):
            return write.document
        said = write.content_bytes()
        if write.collection in PRIVATE or not plain(said) or said == b"{}":
            return {**write.document, "ts": self.ts}
        ts = b"" if write.dated else b'"ts":%d,' % self.ts
        return encoded(b'{"id":%b,%b%b' % (dumps(write.id), ts, said[1:]))

    def event(self, content: Any) -> Message:
        """The announcement, with the document or the changes in it; of a private one what is public.

        Its id is made of its message's, so that a listener can tell a repeat.
        """
        write, message = self.write, self.message
        args: dict[str, Any] = {"id": write.id, "ts": self.ts}
        if content:
            public = PRIVATE.get(write.collection)
            if public is not None:
                content = {name: value for name, value in content.items() if name in ("id", "ts", *public)}
            args["changes" if write.kind == "patch" else "document"] = content
        id = f"{message.id}:{self.number}"[-ID_MAX:]
        return Message(f"{write.collection}.{self.verb}", args, id, user=_author(message), trace=message.trace)


def refusal(refused: StoreRefused) -> Done:
    """How whoever asked is told."""
    return Done(error=CallFailed(refused.code, str(refused), refused.field))


def _author(message: Message) -> dict[str, Any] | None:
    """The author of a change; None when nobody was logged in."""
    id = (message.user or {}).get("id")
    return {"id": id} if id else None
