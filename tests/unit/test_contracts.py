"""The examples in the contracts of what others may add: whoever begins with one has something that works."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gorgond.errors import SinkAway
from gorgond.providers import source
from gorgond.redpill import Message
from gorgond.settings import Journal, Provider, setting
from gorgond.sinks import sink
from gorgond.validators import matching, whole

GIVEN = {
    "dataclass": dataclass, "setting": setting, "matching": matching, "Provider": Provider,
    "Source": source.Source, "Batch": source.Batch, "Item": source.Item, "Sink": sink.Sink, "SinkAway": SinkAway,
}  # fmt: skip


def example(module: ModuleType) -> dict[str, Any]:
    """What the example in the docstring of a module defines."""
    lines = re.search(r"^( *)(@|class )(.*\n?(?=\1|\n))*", module.__doc__ or "", re.MULTILINE)
    assert lines is not None
    defined = {"__name__": __name__, **GIVEN}
    exec(dedent(lines[0]), defined)
    return defined


async def test_the_example_of_a_source_is_one() -> None:
    defined = example(source)

    async def fetch(_: Any, since: int) -> tuple[list[Any], int]:
        return [SimpleNamespace(uid="7", document={"title": "hello"})], since + 1

    # given what the example leaves to its reader
    defined["MailSource"]._fetch = fetch
    made = defined["MailSource"]("mail", defined["MailSettings"]("mail"))
    # then it is polled, from the beginning and from where it was
    assert await made.poll(None) == source.Batch([source.Item("7", {"title": "hello"})], 1, 60.0)
    assert (await made.poll(1)).cursor == 2


def test_the_example_of_a_sink_is_one() -> None:
    defined = example(sink)
    sent: list[Message] = []

    def send(_: Any, event: Message) -> None:
        if len(sent) == 2:
            raise OSError("no line")
        sent.append(event)

    defined["PagerSink"]._send, defined["PagerSink"]._hang_up = send, lambda _: None
    made = defined["PagerSink"].of(Journal())
    # then it says how many it has taken
    with pytest.raises(SinkAway) as away:
        made.write([Message("items.added", id=str(number)) for number in range(3)])
    assert (away.value.written, made.name) == (2, "pager")
    made.close()


def test_a_default_that_is_none_says_so() -> None:
    with pytest.raises(ValueError, match="the default '' is not a whole number from 1 to 9"):
        setting("", whole(1, 9), "how many")
