"""The public face says all that one must know to use it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import gorgond
from gorgond import App, redpill
from gorgond.config import load
from gorgond.redpill import drivers
from gorgond.redpill.memory import MemoryBroker

FACE = (
    App,
    redpill.Broker,
    redpill.Caller,
    redpill.ConcurrentConsumer,
    redpill.ConcurrentSubscription,
    redpill.Consumer,
    redpill.Listener,
    redpill.Message,
    redpill.Producer,
    redpill.Subscription,
)


@pytest.mark.parametrize("face", FACE, ids=lambda face: face.__name__)
def test_it_says_what_each_argument_is_what_is_raised_and_shows_an_example(face: type) -> None:
    doc = inspect.getdoc(face) or ""
    parameters = [*inspect.signature(face.__init__).parameters][1:]  # type: ignore[misc]
    assert [name for name in parameters if f"`{name}`" not in doc] == []
    assert "aise" in doc
    assert f"{face.__name__}(" in doc or face is redpill.Broker
    assert any(line.startswith("    ") for line in doc.splitlines())


@pytest.mark.parametrize("face", FACE, ids=lambda face: face.__name__)
def test_each_method_says_what_it_does(face: type) -> None:
    methods = [name for name, each in inspect.getmembers(face) if inspect.isfunction(each) and not name.startswith("_")]
    assert [name for name in methods if not inspect.getdoc(getattr(face, name))] == []


def test_everything_that_is_offered_says_what_it_is() -> None:
    offered = [getattr(module, name) for module in (gorgond, redpill) for name in module.__all__]
    ours = [each for each in offered if getattr(each, "__module__", "").startswith("gorgond.") and callable(each)]
    assert [each for each in ours if not each.__doc__] == []
    methods = [
        method
        for each in ours
        if isinstance(each, type)
        for name, method in inspect.getmembers(each)
        if (inspect.isfunction(method) or isinstance(method, property)) and not name.startswith("_")
    ]
    assert [method for method in methods if not inspect.getdoc(method)] == []


def test_what_is_offered_is_there() -> None:
    assert [name for name in redpill.__all__ if not hasattr(redpill, name)] == []


def test_each_module_of_redpill_is_on_its_map() -> None:
    folder = Path(redpill.__file__).parent
    words = set(re.findall(r"\w+", redpill.__doc__ or ""))
    assert {path.stem for path in folder.glob("*.py")} - words == {"__init__"}


class _Toy(MemoryBroker):
    """A broker of somebody's own."""


def test_a_broker_more_is_a_line_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a driver that the table names
    monkeypatch.setattr(drivers, "DRIVERS", {**drivers.DRIVERS, "toy": f"{__name__}:_Toy"})
    # then its addresses are known, and others are told what is
    assert isinstance(redpill.connect("toy://here"), _Toy)
    with pytest.raises(ValueError, match=r"carrot:// is no broker; allowed are redis://, .* and toy://"):
        redpill.connect("carrot://here")
    # and whatever the table names may be configured
    for scheme in redpill.DRIVERS:
        assert load(None, {}, {"broker.url": f"{scheme}://x"}).broker.url == f"{scheme}://x"


async def _nothing(_: object) -> Any:
    """Handles nothing."""


def test_a_consumer_of_what_is_no_queue_or_of_no_message_is_refused() -> None:
    broker = MemoryBroker()
    for consumer in (redpill.Consumer, redpill.ConcurrentConsumer):
        with pytest.raises(ValueError, match="is no queue name"):
            consumer(broker, "a queue", "name", _nothing)
        with pytest.raises(ValueError, match="not 0"):
            consumer(broker, "queue", "name", _nothing, 0)
