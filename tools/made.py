#!/usr/bin/env -S sh -c 'exec "${0%/*}/python" "$0" "$@"'
"""Writes what the package has of the table of roles: run it after a change of gorgond/roles/__init__.py.

    tools/made.py             writes it: units, sockets, users, links and lists in pages of the manual
    tools/made.py --check     says what it would change; the exit code is 0 when that is nothing

A unit is made whole, of the rest only the lists. A test compares all of it with the table.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gorgond.roles import COMMANDS, ROLES, SCALED
from gorgond.roles.row import Role
from gorgond.service.output import run_command
from gorgond.settings import SECTIONS, keys

ROOT = Path(__file__).parents[1]
PORTS = [role for role in ROLES.values() if role.unit.port]
WIDTH = 120


def main() -> int:
    parser = argparse.ArgumentParser(description="Write what the package has of the table of roles.")
    parser.add_argument("--check", action="store_true", help="only say what would change")
    check = parser.parse_args().check
    changed = 0
    for file, text in sorted(texts().items()):
        now = file.read_text() if file.exists() else ""
        if text != now:
            changed += 1
            print("".join(difference(file, now, text)) if check else f"{file.relative_to(ROOT)} is written")
            if not check:
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
    return int(check and changed > 0)


def difference(file: Path, now: str, text: str) -> Iterator[str]:
    """How a file differs from what it must be."""
    name = str(file.relative_to(ROOT))
    return difflib.unified_diff(now.splitlines(True), text.splitlines(True), name, f"{name} by the table of roles")


def texts() -> dict[Path, str]:
    """The text of each file."""
    units = ROOT / "systemd"
    files = {units / f"gorgon-{role.name}@.service": unit(role) for role in ROLES.values()}
    for role in PORTS:
        files[units / f"gorgon-{role.name}.socket"] = port(role)
        files[units / f"gorgon-{role.name}-socket.service"] = stand_in(role)
        files[instead(f"gorgon-{role.name}-socket")] = STANDS_IN
    for role in ROLES.values():
        if role.unit.instead:
            files[instead(f"gorgon-{role.name}@")] = "\n".join(("[Service]", *role.unit.instead, ""))
    for place, begin, end, lines in LISTS:
        file = ROOT / place
        before, rest = files.get(file, file.read_text()).split(begin, 1)
        after = rest[rest.index(end) :] if end else ""
        files[file] = before + begin + lines + after
    return files


# ---- units


def unit(role: Role) -> str:
    """The unit of an instance."""
    needs = role.unit
    which = "%i" if role.section else "--instance %i"
    mode = f" --mode {role.mode}" if role.mode else ""
    program = role.program or f"/usr/bin/gorgond {role.command} {which}{mode}"
    lines = [
        "[Unit]",
        f"Description=gorgond {role.title} %i",
        "Documentation=man:gorgon.target(8)",
        "PartOf=gorgon.target",
        "ReloadPropagatedFrom=gorgon.target",
        "Wants=gorgon-broker.service gorgon-broker-watch.service",
        "After=gorgon-broker.service gorgon-broker-watch.service network-online.target",
        "StartLimitIntervalSec=0",
    ]
    if needs.port:
        lines += [f"Requires=gorgon-{role.name}.socket", f"After=gorgon-{role.name}.socket"]
    lines += [
        "",
        "[Service]",
        f"User={needs.user or f'gorgon-{role.name}'}",
        f"ExecStart={program}",
        "ExecReload=/bin/sh -c 'kill -HUP $MAINPID'",
        f"Environment=GORGOND_BROKER_USER={role.name}",
        f"LoadCredential=broker.password:gorgond.broker.password.{role.name}",
        *(f"LoadCredential={each}:gorgond.{each}" for each in needs.credentials),
    ]
    if needs.port:
        lines += [
            f"Sockets=gorgon-{role.name}.socket",
            "# Without it systemd makes the shared port blocking at each start, for the other servers too.",
            "NonBlocking=yes",
        ]
    lines.append(f"WatchdogSec={needs.watchdog}s")
    if needs.weight != 100:
        lines.append(f"CPUWeight={needs.weight}")
    lines += [f"InaccessiblePaths={' '.join(f'-{each}' for each in needs.hides)}", *needs.lines]
    return "\n".join(lines) + "\n"


def port(role: Role) -> str:
    """The socket that all its servers share."""
    return f"""\
[Unit]
Description=The port that all of gorgond's {role.many} share
Documentation=man:gorgon.target(8)
StopWhenUnneeded=yes

[Socket]
# [{role.name}] address and port of /etc/gorgond/gorgond.conf, where they are set, take the place of this.
ListenStream={listen(role).removeprefix(":")}
FileDescriptorName={role.name}
Service=gorgon-{role.name}-socket.service
Backlog=4096
NoDelay=yes
TriggerLimitIntervalSec=0
"""


def listen(role: Role) -> str:
    """Where its servers listen unless it is set: address:port, all addresses without one."""
    declared = keys(SECTIONS[role.name])
    return f"{declared['address'].default}:{declared['port'].default}"


def stand_in(role: Role) -> str:
    """The unit that the socket starts."""
    return f"""\
