"""Sends cases over connections of their own, and judges what comes back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tools.proofs.fuzzing.cases import Case, Cases

CONNECTIONS = 32
LONGEST = 90.0  # seconds after which a request counts as hanging; answers to good ones have a deadline below
READ_MAX = 1 << 22
CLOSED, HANG = "closed", "hang"
SHOWN = 5  # examples of each fault

Say = Callable[[str], None]


@dataclass(slots=True)
class Found:
    """How the requests of each kind ended, and what should not be."""

    ends: dict[str, Counter[str]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, number: int, case: Case, end: str, fault: str, answer: bytes) -> None:
        self.ends.setdefault(case.kind, Counter())[end] += 1
        if fault:
            self.faults[fault] += 1
            if self.faults[fault] <= SHOWN:
                self.examples.append(
                    f"{fault}, case {number} ({case.kind}):\n  {case.data[:600]!r}\n  {answer[:600]!r}"
                )


async def attack(port: int, cases: Cases, numbers: range, say: Say) -> Found:
    """Send the cases of these numbers."""
    found, left = Found(), iter(numbers)

    async def client() -> None:
        for number in left:
            case = cases.case(number)
            answer, hung = await _send(port, case)
            found.add(number, case, *_judge(case, answer, hung), answer)
            if number % 5000 == 4999:
                say(f"{number + 1} requests sent")

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return found


async def _send(port: int, case: Case) -> tuple[bytes, bool]:
    """The first answer, up to the end of what it says of its length, and whether it did not come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=READ_MAX)
    answering = asyncio.create_task(_read(reader, head=case.data.startswith(b"HEAD ")))
    try:
        with suppress(OSError):
            writer.write(case.data)
            done, _ = await asyncio.wait({answering}, timeout=min(case.patience, LONGEST))
            if not done and case.patience < LONGEST:
                writer.write_eof()
        done, _ = await asyncio.wait({answering}, timeout=LONGEST)
        return (answering.result(), False) if done else (b"", True)
    finally:
        answering.cancel()
        writer.close()


async def _read(reader: asyncio.StreamReader, head: bool) -> bytes:
    answer = b""
    with suppress(OSError, asyncio.IncompleteReadError):
        answer = await reader.readuntil(b"\r\n\r\n")
        while answer.startswith(b"HTTP/1.1 100 "):
            answer = await reader.readuntil(b"\r\n\r\n")
        for line in answer.split(b"\r\n"):
            name, _, length = line.partition(b": ")
            if name.lower() == b"content-length" and not head:
                answer += await reader.readexactly(int(length))
    return answer


def _judge(case: Case, answer: bytes, hung: bool) -> tuple[str, str]:
    """How it ended, and what is wrong with that."""
    if hung:
        return HANG, HANG
    status = answer[9:12].decode("latin-1")
    if not status:
        return CLOSED, "good request not answered" if case.good else ""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 ") or not status.isdecimal():
        return "other", "no HTTP"
    if status >= "500":
        return status, f"status {status}"
    if case.good and status != "200":
        return status, f"good request answered {status}"
    if b"X-Injected" in head:
        return status, "header injected"
    if case.input and status in ("400", "422") and b"application/json" in head and body:
        error = json.loads(body)["error"]
        if not error.get("field"):
            return status, f"{status} that names no field"
    return status, ""
