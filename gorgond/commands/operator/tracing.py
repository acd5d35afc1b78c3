"""Where a request is, or what became of it: queues, desks, delayed, dead letters, replies, the database, the logs."""

from __future__ import annotations

import json
import mmap
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from gorgond.commands.operator import text
from gorgond.commands.operator.brokers import open_links
from gorgond.commands.operator.installation import Installation
from gorgond.redpill import Caller, Found, GorgonError, Message, Producer, Undecodable, decode, dumps, loads, now_ms
from gorgond.service.fabric import Fabric
from gorgond.stats.letters import label

SEARCH = 60.0  # seconds that looking through all queues may take
ANSWER = 3000  # ms in which a store server must answer
SHOWN = 20  # lines of a log
SINCE = "-2d"  # how far back the processes' log is searched
PARTS = 100  # items of one request that are looked for

Trace = dict[str, Any]


async def trace(installation: Installation, id: str) -> Trace:
    """All that is known of a request, or an item, of that id:

        {"id", "messages": [{"broker", "queue", "place", "detail", "op", "id", "attempts", "sent", "deadline"}],
         "stored": [items], "unasked": why the database could not be asked, or "",
         "events": [lines of the log of events], "log": [lines of the processes' log]}

    Raises GorgonError.
    """
    fabric = installation.connect()
    messages = [found async for found in _messages(fabric, id)]
    stored, unasked = await _stored_items(fabric, id)
    file = installation.events()
    events = list(_lines(file, id)) if file else _journal(*(f"GORGON_ID={each}" for each in _items(id)))
    # The processes of a gorgond up write to its terminal.
    log = [] if installation.directory else _journal("--unit=gorgon-*", f"--since={SINCE}", f"--grep={re.escape(id)}")
    return {"id": id, "messages": messages, "stored": stored, "unasked": unasked, "events": events, "log": log}


async def _messages(fabric: Fabric, id: str) -> AsyncIterator[dict[str, Any]]:
    needle = dumps(id)[:-1]  # without the last quotation mark: ids are made of others by adding to them
    async with open_links(fabric, SEARCH) as links:
        for broker, link in links.items():
            for found in await link.find(needle):
                if row := _row(found, id):
                    yield {"broker": broker, **row}


def _row(found: Found, id: str) -> dict[str, Any]:
    """The row for a message that was found, if it really speaks of the id."""
    where = {"queue": found.queue, "place": found.place, "detail": found.detail}
    if found.place == "reply":
        header = found.raw.partition(b"\n")[0]
        return {**where, "op": "", "id": id, "attempts": 0, "sent": 0, "deadline": 0} if dumps(id) in header else {}
    try:
        message = decode(found.raw)
    except Undecodable:
        return {}
    if not any(_speaks_of(each, id) for each in _ids(message)):
        return {}
    about = {key: getattr(message, key) for key in ("op", "id", "attempts", "sent", "deadline")}
    return {**where, **about}


def _ids(message: Message) -> Iterator[str]:
    yield message.id
    yield str(message.args.get("id", ""))
    documents = message.args.get("documents")
    for document in documents if isinstance(documents, list) else ():
        if isinstance(document, dict):
            yield str(document.get("id", ""))


def _speaks_of(found: str, id: str) -> bool:
    """An item of a request has the request's id, or that and a number; an event its request's and a number."""
    rest = found.removeprefix(id)
    return found.startswith(id) and (not rest or (rest[0] in "-:" and rest[1:].isdecimal()))


def _items(id: str) -> list[str]:
    """The item of that id, and those of the request of that id."""
    return [id, *(f"{id}-{number}" for number in range(1, PARTS))]


async def _stored_items(fabric: Fabric, id: str) -> tuple[list[Mapping[str, Any]], str]:
    """The items of that id, or of the request of that id; and why they are not known."""
    filter = {"id": {"$in": _items(id)}}
    question = Message("items.find", {"filter": filter, "limit": PARTS}, deadline=now_ms() + ANSWER)
    try:
        broker = fabric.carrier("store_get", fabric.calls)
        async with (
            Producer(broker, "gorgonctl") as producer,
            Caller(broker, producer, "ctl_data", "gorgonctl") as caller,
        ):
            reply = await caller.call("store_get", question)
            if reply.error is not None:
                raise reply.error
            return loads(reply.body), ""
    except GorgonError as error:
        return [], str(error)


def _lines(file: Path, id: str) -> Iterator[str]:
    """The last lines of a log of events that speak of the id."""
    needle, found = dumps(id)[:-1], []
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = content.find(needle)
            while at >= 0:
                end = content.find(b"\n", at)
                found.append(content[content.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(content)])
                at = content.find(needle, end) if end >= 0 else -1
    except (OSError, ValueError):  # there is none, or an empty one
        return
    for line in found[-SHOWN:]:
        entry = json.loads(line)
        who = f" by user {entry['user']}" if entry["user"] else ""
        yield f"{entry['at']} {entry['event']} {entry['id']}{who}"


def _journal(*what: str) -> list[str]:
    """The last lines of the journal with these; none where there is no journal."""
    command = ["journalctl", "--quiet", "--no-pager", "--output=short-iso", f"--lines={SHOWN}", *what]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def trace_lines(found: Trace) -> list[str]:
    """The lines of `gorgonctl trace`."""
    rows = [(each["queue"], place_of(each), each["op"], _age(each)) for each in found["messages"]]
    rows += [("database", "is stored", f"item {each['id']}", _version(each)) for each in found["stored"]]
    if found["unasked"]:
        rows.append(("database", "is not known", found["unasked"], ""))
    rows += [("events", "is logged", line, "") for line in found["events"]]
    rows += [("log", "is logged", line, "") for line in found["log"]]
    if not rows:
        return [f"there is no trace of {found['id']}: it is in no queue and in no log, and nothing of it is stored"]
    return text.table(("where", "what", "", ""), rows)[1:]


def is_known(found: Trace) -> bool:
    """Whether anything speaks of it."""
    return bool(found["messages"] or found["stored"] or found["events"] or found["log"])


def place_of(row: Mapping[str, Any]) -> str:
    """Where a message lies, in words."""
    detail = row["detail"]
    if row["place"] == "delayed":
        return f"comes again in {text.duration(max(float(detail) - now_ms(), 0) / 1000)}"
    return {
        "queued": f"waits, {detail} before it",
        "desk": f"is being handled by {detail}",
        "dead": f"was given up: dead letter {label(row['broker'], detail)}",
        "reply": "is answered: the reply waits for who asked",
    }[row["place"]]


def _age(row: Mapping[str, Any]) -> str:
    parts = []
    if row["attempts"]:
        parts.append(f"attempt {row['attempts']}")
    if row["sent"]:
        parts.append(f"sent {text.clock(row['sent'])}")
    if row["deadline"]:
        left = (row["deadline"] - now_ms()) / 1000
        parts.append(f"{text.duration(left)} left" if left > 0 else "past its deadline")
    return ", ".join(parts)


def _version(item: Mapping[str, Any]) -> str:
    ts = item.get("ts")
    return f"as of {text.clock(ts)}" if isinstance(ts, int) else ""