[Unit]
Description=Keeps systemd from answering the {role.many}' port itself
Documentation=man:gorgon.target(8)
BindsTo=gorgon-{role.name}.socket
# A socket starts its unit at each connection that this unit does not take. If that were gorgon-{role.name}@1, stopping
# it would not last; this one is simply there.

[Service]
User={role.unit.user or f"gorgon-{role.name}"}
RemainAfterExit=yes
NonBlocking=yes
ExecStart=/bin/true
"""


STANDS_IN = """\
[Service]
Type=oneshot
Restart=no
ExecStopPost=
"""


def instead(unit: str) -> Path:
    """The file in which a unit has its own in place of what all have in common. A drop-in wins over the unit's own
    lines, and of two drop-ins the one that is later in the alphabet."""
    return ROOT / f"systemd/{unit}.service.d/20-own.conf"


# ---- lists


def instances() -> str:
    """The lines of [instances]."""
    return "".join(f"{ROLES[name].key} = {ROLES[name].number}\n" for name in SCALED)


def generator() -> str:
    """The roles as the generator reads them."""
    rows = [
        (
            role.name,
            listen(role) if role.unit.port else "-",
            "yes" if role.database else "-",
            ",".join(role.unit.secrets) or "-",
            ",".join(role.unit.opens) or "-",
            role.unit.kind or "-",
            "named" if role.section else role.number,
        )
        for role in ROLES.values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(f"{word:{width}}" for word, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def users() -> str:
    """Those of sysusers.d(5)."""
    own = [role for role in ROLES.values() if not role.unit.user]
    return "".join(f'u gorgon-{role.name} - "gorgond {role.many.partition(",")[0]}"\n' for role in own)


def unit_names() -> list[str]:
    """Those of the roles."""
    found = []
    for role in ROLES.values():
        if role.unit.port:
            found += [f"gorgon-{role.name}.socket", f"gorgon-{role.name}-socket.service"]
        found.append(f"gorgon-{role.name}@.service")
    return found


def links() -> str:
    """A page of the manual for each unit."""
    pages = "usr/share/man/man8"
    return "".join(f"{pages}/gorgon.target.8 {pages}/{name}.8\n" for name in unit_names())


def commands() -> str:
    """The commands of the roles, each with what it does, for the manual."""
    return "".join(f".TP\n.B {role.name}\n{role.help[0].upper()}{role.help[1:]}.\n" for role in COMMANDS.values())


def all_units() -> str:
    """The names that the page of the units has."""
    own = ("broker", "broker-watch", "sentinel")
    first = ["gorgon.target", "gorgon.slice", *(f"gorgon-{each}.service" for each in own)]
    return textwrap.fill(", ".join([*first, *unit_names()]), WIDTH - 2, break_on_hyphens=False)


def sections() -> str:
    """The sections that the configuration may have once each, with their settings, for the manual."""
    return "".join(f".TP\n.B [{name}]\n{about_section(name)}\n" for name in SECTIONS)


def about_section(name: str) -> str:
    """What is in a section, and its settings."""
    about = (SECTIONS[name].__doc__ or "").partition(".")[0]
    some = ", ".join(keys(SECTIONS[name]))
    if name == "instances":
        numbered = ", ".join(ROLES[each].key for each in SCALED)
        named = ", ".join(role.key for role in ROLES.values() if role.section)
        some = f"{numbered} (a number, or a number per core), {named} (names)"
    kind = ", and what its kind has besides" if "kind" in keys(SECTIONS[name]) else ""
    return textwrap.fill(f"{about}: {some}{kind}.".replace("-", "\\-"), WIDTH, break_on_hyphens=False)


def red_units() -> str:
    """The units of instances, for the operator who finds one of them red."""
    return ", ".join(f"`gorgon-{role.name}@`" for role in ROLES.values())


def red_ports() -> str:
    """The units that stand for ports, for the same."""
    sockets, beside = (", ".join(f"`gorgon-{role.name}{end}`" for role in PORTS) for end in (".socket", "-socket"))
    return f"{sockets}, or {beside} beside them"


LISTS = (
    ("etc/gorgond.conf", "changes the line here, and what runs, at once.\n", "\n# Which providers", instances()),
    ("systemd/lib/gorgond-generator", "cat <<'end'\n", "end\n", generator()),
    ("debian/gorgond.sysusers", 'u gorgon-broker - "gorgond broker and its watch"\n', "", users()),
    ("debian/gorgond.links", "gorgon-broker-watch.service.8\n", "", links()),
    ("debian/man/gorgond.8", "lets others in.\n", ".TP\n.B watch\n", commands()),
    ("debian/man/gorgon.target.8", ".SH NAME\n", " \\- units of gorgond", all_units()),
    ("debian/man/gorgond.conf.5", ".SH SECTIONS\n", ".TP\n.B [provider.NAME]", sections()),
    ("docs/operations.md", "| an instance: ", " | `systemctl status` shows the reason", red_units()),
    ("docs/operations.md", "| a port: ", " | another program has the port", red_ports()),
)
"""Where a list stands: a file, what goes before it and after it, and the list."""


if __name__ == "__main__":
    sys.exit(run_command("tools/made.py", main))
