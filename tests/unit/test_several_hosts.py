"""Several hosts with one broker: what is refused, what is written, what a broker starts as."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from gorgond.commands.hosts import files
from gorgond.commands.hosts.addresses import Hosts
from gorgond.commands.hosts.files import quoted, sentinel_text, set_text
from gorgond.commands.hosts.invitation import Invitation
from gorgond.commands.hosts.joining import check_database
from gorgond.commands.hosts.role import role_text
from gorgond.errors import GorgonError
from gorgond.gorgonctl import main
from gorgond.redpill import connect
from tests.programs import ROOT
from tests.waiting import HANGS

THREE = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


# ---- which hosts


def test_the_hosts_say_which_of_them_is_this_one_and_what_the_address_of_the_broker_is() -> None:
    hosts = Hosts.of(THREE, {"10.0.0.2", "192.168.0.7"})
    assert (hosts.own, hosts.others, hosts.first) == ("10.0.0.2", ("10.0.0.1", "10.0.0.3"), False)
    assert hosts.url == "sentinel://10.0.0.1,10.0.0.2,10.0.0.3/gorgon?copies=1"
    # and it is one, of IPv6 too
    six = Hosts.of(("fd00:0::1", "[fd00::2]", "fd00::3"), {"fd00::1"})
    assert six.own == "fd00::1"
    for each in (hosts, six):
        assert connect(each.url).url == each.url


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("10.0.0.1", "that is 1 Sentinel: name 3, or another odd number, each on a host of its own"),
        ("10.0.0.1 10.0.0.2", "that is 2 Sentinels: name 3"),
        ("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4", "that is 4 Sentinels: name 3"),
        ("10.0.0.1 10.0.0.2 10.0.0.2", "that is 2 Sentinels: name 3"),
        ("10.0.0.1 10.0.0.2 127.0.0.1", "127.0.0.1 as the host of a Sentinel, which is another one on each host"),
        ("10.0.0.1 10.0.0.2 ::1", "::1 as the host of a Sentinel"),
        ("10.0.0.1 db2 10.0.0.3", "db2 is no address: write that by which the other hosts reach this one"),
        ("10.0.0.2 10.0.0.3 10.0.0.4", "none of .* is an address of this host, which has 10.0.0.1"),
    ],
)
def test_hosts_that_could_not_agree_are_refused_with_what_to_do(words: str, told: str) -> None:
    with pytest.raises(GorgonError, match=told):
        Hosts.of(words.split(), {"10.0.0.1"})


def test_a_database_that_one_host_alone_reaches_is_refused() -> None:
    with pytest.raises(GorgonError, match="have a MongoDB first"):
        check_database("sqlite:////var/lib/gorgond/gorgond.db")
    check_database("mongodb://10.0.0.1,10.0.0.2,10.0.0.3/notes?replicaSet=notes")


# ---- what is written


def test_a_password_may_have_any_characters() -> None:
    assert quoted('a "b\\') == '"a \\"b\\\\"'
    assert 'masterauth "p w"\n' in set_text("10.0.0.1", "p w", complete=True)
    text = sentinel_text("10.0.0.1", "p w", "10.0.0.2", 3)
    assert 'sentinel auth-pass gorgon "p w"\n' in text
    assert ">" not in text


def test_until_all_are_there_the_master_works_alone() -> None:
    assert "\nmin-replicas-to-write 0\n" in set_text("10.0.0.1", "", complete=False)
    assert "\nmin-replicas-to-write 1\n" in set_text("10.0.0.1", "", complete=True)


def test_a_majority_of_the_sentinels_must_agree() -> None:
    for hosts, majority in ((3, 2), (5, 3), (7, 4)):
        assert f"\nsentinel monitor gorgon 10.0.0.2 6379 {majority}\n" in sentinel_text("::1", "", "10.0.0.2", hosts)


def test_with_certificates_nothing_is_said_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host.pem").touch()
    monkeypatch.setattr(files, "TLS", files.Certificates(tmp_path))
    for text, port in ((set_text("10.0.0.1", "", True), 6379), (sentinel_text("10.0.0.1", "", "10.0.0.2", 3), 26379)):
        assert f"\nport 0\ntls-port {port}\n" in text
        assert f"tls-cert-file {tmp_path}/host.pem\n" in text
        assert "\ntls-replication yes\n" in text


# ---- what it starts as


def said(names: Mapping[str, str]) -> str:
    """What the host 10.0.0.1 starts as when the Sentinels name these; those that name nobody do not answer."""

    def ask(address: str) -> tuple[str, set[str]]:
        if not names[address]:
            raise GorgonError(f"{address} is away")
        return names[address], {each for each in names if each != "10.0.0.1"}

    return role_text("10.0.0.1", ask)


def test_it_starts_as_the_majority_of_the_sentinels_says() -> None:
    first, second, third = THREE
    # the first that joins has a Sentinel that knows no other
    assert said({first: first}) == "# master\n"
    # one of three may be away, or behind
    assert said({first: first, second: first, third: ""}) == "# master\n"
    assert said({first: first, second: second, third: second}) == "replicaof 10.0.0.2 6379\n"
    assert said({first: second, second: "", third: second}) == "replicaof 10.0.0.2 6379\n"


@pytest.mark.parametrize("names", [(*THREE,), ("10.0.0.1", "", ""), ("10.0.0.1", "10.0.0.2", "")], ids=str)
def test_it_does_not_start_while_they_do_not_agree(names: tuple[str, ...]) -> None:
    with pytest.raises(GorgonError, match="no majority of 3 Sentinels names a master"):
        said(dict(zip(THREE, names, strict=True)))


# ---- what new hosts are given


def test_an_invitation_is_read_as_it_was_written_and_nothing_else_is() -> None:
    made = Invitation({"gorgond.auth.key": "k\n"}, "[web]\n")
    assert Invitation.read(made.text()) == made
    for text in (
        "", "{}", "[]", "ssh: connect to host h1 port 22: Connection refused",
        json.dumps({"secrets": {"../shadow": "x"}, "configuration": ""}),
        json.dumps({"secrets": {"gorgond.x/../../shadow": "x"}, "configuration": ""}),
        json.dumps({"secrets": {"gorgond.broker.url": "redis://x"}, "configuration": ""}),
        json.dumps({"secrets": {"gorgond.auth.key": 7}, "configuration": ""}),
        json.dumps({"secrets": {}, "configuration": None}),
    ):  # fmt: skip
        with pytest.raises(GorgonError, match="that is no invitation: on a host that has joined"):
            Invitation.read(text)


def test_it_is_refused_in_a_line_that_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["join", "10.0.0.1", "10.0.0.2"]) == 1
    assert capsys.readouterr().err.startswith("gorgonctl: that is 2 Sentinels: name 3, or another odd number")


def test_who_sits_at_a_terminal_is_told_that_the_invitation_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given somebody who types, at a terminal, what is no invitation
    person, terminal = os.openpty()
    os.write(person, b"what now?\n\x04")
    with os.fdopen(terminal) as keyboard:
        monkeypatch.setattr("sys.stdin", keyboard)
        monkeypatch.setattr("gorgond.commands.hosts.addresses.own_addresses", lambda: ["10.0.0.2"])
        # when a host is to join with one
        assert main(["join", "--invited", *THREE]) != 0
    os.close(person)
    # then it was said what is waited for, before it is said that it was none
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "paste what gorgonctl invite has written on one of the others, then Ctrl-D:"
    assert "that is no invitation" in said[1]


# ---- systemd


def generated(tmp_path: Path, url: str, several: bool) -> Path:
    """What the generator makes for a host with this broker."""
    conf, output, mark = tmp_path / "conf", tmp_path / "made", tmp_path / "set.conf"
    conf.write_text(f"[broker]\nurl = {url}\n")
    mark.touch() if several else mark.unlink(missing_ok=True)
    output.mkdir()
    text = (ROOT / "systemd/lib/gorgond-generator").read_text()
    for name, path in (("conf", conf), ("credentials", tmp_path), ("units", ROOT / "systemd"), ("several", mark)):
        text = re.sub(f"^{name}=.*$", f"{name}={path}", text, count=1, flags=re.MULTILINE)
    subprocess.run(["sh", "-c", text, "generator", str(output)], check=True, timeout=HANGS)
    return output


@pytest.mark.parametrize("url", ["unix:///run/gorgond/broker.sock", "sentinel://10.0.0.1,10.0.0.2,10.0.0.3/gorgon"])
def test_a_host_that_has_joined_runs_its_broker_and_a_sentinel_with_a_network(tmp_path: Path, url: str) -> None:
    made = generated(tmp_path, url, several=True)
    wanted = {each.name for each in (made / "gorgon.target.wants").iterdir()}
    assert {"gorgon-broker.service", "gorgon-broker-watch.service", "gorgon-sentinel.service"} <= wanted
    for unit in ("broker", "sentinel"):
        assert "PrivateNetwork=no" in (made / f"gorgon-{unit}.service.d/50-network.conf").read_text()
    assert (made / "gorgon-broker.service.d/50-several.conf").readlink().name == "one-of-several.conf"
    assert "GORGOND_BROKER_URL=unix:" in (made / "gorgon-broker-watch.service.d/50-several.conf").read_text()


def test_a_host_that_has_left_runs_neither(tmp_path: Path) -> None:
    made = generated(tmp_path, "sentinel://10.0.0.1,10.0.0.2,10.0.0.3/gorgon", several=False)
    assert (made / "gorgon-broker.service").readlink() == Path("/dev/null")
    assert not (made / "gorgon-broker.service.d").exists()
    assert not (made / "gorgon.target.wants/gorgon-sentinel.service").exists()


def test_what_a_broker_has_besides_is_what_it_has_with_the_file_of_the_set() -> None:
    begin = "ExecStart=/usr/lib/gorgond/redis-server"
    alone, several = (
        re.sub(r"\\\n *", "", (ROOT / "systemd" / name).read_text()).split(begin)[1].split("\n")[0].split()
        for name in ("gorgon-broker.service", "lib/one-of-several.conf")
    )
    assert [word for word in several if word not in ("--include", "/etc/gorgond/broker/set.conf")] == alone
