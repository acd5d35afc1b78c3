"""The public face says all that one must know to use it."""

from __future__ import annotations

import inspect

import pytest

from gorgond import App, redpill

FACE = (App, redpill.Broker, redpill.Caller, redpill.ConcurrentConsumer, redpill.Consumer, redpill.Producer)


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


def test_what_is_offered_is_there() -> None:
    assert [name for name in redpill.__all__ if not hasattr(redpill, name)] == []
