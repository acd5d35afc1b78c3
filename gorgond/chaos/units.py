"""The units of this host as a target, over systemctl; gorgon-* and nothing else."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from gorgond.chaos.errors import Refused
from gorgond.chaos.target import Target, Victim
from gorgond.config import Config, load
from gorgond.errors import GorgonError

OPERATOR = Path("/etc/credstore/gorgond.broker.password.operator")  # who may do everything in the broker
SHOWN = ("Id", "MainPID", "ActiveState", "SubState", "StatusText", "NRestarts")
PAUSES = "stop-post"  # the state of a unit whose pause before the next start lasts: systemd/lib/backoff
_UNIT = re.compile(r"gorgon-(?P<name>[a-z-]+@[A-Za-z0-9_-]+|broker)\.service")


class SystemdTarget(Target):
    """All of gorgond on this host. The configuration is the host's own, with the operator's rights in the broker."""

    def __init__(self) -> None:
        self.place = "this host's units"
        plain = load(None, {}, {})
        secrets = [_secret(place) for place in ("broker.url", "broker.route", "store.url")]
        self.config = load(None, {}, _operator(plain) | secrets[0] | secrets[1] | secrets[2])
        host = plain.web.address or "127.0.0.1"
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{plain.web.port}"

    def victims(self) -> list[Victim]:
        listed = _systemctl("list-units", "--all", "--plain", "--no-legend", "gorgon-*.service")
        units = [unit for line in listed.splitlines() if _UNIT.fullmatch(unit := line.split()[0])]
        if not units:
            return []
        blocks = _systemctl("show", f"--property={','.join(SHOWN)}", *units).split("\n\n")
        shown = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
        return sorted(
            (_victim(each) for each in shown if each["ActiveState"] != "inactive" or each["NRestarts"] != "0"),
            key=lambda victim: victim.name,
        )

    def signal(self, name: str, number: signal.Signals) -> None:
        _kill(self._unit(name), "main", number)

    def stop(self, name: str) -> None:
        _systemctl("stop", self._unit(name))

    def start(self, name: str) -> None:
        self.hurry(name)
        _systemctl("start", self._unit(name))

    def hurry(self, name: str) -> None:
        # Only to end the pause helps: what is asked of a unit meanwhile, a start too, waits until it is over.
        unit = self._unit(name)
        if _systemctl("show", "--property=SubState", "--value", unit).strip() == PAUSES:
            _kill(unit, "control", signal.SIGTERM)

    def restart(self, name: str) -> None:
        _systemctl("restart", self._unit(name))

    def add(self, name: str) -> None:
        _systemctl("start", self._unit(name))

    def remove(self, name: str) -> None:
        _systemctl("stop", self._unit(name))

    def _unit(self, name: str) -> str:
        unit = f"gorgon-{name}.service"
        if not _UNIT.fullmatch(unit):
            raise Refused(f"{name} is no unit of gorgond's")
        if name == "broker" and not self.config.broker.url.startswith("unix:"):
            raise Refused("the broker is not this host's own")
        return unit


def _victim(shown: dict[str, str]) -> Victim:
    match = _UNIT.fullmatch(shown["Id"])
    name = match["name"] if match else shown["Id"]
    running = shown["SubState"] == "running"
    waiting = shown["StatusText"].startswith("waiting")
    state = shown["SubState"] if not running else "waiting" if waiting else "up"
    return Victim(name, name.partition("@")[0], int(shown["MainPID"]), state, int(shown["NRestarts"]))


def _operator(config: Config) -> dict[str, str]:
    """The operator's name and password, where the broker is this host's own. Raises Refused when we may not read it."""
    if not config.broker.url.startswith("unix:") or config.broker.password:
        return {}
    try:
        return {"broker.user": "operator", "broker.password": OPERATOR.read_text().strip()}
    except OSError as error:
        raise Refused(f"{OPERATOR}: {error.strerror}; are you root?") from None


def _secret(place: str) -> dict[str, str]:
    """A setting that the services have as a credential."""
    file = Path(f"/etc/credstore/gorgond.{place}")
    return {place: file.read_text().strip()} if file.exists() else {}


def _kill(unit: str, which: str, number: signal.Signals) -> None:
    """Send a signal to a unit's main or control process; nothing happens when there is none."""
    try:
        _systemctl("kill", f"--kill-whom={which}", f"--signal={number.name}", unit)
    except GorgonError as error:
        if f"No {which} process to kill" not in str(error):
            raise


def _systemctl(*arguments: str) -> str:
    """Run systemctl and return what it prints. Raises GorgonError with what it says when it fails."""
    done = subprocess.run(["/bin/systemctl", *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise GorgonError(f"systemctl {' '.join(arguments)}: {' '.join(done.stderr.split()) or 'failed'}")
    return done.stdout
