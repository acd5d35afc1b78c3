"""The package tells the truth about its programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gorgond import __version__, gorgonctl
from gorgond.chaos import cli as chaos
from gorgond.chaos.drills import DRILLS
from gorgond.commands import units
from gorgond.config import KINDS
from gorgond.errors import GorgonError
from gorgond.notifiers.email import Email
from gorgond.providers.random import RandomSettings
from gorgond.roles import COMMANDS, ROLES, SCALED
from gorgond.roles.row import ANY, Role
from gorgond.service.channels import SETTLED, UNSETTLED
from gorgond.settings import SECTIONS, OAuth2, keys
from gorgond.stats.verdict import ASKING
from tests.programs import ROOT, gorgond
from tests.waiting import HANGS
from tools import made

DEBIAN, UNITS = ROOT / "debian", ROOT / "systemd"
ROLE_UNITS = sorted(UNITS.glob("gorgon-*@.service"))


def commands(help: str) -> list[str]:
    return re.findall(r"^    ([a-z]+)(?: |$)", help, re.MULTILINE)


def page(name: str) -> str:
    return (DEBIAN / "man" / name).read_text().replace("\\-", "-")


def completed(program: str, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    script = f"""
        source {DEBIAN / "completions" / program}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _{program.replace("-", "_")}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    bin = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", script, "bash", program, *words],
        capture_output=True, text=True, check=True, env={**os.environ, "PATH": f"{bin}:{os.environ['PATH']}"},
        timeout=HANGS,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


HELP: dict[str, Callable[[], str]] = {
    "gorgond": lambda: gorgond("--help").stdout,
    "gorgonctl": lambda: gorgonctl._parser().format_help(),
    "gorgon-chaos": lambda: chaos._parser().format_help(),
}


@pytest.mark.parametrize("program", HELP)
def test_the_manual_and_the_completion_know_every_command(program: str) -> None:
    help = HELP[program]()
    assert commands(help)
    assert completed(program, "") == [*commands(help), "--help", "--version"]
    for command in commands(help):
        assert re.search(rf"^\.(B|BI|BR) \"?{command}\b", page(f"{program}.8"), re.MULTILINE), command


def test_the_manual_knows_every_setting() -> None:
    text = page("gorgond.conf.5")
    for section, kind in {
        **SECTIONS,
        "provider.NAME": RandomSettings,
        "notify.NAME": Email,
        "oauth2.NAME": OAuth2,
    }.items():
        described = text[text.index(f"[{section}]") :].split(".TP")[0]
        assert [key for key in keys(kind) if not re.search(rf"\b{key}\b", described)] == []


def test_the_manual_knows_every_unit_and_has_a_page_of_its_name() -> None:
    links = (DEBIAN / "gorgond.links").read_text()
    for unit in (each.name for each in UNITS.glob("gorgon*.*") if each.is_file()):
        assert unit in page("gorgon.target.8")
        assert unit == "gorgon.target" or f"man8/{unit}.8" in links


def test_the_operator_is_told_what_to_do_about_every_unit() -> None:
    red = (ROOT / "docs/operations.md").read_text().split("| a unit is red |")[1].split("\n\n")[0]
    for unit in (*UNITS.glob("gorgon-*.service"), *UNITS.glob("gorgon-*.socket")):
        assert f"`{unit.name.removesuffix('.service')}`" in red


@pytest.mark.parametrize("unit", ROLE_UNITS, ids=lambda unit: unit.name)
def test_units_of_roles_have_the_same_beginning(unit: Path) -> None:
    """One drop-in has what is common; the lines that systemd wants in each unit are the same in all."""
    lines = unit.read_text().splitlines()
    role = unit.name.removeprefix("gorgon-").removesuffix("@.service")
    for line in (
        "PartOf=gorgon.target",
        "ReloadPropagatedFrom=gorgon.target",
        "Wants=gorgon-broker.service gorgon-broker-watch.service",
        "After=gorgon-broker.service gorgon-broker-watch.service network-online.target",
        "StartLimitIntervalSec=0",
        "ExecReload=/bin/sh -c 'kill -HUP $MAINPID'",
        f"User={'gorgond' if role.startswith('store') else f'gorgon-{role}'}",
        f"Environment=GORGOND_BROKER_USER={role}",
        f"LoadCredential=broker.password:gorgond.broker.password.{role}",
    ):
        assert line in lines
    shared = (UNITS / "gorgon-.service.d/10-common.conf").read_text()
    own = {line.partition("=")[0] for line in lines if "=" in line and not line.startswith("#")}
    adding_up = {"Environment"}
    assert {key for key in own - adding_up if re.search(rf"^{key}=", shared, re.MULTILINE)} == set()


