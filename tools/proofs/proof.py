"""How a proof of its own program is begun, ended and told."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tools.speed.processes import BenchError


@dataclass(frozen=True, slots=True)
class Found:
    """The results of a proof: figures by name, whether they are as promised, and lines to show before them."""

    figures: Mapping[str, Any]
    holds: bool
    lines: str = ""


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """With what all of them take: the seed of all chance, and a file for the figures."""
    made = argparse.ArgumentParser(prog=f"tools/prove {name}", description=(doc or "").partition("\n\n")[0])
    made.add_argument("--seed", metavar="N", type=int, default=1, help="of all chance")
    made.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    return made


def main(
    name: str, arguments: argparse.Namespace, prove: Callable[[argparse.Namespace, ExitStack, Path], Found]
) -> int:
    """Have it proved in a directory of its own, and tell. The exit code: 0 it holds, 1 it does not, 2 it cannot be
    tried here."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that our processes end with us
    began = time.monotonic()
    try:
        with ExitStack() as closing:
            directory = Path(closing.enter_context(TemporaryDirectory(prefix=f"gorgond-{name}-")))
            found = prove(arguments, closing, directory)
    except BenchError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    figures = {**found.figures, "seconds": round(time.monotonic() - began), "seed": arguments.seed}
    print("\n".join([*filter(None, [found.lines]), *(f"{key:14} {value!s:>10}" for key, value in figures.items())]))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures) + "\n")
    return int(not found.holds)


async def answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    """The status and the JSON of the next answer on a connection. Raises EOFError, OSError and ValueError when what
    comes is none."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split(" ")[1]), json.loads(body)
