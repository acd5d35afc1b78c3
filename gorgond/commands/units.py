"""gorgond's units under systemd: which run, which should, and how to get from one to the other without interruption.

Those that gorgon.target wants should run; the generator derives them from [instances] of the configuration.
"""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from gorgond.commands.files import write_whole
from gorgond.commands.held import count_held
from gorgond.config import DEFAULT_PATH, load, rewritten
from gorgond.errors import ConfigError, GorgonError
from gorgond.roles import restarting

SYSTEMD = Path("/run/systemd/system")  # is there where systemd is what started this host
TARGET = "gorgon.target"
BROKER = ("gorgon-broker-watch.service", "gorgon-broker.service")
SENTINEL_UNIT = "gorgon-sentinel.service"
FILES = Path("/var/lib/gorgond/broker")
_INSTANCE = re.compile(r"gorgon-(?P<role>[a-z-]+)@(?P<name>[^.]+)\.service")

Say = Callable[[str], None]


def scale(role: str, number: str, say: Say) -> None:
    """Write the number of instances into the configuration, start those that are missing, stop those beyond.

    Raises ConfigError when the number is none, or the configuration is wrong elsewhere.
    """
    key = role.replace("-", "_")
    load(None, {}, {f"instances.{key}": number})
    set_here("instances", key, number, say)
    apply(say, role)


def set_here(section: str, key: str, value: str, say: Say) -> bool:
    """Write a setting into the configuration of this host, unless it is so already; whether it was written. Raises
    GorgonError."""
    file = Path(DEFAULT_PATH)
    try:
        text = file.read_text()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    changed = rewritten(text, section, key, value)
    if changed == text:
        return False
    _replace(file, changed)
    say(f"{file}: [{section}] {key} = {value}")
    return True


def _replace(file: Path, text: str) -> None:
    """Write a file in one step, with the owner and mode it has."""
    try:
        about = file.stat() if file.exists() else None
        if about is None:
            write_whole(file, text, 0o644)
        else:
            write_whole(file, text, stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid)
    except OSError as error:
        raise GorgonError(f"{file}: cannot be written: {error.strerror}; are you root?") from None


def apply(say: Say, role: str = "") -> None:
    """Start the instances that gorgon.target wants and stop those it does not; of one role, or of all."""
    load(None, {}, {})  # what is wrong must be told before anything is touched
    systemctl("daemon-reload")
    wanted = [unit for unit in systemctl("show", "--property=Wants", "--value", TARGET).split() if _of(unit, role)]
    if state(TARGET) != "active":
        say(f"{TARGET} does not run; it will start {' '.join(wanted) or 'nothing'}")
        _end_old_broker(say)
        return
    present = [unit for unit in instances() if _of(unit, role)]
    for unit in sorted(set(wanted) - set(present), key=_order):
        say(f"starting {unit}")
        _begin("start", unit)
    for unit in sorted(set(present) - set(wanted), key=_order, reverse=True):
        say(f"stopping {unit}")
        systemctl("stop", unit)
    if _old_broker():
        say("[broker] url names another broker than the one that runs here")
        restart(say)


def restart(say: Say, patterns: Iterable[str] = ()) -> None:
    """Restart instances one after another, each when the one before it is ready; all of them, or those of these roles
    or names (store, store@2), with those that have failed. A failure ends it, so that the others go on as they are."""
    load(None, {}, {})
    chosen = list(patterns)
    units = [unit for unit in instances("failed") if not chosen or any(_matches(unit, each) for each in chosen)]
    if chosen and not units:
        raise GorgonError(f"nothing of {' '.join(chosen)} is running")
    for unit in units:
        say(f"restarting {unit}")
        _begin("restart", unit)
    if not chosen:
        _end_old_broker(say)


def _old_broker() -> list[str]:
    """What still runs of the broker of this host though the configuration names another one. The generator masks its
    units then, and systemd does not stop a masked unit that nobody needs any more."""
    return [unit for unit in BROKER if state(unit) == "active" and _property(unit, "LoadState") == "masked"]


def _end_old_broker(say: Say) -> None:
    """Stop that, and say what it holds: nobody asks it any more."""
    units = _old_broker()
    for unit in units:
        say(f"stopping {unit}: [broker] url names another one")
        systemctl("stop", unit)
    if BROKER[-1] not in units:
        return
    try:
        found = count_held(FILES)
    except GorgonError as error:
        say(f"what it holds is in {FILES}, and not known: {error}")
        return
    told = ", ".join(f"{number:,} of {queue}" for queue, number in sorted(found.items()))
    if told:
        say(
            f"it holds messages, which stay in {FILES}: {told}. To have them handled, give [broker] url its old value, "
            "then: systemctl daemon-reload, gorgonctl restart"
        )
    else:
        say("it holds nothing")


def drain(instance: str, say: Say) -> None:
    """Let an instance (store@2) finish what it has begun and end; it stays so until it is started. Raises
    GorgonError."""
    unit = next((each for each in instances() if "@" in instance and _matches(each, instance)), "")
    if not unit:
        running = " ".join(each.removeprefix("gorgon-").removesuffix(".service") for each in instances())
        raise GorgonError(f"{instance} does not run on this host; there are {running or 'none'}")
    say(f"draining {unit}")
    systemctl("stop", unit)
    say(f"{unit} has finished and ended; systemctl start {unit} starts it again")


def instances(*also: str) -> list[str]:
    """The instances that run, or try to, as unit names in order; and those in these other states."""
    lines = systemctl("list-units", "--all", "--plain", "--no-legend", "gorgon-*@*.service").splitlines()
    found = [words[0] for words in map(str.split, lines) if words[2] in ("active", "activating", "reloading", *also)]
    return sorted(filter(_INSTANCE.fullmatch, found), key=_order)


def _of(unit: str, role: str) -> bool:
    match = _INSTANCE.fullmatch(unit)
    return match is not None and role in ("", match["role"])


def _matches(unit: str, chosen: str) -> bool:
    match = _INSTANCE.fullmatch(unit)
    return match is not None and chosen in (unit, match["role"], f"{match['role']}@{match['name']}")


def _order(unit: str) -> tuple[int, int, str, int, str]:
    """As they restart."""
    return restarting(unit.removeprefix("gorgon-").removesuffix(".service"))


def state(unit: str) -> str:
    """Whether a unit runs: active, inactive, failed …"""
    return _property(unit, "ActiveState")


def _property(unit: str, name: str) -> str:
    return systemctl("show", f"--property={name}", "--value", unit).strip()


def _begin(verb: str, unit: str) -> None:
    """Start or restart one. Raises GorgonError, with its own last word, when it does not become ready."""
    try:
        systemctl(verb, unit)
    except GorgonError as error:
        said = _property(unit, "StatusText")
        raise GorgonError(f"{unit}: {said}; see: journalctl -u {unit}" if said else str(error)) from None


def systemctl(*arguments: str) -> str:
    """Run systemctl and return what it prints. Raises GorgonError with what it says when it fails."""
    if not SYSTEMD.exists():
        raise GorgonError(
            "this host was not started by systemd, so there are no units on it; gorgond up runs everything without"
        )
    done = subprocess.run(["/bin/systemctl", *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        unit = arguments[-1]
        advice = f"; see: journalctl -u {unit}" if _INSTANCE.fullmatch(unit) else ""
        raise GorgonError(f"systemctl {' '.join(arguments)}: {' '.join(done.stderr.split()) or 'failed'}{advice}")
    return done.stdout
