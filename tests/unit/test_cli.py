"""The command line: what it says and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pymongo
import pytest

from gorgond import __version__, cli
from gorgond.roles import COMMANDS as ROLES
from tests.programs import gorgond

COMMANDS = ("up", *ROLES, "watch", "load", "copy", "client", "simulate", "new", "enqueue", "config")
AROUND = 10  # lines of help: with a line for each command it fits on a screen


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed by a command that only prints."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_on_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(["--help"], capsys).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("    ") and line[4] != " "] == list(COMMANDS)
    assert len(lines) <= AROUND + len(COMMANDS)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--help" in printed([command, "--help"], capsys)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["--version"], capsys) == f"gorgond {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["web", "--port", "http"], "--port: [web] port cannot be 'http'; allowed: a whole number from 0 to 65535"),
        (["web", "--instance", "a b"], "--instance cannot be 'a b'"),
        (["store", "--store", "file.db"], "--store: [store] url cannot be"),
        (["load", "--store", "redis://x"], "--store: [store] url cannot be"),
        (["simulate", "--without", "store"], "--without needs a --broker that other processes reach"),
        (["config", "--check", "--config", "/nonexistent"], "/nonexistent: cannot be read"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_exit_code_78(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GORGOND_CONFIG", os.devnull)
    assert cli.main(arguments) == 78
    shown = capsys.readouterr().err
    assert shown.startswith("gorgond: ")
    assert says in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("GORGOND_BROKER_URL", "redis://user:hid/den@host"),
        ("GORGOND_BROKER_CALLS", "redis://host?nosuch=1"),
        ("GORGOND_STORE_URL", "mongodb://user:hid/den@host"),
        ("GORGOND_STORE_URL", "mongodb+srv://user:hid/den@host"),
        ("GORGOND_STORE_URL", "mongodb+srv://db.notes.example:27017/notes"),
        ("GORGOND_STORE_URL", "mongodb://user:hidden@host/notes?w=1"),
        pytest.param(
            "GORGOND_STORE_URL",
            "mongodb+srv://1.2.3.4/notes",
            marks=pytest.mark.skipif(pymongo.version.startswith("3."), reason="pymongo 3 takes it for a name"),
        ),
        ("GORGOND_STORE_URL", "sqlite:///:memory:"),
    ],
)
def test_an_address_that_services_would_refuse_is_no_good_configuration(
    variable: str, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GORGOND_CONFIG", os.devnull)
    monkeypatch.setenv(variable, url)
    assert cli.main(["config", "--check"]) == 78
    shown = capsys.readouterr().err
    assert shown.startswith(f"gorgond: {variable}: [{variable.split('_')[1].lower()}] ")
    assert shown.count("\n") == 1
    assert "hid" not in shown


def test_a_provider_that_is_not_configured_is_no_good_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gorgond.conf"
    file.write_text("[instances]\nprovider = random nosuch\n[provider.random]\n")
    assert cli.main(["config", "--check", "--config", str(file)]) == 78
    place = f"gorgond: {file}:2: [instances] provider: "
    assert capsys.readouterr().err == f"{place}there is no section [provider.nosuch]; the providers are: random\n"


def test_mistakes_between_settings_are_told_with_those_of_values_in_the_order_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given values that are none, and right ones that do not fit together
    file = tmp_path / "gorgond.conf"
    file.write_text(
        "[oauth2.ours]\nkind = oidc\n[web]\nport = 3001\n[store]\nurl = sqlite:///:memory:\nlanes = 1000\n"
        "[instances]\nprovider = nosuch random other\nstore = many\n"
        "[broker]\nurl = redis://user:hid/den@host\ncalls = redis://host?nosuch=1\n[stats]\naddress = 0.0.0.0\n"
    )
    # when they are checked
    assert cli.main(["config", "--check", "--config", str(file)]) == 78
    first, *lines = capsys.readouterr().err.splitlines()
    # then each is told, by its line
    assert first == "gorgond: the configuration has 12 mistakes:"
    places = [line.removeprefix(f"{file}:").split(": ")[:2] for line in lines]
    assert [(int(number), of.split()[0]) for number, of in places] == [
        (2, "[oauth2.ours]"), (2, "[oauth2.ours]"), (4, "[web]"), (6, "[store]"), (7, "[store]"), (9, "[instances]"),
        (9, "[instances]"), (10, "[instances]"), (12, "[broker]"), (13, "[broker]"), (15, "[stats]"), (15, "[stats]"),
    ]  # fmt: skip
    assert f"3001 is that of [web] too, at {file}:4" in lines[-1] + lines[-2]


def test_what_follows_from_a_wrong_value_is_no_mistake_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given values that are none, whose defaults would not fit to the others
    file = tmp_path / "gorgond.conf"
    file.write_text(
        "[web]\nport = x\nurl = notes.example\n[stats]\nport = 3000\naddress = 0.0.0.0\npassword = a b\n"
        "[oauth2.ours]\nclient_id = a b\nissuer = id.example\n"
    )
    # then each is told, and nothing else
    assert cli.main(["config", "--check", "--config", str(file)]) == 78
    assert "has 5 mistakes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("web", "stats", "well"),
    [
        ("", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.2", True),
        ("127.0.0.1", "::", False),
    ],
)
def test_two_roles_cannot_listen_on_one_port(tmp_path: Path, web: str, stats: str, well: bool) -> None:
    file = tmp_path / "gorgond.conf"
    file.write_text(f"[web]\naddress = {web}\n[stats]\nport = 3000\naddress = {stats}\npassword = some\n")
    assert cli.main(["config", "--check", "--config", str(file)]) == (0 if well else 78)


@pytest.mark.parametrize("arguments", [[], ["nosuch"], ["client", "--clients", "0"], ["client", "--rate", "-1"]])
def test_what_is_not_understood_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_nobody_to_measure_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["client", "--url", "http://localhost:1"]) == 1
    assert "nobody answers at http://localhost:1" in capsys.readouterr().err


def test_settings_are_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # given a file
    file = tmp_path / "gorgond.conf"
    file.write_text("[web]\nport = 1234\n")
    # then it can be checked and shown
    assert cli.main(["config", "--check", "--config", str(file)]) == 0
    assert cli.main(["config", "--show", "--config", str(file)]) == 0
    assert "port = 1234" in capsys.readouterr().out


def test_the_instance_comes_from_the_environment_too() -> None:
    done = gorgond("store", GORGOND_INSTANCE="a/b")
    assert (done.returncode, "GORGOND_INSTANCE cannot be 'a/b'" in done.stderr) == (78, True)


def test_a_provider_without_section_is_named() -> None:
    done = gorgond("provider", "nosuch")
    assert done.returncode == 78
    assert done.stderr == "gorgond: there is no section [provider.nosuch]; the providers are: random\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, gorgond.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'redis', 'pymongo', 'tornado', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"
