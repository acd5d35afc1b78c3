"""What an operator asks of jobs, and does to them: figures are the brokers', their status is in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.app.cronloop import CRONS
from gorgond.app.jobretry import begin_anew
from gorgond.app.jobs import QUEUE
from gorgond.app.jobsearch import search_jobs
from gorgond.app.jobstatus import CANCEL, CANCELS, END, JOBS, OVER, cancel_document, filter_of, status_of
from gorgond.bounds import LIM_MAX
from gorgond.commands.operator import text
from gorgond.commands.operator.brokers import open_links
from gorgond.commands.operator.installation import Installation
from gorgond.commands.operator.tracing import place_of
from gorgond.errors import GorgonError
from gorgond.redpill import Caller, Found, Message, Producer, Undecodable, decode, dumps, loads, now_ms
from gorgond.stats.jobs import FIGURES, Jobs

NAME = "gorgonctl"
ANSWER_MS = 3000  # in which a store server must answer
TIMES = {
    "wait_p50": "median wait",
    "wait_p99": "99 % wait",
    "work_p50": "median work",
    "work_p99": "99 % work",
}
"""Of the last hour, as the stats server has heard."""
ARGS = 60  # characters of arguments in a table
SEARCH = 60.0  # seconds that looking through the queues of jobs may take


class Desk:
    """What an operator asks the stores by, and tells app servers. Raises GorgonError."""

    def __init__(self, installation: Installation) -> None:
        self._fabric = installation.connect()

    async def find(self, collection: str, filter: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
        """Documents of a collection."""
        args = {"filter": filter, "limit": LIM_MAX, **more}
        found: list[dict[str, Any]] = await self._ask("store_get", f"{collection}.find", **args)
        return found

    async def replace(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> None:
        """Store documents of a collection."""
        await self._ask("store_put", f"{collection}.replace", documents=documents)

    async def cancel(self, id: str) -> None:
        """Tell all app servers that a job is to be cancelled."""
        broker = self._fabric.carrier(CANCELS, self._fabric.durable)
        async with Producer(broker, NAME) as producer:
            await producer.publish(CANCELS, Message(CANCEL, {"id": id}))

    async def _ask(self, queue: str, op: str, **args: Any) -> Any:
        broker = self._fabric.carrier(queue, self._fabric.calls)
        async with Producer(broker, NAME) as producer, Caller(broker, producer, "ctl_data", NAME) as caller:
            reply = await caller.call(queue, Message(op, args, deadline=now_ms() + ANSWER_MS))
        if reply.error is not None:
            raise reply.error
        return loads(reply.body)


async def job_rows(installation: Installation, seen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every job that has a queue or a clock, as the picture has them, whose rows of jobs are `seen`; also "cron", "tz",
    "last" and "next" as they are now. Raises GorgonError."""
    rows = {each["name"]: dict(each) for each in seen}
    for cron in await Desk(installation).find(CRONS, {}):
        row = rows.setdefault(cron["id"], Jobs().row(cron["id"]))
        row |= {name: cron[name] for name in ("cron", "tz", "last", "next")}
    return [rows[name] for name in sorted(rows)]


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
        await desk.replace(JOBS, [cancel_document(id)])
        await desk.cancel(id)
        said.append(f"job {id} is cancelled")
    return said


async def retry(installation: Installation, ids: Sequence[str]) -> list[str]:
    """Put these jobs, which were given up, back into their queues; what was done, in words. Raises GorgonError when one
    was not given up, before anything is done."""
    letters, desk = await _letters(installation, ids), Desk(installation)
    async with open_links(installation.connect()) as links:
        for id, dead in letters.items():
            await begin_anew(desk.find, desk.replace, [id])
            for broker, letter in dead:
                await links[broker].requeue(letter.queue, int(letter.detail))
            links.extend()
    return [f"job {id} is put back into its queue" for id in ids]


async def drop(installation: Installation, ids: Sequence[str]) -> list[str]:
    """Delete the dead letters of these jobs, which were given up; what was done, in words. Raises GorgonError when one
    was not given up, before anything is done."""
    letters = await _letters(installation, ids)
    async with open_links(installation.connect()) as links:
        for dead in letters.values():
            for broker, letter in dead:
                await links[broker].drop(letter.queue, int(letter.detail))
            links.extend()
    return [f"job {id} is dropped" for id in ids]


async def find(installation: Installation, text: str, job: str, state: str) -> dict[str, Any]:
    """Jobs by id, or by what their arguments or reasons say, as `search_jobs`. Raises GorgonError."""
    return await search_jobs(Desk(installation).find, text, job, state, seconds=SEARCH)


async def _letters(installation: Installation, ids: Sequence[str]) -> dict[str, list[tuple[str, Found]]]:
    """The dead letters of these jobs, with the broker's name. Raises GorgonError when there is none of one."""
    letters = {}
    for id in ids:
        letters[id] = [(broker, each) for broker, each in await _find(installation, id) if each.place == "dead"]
        if not letters[id]:
            raise GorgonError(f"job {id} was not given up: gorgonctl jobs show {id}")
    return letters


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
        name = f"{row['name']} (paused)" if row["paused"] else row["name"]
        clock = f"{row['cron']} {row['tz']}" if row["cron"] else ""
        took = [text.latency(row[each]) if row[each] else "" for each in TIMES]
        times = [text.clock(row[each]) if row[each] else "" for each in ("last", "next")]
        lines.append((name, *(text.count(row[each]) for each in FIGURES), *took, clock, *times))
    header = ("job", *(f">{each}" for each in FIGURES), *(f">{each}" for each in TIMES.values()), "by the clock")
    return text.table((*header, "last", "next"), lines)


def found_table(found: Mapping[str, Any]) -> list[str]:
    """The lines of `gorgonctl jobs find`."""
    if not found["jobs"]:
        return ["there is none" + (" among those that were looked through" if found["more"] else "")]
    lines = []
    for each in found["jobs"]:
        enqueued = text.clock(each["enqueued"]) if "enqueued" in each else ""
        said = dumps(each.get("args")).decode() if each.get("args") else ""
        lines.append((each["id"], each["job"], each.get("state", ""), enqueued, said[:ARGS], each.get("reason", "")))
    table = text.table(("id", "job", "state", "enqueued", "arguments", "why"), lines)
    return [*table, "there may be more: give more of the text, --job or --state"] if found["more"] else table


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