def test_what_a_unit_has_in_place_of_what_is_common_has_the_last_word() -> None:
    """A drop-in comes after the unit's own lines; of several the last one in the alphabet, from wherever it is."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    common = "10-common.conf"
    assert {*UNITS.glob("*.d/*")} == {UNITS / "gorgon-.service.d" / common, *made.texts()} & {*UNITS.glob("*.d/*")}
    assert {file.name for file in made.texts() if file.parent.suffix == ".d"} == {"20-own.conf"}
    with tempfile.TemporaryDirectory() as root:
        units = Path(root) / "etc/systemd/system"
        shutil.copytree(UNITS / "gorgon-.service.d", units / "gorgon-.service.d")
        shutil.copy(UNITS / "gorgon-provider@.service", units)
        own = units / "gorgon-provider@.service.d/20-own.conf"
        own.parent.mkdir()

        def private_network() -> bool:
            command = ["systemd-analyze", "security", "--offline=true", f"--root={root}", "gorgon-provider@x.service"]
            said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS).stdout
            return re.search("^✓ PrivateNetwork=", said, re.MULTILINE) is not None

        # given what all units have in common, when one of them has something else, then that is so
        assert private_network()
        own.write_text("[Service]\nPrivateNetwork=no\n")
        assert not private_network()


def test_a_provider_that_has_done_all_is_not_started_again_and_who_stands_in_just_ends() -> None:
    assert "\nRestart=on-failure\n" in (UNITS / "gorgon-provider@.service.d/20-own.conf").read_text()
    for role in ("web", "stats"):
        own = (UNITS / f"gorgon-{role}-socket.service.d/20-own.conf").read_text()
        assert own == "[Service]\nType=oneshot\nRestart=no\nExecStopPost=\n"


def test_the_package_makes_the_users_of_all_units() -> None:
    made = re.findall(r"^u (\S+)", (DEBIAN / "gorgond.sysusers").read_text(), re.MULTILINE)
    used = [re.findall("^User=(.*)$", unit.read_text(), re.MULTILINE) for unit in sorted(UNITS.glob("*.service"))]
    assert [unit for unit in used if len(unit) != 1] == []  # one without would run as root
    assert {unit[0] for unit in used} == set(made)


def test_the_key_that_seals_passwords_is_given_to_those_who_need_it_and_no_others() -> None:
    given = {unit.name for unit in ROLE_UNITS if "LoadCredential=auth.key:gorgond.auth.key\n" in unit.read_text()}
    assert given == {"gorgon-web@.service", "gorgon-auth@.service"}


def test_an_upgrade_restarts_auth_servers_then_stores_then_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new auth servers take what the old web servers send; the old ones could not open what the new ones seal, and
    ask for accounts where new stores refuse them. Then the stores, who alone take from queues that the new of others
    use; what the new auth servers ask waits for them."""
    # given units that run, as systemctl lists them
    running = ("gorgon-web@1", "gorgon-auth@10", "gorgon-store@1", "gorgon-auth@9")
    lines = "\n".join(f"{name}.service loaded active running x" for name in running)
    monkeypatch.setattr(units, "systemctl", lambda *_: lines)
    # when all are restarted
    said: list[str] = []
    units.restart(said.append)
    # then each comes after those that must understand it
    order = ["gorgon-auth@9", "gorgon-auth@10", "gorgon-store@1", "gorgon-web@1"]
    assert said == [f"restarting {name}.service" for name in order]


