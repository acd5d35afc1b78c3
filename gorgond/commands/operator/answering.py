"""How gorgonctl answers: in lines for people, or in JSON for programs."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from gorgond.commands.operator.installation import Installation
from gorgond.redpill import BrokerAway
from gorgond.service.plain import plain


def tell(arguments: argparse.Namespace, answer: Any, lines: Iterable[str]) -> None:
    """The answer for programs, or the lines for people."""
    print(*([as_json(answer)] if arguments.json else map(plain, lines)), sep="\n")


def tell_done(arguments: argparse.Namespace, installation: Installation, said: Sequence[str]) -> None:
    """Answer with what was done, after it was noted in the log."""
    from gorgond.commands.operator.noted import note

    note(installation, said)
    tell(arguments, {"done": said}, said)


def as_json(answer: Any) -> str:
    """As programs read it."""
    return plain(json.dumps(answer, ensure_ascii=False))


def act(arguments: argparse.Namespace, do: Callable[[Callable[[str], None]], None]) -> int:
    """Do something that says what it does, line by line; for programs all lines together in the end."""
    done: list[str] = []
    do(done.append if arguments.json else lambda line: print(plain(line), flush=True))
    if arguments.json:
        print(as_json({"done": done}))
    return 0


def ask(question: Coroutine[Any, Any, Any]) -> Any:
    """The answer of the brokers. Raises GorgonError, saying that it was them if they do not answer."""
    try:
        return asyncio.run(question)
    except BrokerAway as away:
        raise BrokerAway(f"the broker does not answer: {away}") from None
