"""What an operator asks of jobs, and does to them: figures are the brokers', their status is in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.app.cronloop import CRONS
from gorgond.app.jobs import QUEUE
from gorgond.app.jobstatus import CANCEL, END, JOBS, OVER, RUN, TOPIC, cancel_document, filter_of, status_of
from gorgond.bounds import LIM_MAX
from gorgond.commands.operator import text
from gorgond.commands.operator.brokers import open_links
from gorgond.commands.operator.installation import Installation
from gorgond.commands.operator.tracing import place_of
from gorgond.errors import GorgonError
from gorgond.redpill import Caller, Found, Message, Producer, Undecodable, decode, dumps, loads, now_ms

NAME = "gorgonctl"
FIGURES = {"waiting": "queued", "running": "in_flight", "scheduled": "delayed", "failed": "dead", "done": "done"}
"""What is told of a job, by what the broker calls it."""
ANSWER_MS = 3000  # in which a store server must answer
KEPT = ("id", "job", "user", "userid", "kept")  # of the documents of a job that was begun, when it is begun anew
SEARCH = 60.0  # seconds that looking through the queues of jobs may take


class Desk:
    """What an operator asks the stores by, and tells app servers. Raises GorgonError."""

    def __init__(self, installation: Installation) -> None:
        self._fabric = installation.connect()

    async def find(self, collection: str, filter: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Documents of a collection."""
        found: list[dict[str, Any]] = await self._ask("store_get", f"{collection}.find", filter=filter, limit=LIM_MAX)
        return found

    async def replace(self, document: Mapping[str, Any]) -> None:
        """Store a document of jobs."""
        await self._ask("store_put", f"{JOBS}.replace", documents=[document])

    async def cancel(self, id: str) -> None:
        """Tell all app servers that a job is to be cancelled."""
        broker = self._fabric.carrier(TOPIC, self._fabric.durable)
        async with Producer(broker, NAME) as producer:
            await producer.publish(TOPIC, Message(CANCEL, {"id": id}))

    async def _ask(self, queue: str, op: str, **args: Any) -> Any:
        broker = self._fabric.carrier(queue, self._fabric.calls)
        async with Producer(broker, NAME) as producer, Caller(broker, producer, "ctl_data", NAME) as caller:
            reply = await caller.call(queue, Message(op, args, deadline=now_ms() + ANSWER_MS))
        if reply.error is not None:
            raise reply.error
        return loads(reply.body)


async def job_rows(installation: Installation) -> list[dict[str, Any]]:
    """Every job that has a queue or a clock: {"job", "waiting", "running", "scheduled", "failed", "done", "paused"},
    and of those with a clock "cron", "tz", "last" and "next". Raises GorgonError."""
    rows: dict[str, dict[str, Any]] = {}
    async with open_links(installation.connect()) as links:
        for link in links.values():
            names = [name for name in await link.queues() if name.startswith(f"{QUEUE}:")]
            for name, each in zip(names, await link.counts(names) if names else [], strict=True):
                row = rows.setdefault(name.partition(":")[2], _empty(name.partition(":")[2]))
                for figure, of in FIGURES.items():
                    row[figure] += getattr(each, of)
                row["paused"] = row["paused"] or each.paused
    for cron in await Desk(installation).find(CRONS, {}):
        row = rows.setdefault(cron["id"], _empty(cron["id"]))
        row |= {name: cron[name] for name in ("cron", "tz", "last", "next")}
    return [rows[name] for name in sorted(rows)]


def _empty(job: str) -> dict[str, Any]:
    return {"job": job, **dict.fromkeys(FIGURES, 0), "paused": False}