def test_a_roll_begins_with_what_has_failed_and_says_why_it_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # given an app server whose configuration was wrong, and is, one that was drained, and one that works
    states = {"gorgon-app@1": "failed failed", "gorgon-app@2": "inactive dead", "gorgon-app@3": "active running"}
    why = "wrong configuration: shop.py:3: NameError: name 'itn' is not defined"

    def systemctl(verb: str, *_: str) -> str:
        if verb == "restart":
            raise GorgonError("systemctl restart: Job failed")
        listed = "\n".join(f"{name}.service loaded {state} x" for name, state in states.items())
        return listed if verb == "list-units" else f"{why}\n"

    monkeypatch.setattr(units, "systemctl", systemctl)
    # when they are restarted, then it stops at the first, with its own words
    said: list[str] = []
    with pytest.raises(GorgonError, match=rf"^gorgon-app@1\.service: {re.escape(why)}; see: journalctl -u "):
        units.restart(said.append, ["app"])
    assert said == ["restarting gorgon-app@1.service"]


FORGOTTEN = {("notify", "auth_get")}  # asked for clients that come: who ends lets none in, and waits for no answer


def test_who_asks_ends_before_who_answers() -> None:
    """Or what it has asked, and waits for while it ends, would lie there until its deadline."""
    for asker in ROLES.values():
        for answerer in ROLES.values():
            asked = {queue for queue in asker.access.pushes if (asker.name, queue) not in FORGOTTEN}
            asked &= {*answerer.access.consumes}
            assert asker is answerer or not asked or asker.ends < answerer.ends, (asker.name, answerer.name, asked)


