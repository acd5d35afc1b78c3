"""A provider and a sink more, by the lists of docs/development.md: in a package of their own, which gorgond finds."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.plugin import make_plugin
from tests.programs import gorgond, started
from tests.waiting import eventually
from tools.speed.ports import free_port

PROVIDER = '''"""Greetings from outside."""

from dataclasses import dataclass

from gorgond.providers.source import Batch, Item, Source
from gorgond.settings import Provider, setting
from gorgond.validators import matching


@dataclass(frozen=True, slots=True)
class Settings(Provider):
    words: str = setting("hello", matching("words", r"[a-z ]*"), "what is said")


class Greetings(Source):
    settings = Settings

    def __init__(self, name, settings):
        super().__init__(name, settings)
        self.words = settings.words.split()

    async def poll(self, cursor):
        first = cursor or 0
        some = self.words[first : first + 2]
        items = [Item(str(n), {"title": word, "userid": 7}) for n, word in enumerate(some, first)]
        return Batch(items, first + len(some), 0.05)
'''

SINK = '''"""A file with an id a line."""

from dataclasses import dataclass

from gorgond.settings import Journal, setting
from gorgond.sinks.sink import Sink
from gorgond.validators import matching


@dataclass(frozen=True, slots=True)
class Settings(Journal):
    to: str = setting("", matching("a path", r"\\S*"), "where")


class Pager(Sink):
    settings = Settings
    name = "pager"

    def __init__(self, path):
        self.file = open(path, "a")

    @classmethod
    def of(cls, settings):
        return cls(settings.to)

    def write(self, events):
        self.file.writelines(event.args["id"] + "\\n" for event in events)
        self.file.flush()

    def close(self):
        self.file.close()
'''

POINTS = {
    "gorgond.providers": {"greetings": "throwaway_provider:Greetings", "broken": "throwaway_provider:Nothing"},
    "gorgond.sinks": {"pager": "throwaway_sink:Pager"},
}


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    """The package: what finds it in the environment."""
    modules = {"throwaway_provider": PROVIDER, "throwaway_sink": SINK}
    return {"PYTHONPATH": str(make_plugin(tmp_path / "plugin", modules, POINTS))}


def test_a_provider_and_a_sink_more(plugin: dict[str, str], tmp_path: Path) -> None:
    # given a configuration that names both
    conf, pager, output = tmp_path / "conf", tmp_path / "pager", tmp_path / "output"
    conf.write_text(
        f"[journal]\nkind = pager\nto = {pager}\n"
        "[provider.greet]\nkind = greetings\nwords = good morning and welcome here\n"
    )
    # when gorgond runs
    arguments = ("simulate", "--port", str(free_port()), "--config", str(conf))
    with started(*arguments, output=output, **plugin) as process:
        # then what the one brings arrives at the other
        eventually(lambda: pager.exists() and pager.read_text().count("\n") == 5)
        assert pager.read_text().split() == [f"greet:{n}" for n in range(5)]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert "pushed 5 items in " in output.read_text()


def test_their_settings_are_settings(plugin: dict[str, str], tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.write_text("[provider.greet]\nkind = greetings\nwords = hi\n[journal]\nkind = pager\nto = /tmp/x\n")
    shown = gorgond("config", "--show", "--config", str(conf), GORGOND_PROVIDER_GREET_WORDS="hello there", **plugin)
    assert shown.returncode == 0, shown.stderr
    assert "# what is said (GORGOND_PROVIDER_GREET_WORDS)\nwords = hello there\n" in shown.stdout
    assert f"# where ({conf}:6)\nto = /tmp/x\n" in shown.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # each kind has its own settings
        ("[provider.greet]\nrate = 5\nkind = greetings", ':2: there is no key in [provider.greet] "rate"'),
        ("[provider.greet]\nwords = a\n", ':2: there is no key in [provider.greet] "words"'),
        ("[journal]\nto = /tmp/x\n", ':2: there is no key in [journal] "to"'),
        # what there is not is refused with what there is
        ("[provider.greet]\nkind = imap", "kind cannot be 'imap'; allowed: random http broken greetings"),
        ("[journal]\nkind = imap", "kind cannot be 'imap'; allowed: journald file pager"),
        # and what cannot be read says why
        (
            "[provider.greet]\nkind = broken",
            ":2: [provider.greet] kind: broken, which is throwaway_provider:Nothing: AttributeError: module",
        ),
    ],
)
def test_what_does_not_fit_is_refused(plugin: dict[str, str], tmp_path: Path, text: str, said: str) -> None:
    conf = tmp_path / "conf"
    conf.write_text(text)
    done = gorgond("config", "--check", "--config", str(conf), **plugin)
    assert done.returncode != 0
    assert said in done.stderr
    assert json.dumps(done.stderr).count("\\n") == 1