async def show(installation: Installation, id: str) -> dict[str, Any]:
    """The status of a job, with "stack" if it failed, and "messages": [{"broker", "queue", "place", "detail"}]. Raises
    GorgonError when there is no trace of it."""
    documents = await Desk(installation).find(JOBS, filter_of(id))
    status = status_of(id, documents, now_ms()) or {"id": id}
    for document in documents:
        if document["id"] == id + END and document.get("stack"):
            status["stack"] = document["stack"]
    found = await _find(installation, id)
    if not documents and not found:
        raise _unknown(id)
    places = [
        {"broker": broker, "queue": each.queue, "place": each.place, "detail": each.detail} for broker, each in found
    ]
    return {**status, "messages": places}


async def cancel(installation: Installation, ids: Sequence[str]) -> list[str]:
    """Cancel these jobs; what was done, in words. Raises GorgonError when there is no trace of one, before anything is
    done."""
    said, desk = [], Desk(installation)
    states = {id: (status_of(id, await desk.find(JOBS, filter_of(id)), now_ms()) or {}).get("state") for id in ids}
    for id, state in states.items():
        if state is None and not await _find(installation, id):
            raise _unknown(id)
    for id, state in states.items():
        if state in OVER:
            said.append(f"job {id} is {state} already")
            continue
        await desk.replace(cancel_document(id))
        await desk.cancel(id)
        said.append(f"job {id} is cancelled")
    return said


async def retry(installation: Installation, ids: Sequence[str]) -> list[str]:
    """Put these jobs, which were given up, back into their queues; what was done, in words. Raises GorgonError when one
    was not given up, before anything is done."""
    letters, desk = {}, Desk(installation)
    for id in ids:
        letters[id] = [(broker, each) for broker, each in await _find(installation, id) if each.place == "dead"]
        if not letters[id]:
            raise GorgonError(f"job {id} was not given up: gorgonctl jobs show {id}")
    async with open_links(installation.connect()) as links:
        for id, dead in letters.items():
            for document in await desk.find(JOBS, {"id": {"$in": [id + RUN, id + END]}}):
                kept: dict[str, Any] = {name: document[name] for name in KEPT if name in document}
                await desk.replace({**kept, "state": "queued"})
            for broker, letter in dead:
                await links[broker].requeue(letter.queue, int(letter.detail))
            links.extend()
    return [f"job {id} is put back into its queue" for id in ids]


async def _find(installation: Installation, id: str) -> list[tuple[str, Found]]:
    """Where the messages of a job lie, with the broker's name."""
    async with open_links(installation.connect(), SEARCH) as links:
        found = [(broker, each) for broker, link in links.items() for each in await link.find(dumps(id))]
    return [(broker, each) for broker, each in found if each.queue.startswith(f"{QUEUE}:") and _id_of(each.raw) == id]


def _id_of(raw: bytes) -> str:
    try:
        return decode(raw).id
    except Undecodable:
        return ""


def _unknown(id: str) -> GorgonError:
    return GorgonError(f"there is no trace of a job {id}: it is in no queue, and no status of it is stored")


def job_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of `gorgonctl jobs list`."""
    if not rows:
        return ["there are no jobs"]
    lines = []
    for row in rows:
        name = f"{row['job']} (paused)" if row["paused"] else row["job"]
        clock = f"{row['cron']} {row['tz']}" if "cron" in row else ""
        times = [text.clock(row[each]) if row.get(each) else "" for each in ("last", "next")]
        lines.append((name, *(text.count(row[each]) for each in FIGURES), clock, *times))
    return text.table(("job", *(f">{each}" for each in FIGURES), "by the clock", "last", "next"), lines)


def job_lines(found: Mapping[str, Any]) -> list[str]:
    """The lines of `gorgonctl jobs show`."""
    rows = []
    for name, value in found.items():
        if name in ("due", "enqueued", "ended"):
            rows.append((name, text.clock(value)))
        elif name not in ("messages", "stack"):
            rows.append((name, value if isinstance(value, str) else dumps(value).decode()))
    rows += [("message", f"{each['queue']}: {place_of(each)}") for each in found["messages"]]
    return [*text.table(("", ""), rows)[1:], *found.get("stack", "").splitlines()]