def test_every_role_has_a_unit_a_user_and_a_place_in_the_generator() -> None:
    roles = {unit.name.removeprefix("gorgon-").removesuffix("@.service") for unit in ROLE_UNITS}
    assert roles == set(ROLES) == {*SCALED, "provider"}
    generator = (UNITS / "lib/gorgond-generator").read_text()
    listed = generator.partition("cat <<'end'\n")[2].partition("end\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == list(ROLES)


@pytest.mark.parametrize("file", made.texts(), ids=lambda file: file.name)
def test_what_the_package_has_of_the_table_of_roles_is_true_of_it(file: Path) -> None:
    text = file.read_text() if file.exists() else ""
    changes = "".join(made.difference(file, text, made.texts()[file]))
    assert changes == "", f"tools/made.py writes it:\n{changes}"


@pytest.mark.parametrize(
    "what", ["role", "store", "provider", "channel of notifications", "sink", "gorgonctl command", "figure"]
)
def test_one_more_of_anything_is_five_places_at_most_and_they_are_there(what: str) -> None:
    text = (ROOT / "docs/development.md").read_text().split(f"\n**A {what}**\n")[1].split("\n**A ")[0].split("\n## ")[0]
    places = re.findall(r"^[0-9]\. ", text, re.MULTILINE)
    assert 1 <= len(places) <= 5
    named = re.findall(r"`((?:gorgond|systemd|debian|docs|tests|tools|etc)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("role", COMMANDS.values(), ids=COMMANDS)
def test_the_architecture_says_what_each_role_takes_and_gives(role: Role) -> None:
    rows = (ROOT / "docs/architecture.md").read_text().splitlines()
    row = next(line for line in rows if line.startswith(f"| {role.name} | `gorgond {role.name}"))
    used = {name.replace(ANY, "NAME") for name in (*role.access.pushes, *role.access.consumes)}
    assert {name for name in used if f"`{name}`" not in row} == set()


def test_the_generator_does_what_the_table_says(tmp_path: Path) -> None:
    """With another configuration, secrets and units than those of this host."""
    # given a host with an oauth2 site, a database elsewhere, and secrets
    conf, credentials, output = tmp_path / "conf", tmp_path / "credentials", tmp_path / "made"
    credentials.mkdir()
    secrets = (
        "store.url", "stats.password", "oauth2.google.client_secret", "notify.email.url", "provider.post.password",
        "journal.token",
    )  # fmt: skip
    for secret in secrets:
        (credentials / f"gorgond.{secret}").write_text("sql://db\n")
    conf.write_text(
        "[instances]\nstore = 3\nstats = 0\nprovider = slow post post.2\n"
        "[web]\nport = 80\n[oauth2.google]\n[provider.slow]\nkind = random\n[provider.post]\nkind = mail\n"
        "[journal]\nkind = pager\n[notify.email]\n"
    )
    text = (UNITS / "lib/gorgond-generator").read_text()
    for name, path in (("conf", conf), ("credentials", credentials), ("units", UNITS)):
        text = re.sub(f"^{name}=.*$", f"{name}={path}", text, count=1, flags=re.MULTILINE)
    # when systemd asks what there is
    subprocess.run(["sh", "-c", text, "generator", str(output)], check=True, timeout=HANGS)
    # then each role has as many instances as are wanted, where not as many as its row says
    numbers = {name: ROLES[name].number for name in SCALED if name != "web"} | {"store": "3", "stats": "0"}
    wanted = {each.name for each in (output / "gorgon.target.wants").iterdir()}
    assert {each for each in wanted if "web" not in each} == {
        *(f"gorgon-{name}@{number + 1}.service" for name, some in numbers.items() for number in range(int(some))),
        *(f"gorgon-{name}.socket" for name, some in numbers.items() if ROLES[name].unit.port and some != "0"),
        *(f"gorgon-provider@{name}.service" for name in ("post", "post.2", "slow")),
        "gorgon-broker-watch.service", "gorgon-broker.service",
    }  # fmt: skip
    assert {"gorgon-web.socket", "gorgon-web@1.service"} <= wanted
    # and each the secrets and the network that are its own
    drop_ins = {str(each.relative_to(output)).replace("@.service.d/50-", " ") for each in output.glob("*@.service.d/*")}
    store = {f"gorgon-{each} {what}.conf" for each in ASKING for what in ("store.url", "network")}
    auth = {"gorgon-auth oauth2.google.client_secret.conf", "gorgon-auth network.conf"}
    journal = {"gorgon-journal network.conf", "gorgon-journal journal.token.conf"}
    notify = {"gorgon-notify network.conf", "gorgon-notify notify.email.url.conf"}
    assert drop_ins == {*store, *auth, *journal, *notify, "gorgon-stats stats.password.conf"}
    # and a provider whose kind asks the world has its network, and its secrets, for itself
    alone = {str(each.relative_to(output)) for each in output.glob("gorgon-provider@*/*")}
    assert alone == {
        f"gorgon-provider@{name}.service.d/50-{what}.conf"
        for name in ("post", "post.2")
        for what in ("network", "provider.post.password")
    }
    assert "ListenStream=80\n" in (output / "gorgon-web.socket.d/50-listen.conf").read_text()
    assert not (output / "gorgon-stats.socket.d").exists()


def test_the_generator_knows_which_kinds_need_no_network() -> None:
    """Without a kind it is one of ours that needs none. A channel of notifications always needs it."""
    offline = re.search('^offline="(.*?)"  #', (UNITS / "lib/gorgond-generator").read_text(), re.MULTILINE)
    assert offline is not None
    assert offline[1].split() == [
        f"{section}:{name}"
        for section, kinds in KINDS.items()
        if section != "notify"
        for name in ("", *kinds.table)
        if not name or not kinds.load(name).network
    ]


def test_the_package_has_the_version_of_the_program() -> None:
    assert (DEBIAN / "changelog").read_text().startswith(f"gorgond ({__version__}) ")


def test_the_completion_of_chaos_knows_every_drill() -> None:
    assert completed("gorgon-chaos", "drill", "") == list(DRILLS)


def test_the_completion_of_gorgonctl_knows_every_role() -> None:
    assert completed("gorgonctl", "scale", "") == list(SCALED)
    assert completed("gorgonctl", "restart", "")[: len(ROLES)] == [*SCALED, "provider"]


def test_the_completion_of_gorgonctl_knows_every_state_of_a_notification() -> None:
    assert completed("gorgonctl", "notifications", "") == ["list", "replay"]
    assert completed("gorgonctl", "notifications", "list", "--state", "") == [*UNSETTLED, *SETTLED]


def test_no_document_puts_a_secret_where_every_user_of_the_host_sees_it() -> None:
    """In the arguments of a process, that is: from the environment or a file it is read by its own user alone."""
    root = DEBIAN.parent
    for file in (
        root / "README.md",
        *(root / "docs").glob("*.md"),
        *DEBIAN.glob("gorgond.*"),
        *(root / "etc").iterdir(),
    ):
        assert not re.search(r"redis-cli\b[^\n]*\s(-a|--pass)\s", file.read_text()), file.name
