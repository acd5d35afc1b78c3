"""What the operator alone may see and do over HTTP: dead letters, jobs, and which queues are paused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol

from gorgond.app.jobretry import begin_anew
from gorgond.app.jobs import QUEUE
from gorgond.app.jobsearch import STATES, search_jobs
from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Problem, json_answer
from gorgond.http.routes import Parameter, Request, Route
from gorgond.redpill import ID_MAX, DeadLetter, dumps
from gorgond.service.words import counted
from gorgond.stats.jobs import job_of
from gorgond.stats.letters import Links, description, label, letter_row, letters_of, message_of
from gorgond.stats.visitors import Visitors

LETTERS_MAX = 100  # in one answer
SETTLED_MAX = 1000  # that one request puts back or deletes
SHOWN_MAX = 64 * 1024  # bytes of a dead letter that are shown
EXPORT_MAX = 32 * 1024 * 1024  # bytes in an answer with all letters of a queue
NOT_KEPT = {"Cache-Control": "no-store"}

_QUEUE = Parameter("queue", "the queue's name, / as %2F", str, high=401)
_NUMBER = Parameter("number", "the dead letter's number", int, 1, 2**53)
_BROKER = Parameter("broker", "where it lies: durable, calls, or as a letter says it", str, high=300, default="durable")
_ID = Parameter("id", "only those that speak of this request or item", str, high=300, default="")
_AFTER = Parameter("after", "behind the one that is called so: 3, c3, 3@WHERE", str, high=320, default="0")
_TEXT = Parameter("text", "of this id, or with this in the id, the arguments or the reason", str, high=300, default="")
_OF_JOB = Parameter("job", "of this name", str, high=300, default="")
_STATE = Parameter("state", f"in this state: {', '.join(STATES)}", str, high=20, default="")
_JOB = Parameter("job", "the job's name", str, high=300)
_JOB_ID = Parameter("id", "the id of one", str, high=ID_MAX)
_LIMIT = Parameter("limit", "so many at most, the oldest first", int, 1, SETTLED_MAX, SETTLED_MAX)


class Operable(Protocol):
    """The stats server, as the operator works with it."""

    def operating(self) -> AbstractAsyncContextManager[Links]:
        """The brokers, for one at a time."""

    async def find(self, collection: str, filter: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
        """Documents of a collection. Raises GorgonError."""

    async def replace(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> None:
        """Store documents of a collection: back when they are. Raises GorgonError."""


class Operating:
    """The handlers; `routes` says which is for what."""

    def __init__(self, server: Operable, visitors: Visitors) -> None:
        self._server = server
        self._visitors = visitors
        letter = (_QUEUE, _NUMBER)
        self.routes = [
            Route("GET", "/api/dead/{queue}", self.dead, "Dead letters", (_QUEUE,), (_AFTER, _ID)),
            Route("GET", "/api/dead/{queue}/letters.jsonl", self.lines, "All of them, whole", (_QUEUE,), (_ID,)),
            Route("POST", "/api/dead/{queue}/requeue", self.requeue_all, "Put all back", (_QUEUE,), (_LIMIT,)),
            Route("POST", "/api/dead/{queue}/drop", self.drop_all, "Delete all", (_QUEUE,), (_LIMIT,)),
            Route("POST", "/api/dead/{queue}/{number}/requeue", self.requeue, "Put one back", letter, (_BROKER,)),
            Route("POST", "/api/dead/{queue}/{number}/drop", self.drop, "Delete one", letter, (_BROKER,)),
            Route("GET", "/api/jobs", self.jobs, "Jobs by id, or by what they say", (), (_TEXT, _OF_JOB, _STATE)),
            Route("POST", "/api/jobs/{job}/{id}/retry", self.retry_job, "Begin one that failed anew", (_JOB, _JOB_ID)),
            Route("POST", "/api/jobs/{job}/{id}/drop", self.drop_job, "Delete one that failed", (_JOB, _JOB_ID)),
            Route("POST", "/api/queues/{queue}/pause", self.pause, "Let nothing more be taken from it", (_QUEUE,)),
            Route("POST", "/api/queues/{queue}/resume", self.resume, "Undo a pause", (_QUEUE,)),
        ]

    # ---- dead letters

    async def dead(self, request: Request) -> Answer:
        await self._visitors.check_operator(request)
        values = request.parameters
        with _clients_fault():
            async with self._server.operating() as links:
                found = letters_of(links, values["queue"], values["after"], values["id"])
                some = [each async for each in _first(found, LETTERS_MAX + 1)]
        shown = some[:LETTERS_MAX]
        answer = {
            "queue": values["queue"],
            "letters": [_shown_part(*each) for each in shown],
            "more": len(some) > LETTERS_MAX,
            "next": label(shown[-1][0], shown[-1][1].number) if shown else values["after"],
        }
        return json_answer(answer, headers=NOT_KEPT)

    async def lines(self, request: Request) -> Answer:
        """JSON lines. Where they would be too many, the last line says behind which letter the rest begins."""
        await self._visitors.check_operator(request)
        queue, lines, size = request.parameters["queue"], [], 0
        with _clients_fault():
            async with self._server.operating() as links:
                async for broker, letter in letters_of(links, queue, id=request.parameters["id"]):
                    lines.append(dumps(letter_row(queue, broker, letter)))
                    size += len(lines[-1])
                    if size > EXPORT_MAX:
                        lines.append(dumps({"more_after": label(broker, letter.number)}))
                        break
        name = f"{queue.replace('/', '-')}-dead-letters.jsonl"
        headers = NOT_KEPT | {"Content-Disposition": f'attachment; filename="{name}"'}
        return Answer(200, b"".join(line + b"\n" for line in lines), "application/jsonl", headers)

    async def requeue(self, request: Request) -> Answer:
        return await self._settle_one(request, put_back=True)

    async def drop(self, request: Request) -> Answer:
        return await self._settle_one(request, put_back=False)

    async def requeue_all(self, request: Request) -> Answer:
        return await self._settle_all(request, put_back=True)

    async def drop_all(self, request: Request) -> Answer:
        return await self._settle_all(request, put_back=False)

    async def _settle_one(self, request: Request, put_back: bool) -> Answer:
        await self._visitors.check_operator(request)
        values = request.parameters
        queue, number, broker = values["queue"], values["number"], values["broker"]
        with _clients_fault():
            async with self._server.operating() as links:
                link = links.get(broker)
                if link and put_back and job_of(queue):
                    found = await link.dead(queue, number - 1, 1)
                    await self._begin_anew(queue, [each for each in found if each.number == number])
                done = link and await (link.requeue(queue, number) if put_back else link.drop(queue, number))
        if not done:
            raise Problem(404, f"there is no dead letter {number} of {queue} on the {broker} broker")
        self._visitors.note(request, f"the operator: dead letter {number} of {queue} {_what(put_back)}")
        return Answer(204)

    async def _settle_all(self, request: Request, put_back: bool) -> Answer:
        """Those that are there now, the oldest first: one that dies again meanwhile lies behind them."""
        await self._visitors.check_operator(request)
        queue, limit = request.parameters["queue"], request.parameters["limit"]
        done = 0
        with _clients_fault():
            async with self._server.operating() as links:
                chosen = [each async for each in _first(letters_of(links, queue), limit)]
                if put_back:
                    await self._begin_anew(queue, [letter for _, letter in chosen])
                for broker, letter in chosen:
                    link = links[broker]
                    done += await (link.requeue(queue, letter.number) if put_back else link.drop(queue, letter.number))
        if done:
            self._visitors.note(request, f"the operator: {counted(done, 'dead letter')} of {queue} {_what(put_back)}")
        return json_answer({"done": done}, headers=NOT_KEPT)

    async def _begin_anew(self, queue: str, letters: Iterable[DeadLetter]) -> None:
        """Those that are jobs are over no more when they are put back."""
        messages = map(message_of, letters) if job_of(queue) else ()
        await begin_anew(self._server.find, self._server.replace, [each.id for each in messages if each is not None])

    # ---- jobs

    async def jobs(self, request: Request) -> Answer:
        await self._visitors.check_operator(request)
        values = request.parameters
        found = await search_jobs(self._server.find, values["text"], values["job"], values["state"])
        return json_answer(found, headers=NOT_KEPT)

    async def retry_job(self, request: Request) -> Answer:
        return await self._settle_job(request, put_back=True)

    async def drop_job(self, request: Request) -> Answer:
        return await self._settle_job(request, put_back=False)

    async def _settle_job(self, request: Request, put_back: bool) -> Answer:
        """The dead letter of a job, with its status if it is put back."""
        await self._visitors.check_operator(request)
        queue, id, done = f"{QUEUE}:{request.parameters['job']}", request.parameters["id"], False
        with _clients_fault():
            async with self._server.operating() as links:
                found = [each async for each in letters_of(links, queue, id=id) if _is_of(each[1], id)]
                if put_back:
                    await self._begin_anew(queue, [letter for _, letter in found])
                for broker, letter in found:
                    link = links[broker]
                    done |= await (link.requeue(queue, letter.number) if put_back else link.drop(queue, letter.number))
        if not done:
            raise Problem(404, f"job {id} is no dead letter: it was not given up, or is settled already")
        self._visitors.note(request, f"the operator: job {id} of {queue} {_what(put_back)}")
        return Answer(204)

    # ---- queues

    async def pause(self, request: Request) -> Answer:
        return await self._pausing(request, undo=False)

    async def resume(self, request: Request) -> Answer:
        return await self._pausing(request, undo=True)

    async def _pausing(self, request: Request, undo: bool) -> Answer:
        await self._visitors.check_operator(request)
        queue = request.parameters["queue"]
        with _clients_fault():
            async with self._server.operating() as links:
                if not any([queue in await link.queues() for link in links.values()]):
                    raise Problem(404, f"there is no queue {queue}")
                # The durable broker first: what it says counts for consumers of both.
                changed = [await (link.resume(queue) if undo else link.pause(queue)) for link in links.values()]
        if any(changed):
            self._visitors.note(request, f"the operator: {queue} is {'resumed' if undo else 'paused'}")
        return json_answer({"paused": not undo}, headers=NOT_KEPT)


@contextmanager
def _clients_fault() -> Iterator[None]:
    """A name that no queue can have, or no letter, is the client's fault."""
    try:
        yield
    except ValueError as error:
        raise BadRequest("queue", str(error)) from None


async def _first(letters: AsyncIterator[tuple[str, DeadLetter]], number: int) -> AsyncIterator[tuple[str, DeadLetter]]:
    """The first so many."""
    left = number
    async for each in letters:
        yield each
        left -= 1
        if not left:
            return


def _is_of(letter: DeadLetter, id: str) -> bool:
    message = message_of(letter)
    return message is not None and message.id == id


def _what(put_back: bool) -> str:
    return "put back into the queue" if put_back else "deleted"


def _shown_part(broker: str, letter: DeadLetter) -> dict[str, Any]:
    """The part of a dead letter that is shown, from the broker it lies on; `raw` is cut after SHOWN_MAX of its `size`
    bytes."""
    return {
        "broker": broker,
        "number": letter.number,
        **description(broker, letter),
        "size": len(letter.raw),
        "raw": letter.raw[:SHOWN_MAX].decode(errors="replace"),
    }
