"""What a process that was taken over could do: little."""

from __future__ import annotations

from tests.programs import ROOT
from tests.system.conftest import get, post, traffic
from tests.system.machine import Machine
from tests.waiting import eventually

SEALED, NETWORKED = 0.5, 1.3
MONGO = "mongodb://127.0.0.1/gorgond"


def exposure(machine: Machine, unit: str) -> float:
    """What systemd thinks of a unit's sandbox, from 0 to 10."""
    lines = machine.try_run(f"systemd-analyze --no-pager security '{unit}'").splitlines()
    return float(next(line for line in lines if "Overall exposure level" in line).split(":")[1].split()[0])


def test_units_are_sealed_the_more_so_without_a_network(fabric: Machine) -> None:
    # given every unit of the package
    files = sorted(path.name for path in (ROOT / "systemd").glob("*.service"))
    units = [name.replace("@.", "@1.") for name in files]
    # then none can do much, and those that use unix sockets only next to nothing
    for unit in units:
        alone = fabric.show(unit, "PrivateNetwork") == "yes"
        assert exposure(fabric, unit) <= (SEALED if alone else NETWORKED), unit
    assert fabric.show("gorgon-web@1", "PrivateNetwork") == fabric.show("gorgon-broker", "PrivateNetwork") == "yes"


def test_the_network_is_opened_for_those_whose_database_or_broker_is_elsewhere(fabric: Machine) -> None:
    conf = fabric.root / "etc/gorgond/gorgond.conf"
    before = conf.read_text()
    # when the database is reached over the network, then store servers may use it and web servers may not
    conf.write_text(before.replace("url = sqlite:////var/lib/gorgond/gorgond.db", f"url = {MONGO}"))
    fabric.run("systemctl daemon-reload")
    assert fabric.show("gorgon-store@1", "PrivateNetwork") == "no"
    assert SEALED < exposure(fabric, "gorgon-store@1") <= NETWORKED
    assert fabric.show("gorgon-web@1", "PrivateNetwork") == "yes"
    # when its URL is a secret, then it is handed to them alone
    conf.write_text(before)
    secret = fabric.root / "etc/credstore/gorgond.store.url"
    secret.write_text(MONGO)
    fabric.run("systemctl daemon-reload")
    assert fabric.show("gorgon-store@1", "PrivateNetwork") == "no"
    assert "store.url" in fabric.run("systemctl cat gorgon-store@1")
    assert "store.url" not in fabric.run("systemctl cat gorgon-web@1")
    secret.unlink()
    # when the broker is elsewhere, then all may use the network, and no broker is started here
    conf.write_text(before.replace("url = unix:///run/gorgond/broker.sock", "url = redis://127.0.0.1"))
    fabric.run("systemctl daemon-reload")
    assert fabric.show("gorgon-web@1", "PrivateNetwork") == "no"
    assert exposure(fabric, "gorgon-web@1") <= NETWORKED
    assert "gorgon-broker.service" not in fabric.show("gorgon.target", "Wants").split()
    assert fabric.show("gorgon-broker", "LoadState") == "masked"
    conf.write_text(before)
    fabric.run("systemctl daemon-reload")


def test_each_role_may_do_what_it_needs_and_no_more(fabric: Machine) -> None:
    # given a fabric in which every role works
    fabric.redis("ACL LOG RESET")
    fabric.run("systemctl start gorgon-store-read@1 gorgon-store-write@1")
    with traffic(fabric):
        pass
    # then nobody was refused anything
    assert fabric.redis("ACL LOG") == ""
    fabric.run("systemctl stop gorgon-store-read@1 gorgon-store-write@1")

    def answer(user: str, command: str) -> str:
        password = f"$(cat /etc/credstore/gorgond.broker.password.{user})"
        tool = f"redis-cli -s /run/gorgond/broker.sock --no-auth-warning --user {user} --pass {password}"
        return fabric.try_run(f"{tool} {command} 2>&1")

    # and what is not a role's own is refused
    for user, command in (
        ("web", "FLUSHALL"),
        ("web", "CONFIG GET dir"),
        ("web", "KEYS '*'"),
        ("web", "LPOP 'gorgon:{store_put}'"),
        ("web", "RPUSH 'gorgon:{store_notify}/journal' x"),
        ("provider", "RPUSH 'gorgon:{web_get}' x"),
        ("provider", "BLMOVE 'gorgon:{web_get}' 'gorgon:{web_get}:desk:x' LEFT RIGHT 1"),
        ("provider", "BLMPOP 1 1 'gorgon:{web_data}:replies' LEFT"),
        ("store-read", "BLMOVE 'gorgon:{store_put}' 'gorgon:{store_put}:desk:x' LEFT RIGHT 1"),
        ("store", "SCRIPT FLUSH"),
        # what takes accepted jobs away, makes somebody admin, or keeps all from being served
        ("provider", "LTRIM 'gorgon:{store_put}' 1 0"),
        ("provider", "RPUSH 'gorgon:{auth_store_put}' users.patch"),
        ("web", "RPUSH 'gorgon:{auth_store_put}' users.patch"),
        ("web", "LRANGE 'gorgon:{auth_get}' 0 -1"),
        ("web", "SET 'gorgon:{store_put}' x"),
        ("store", "BLMPOP 1 1 'gorgon:{web_data}:replies' LEFT"),
        ("app", "SCRIPT LOAD 'while true do end'"),
        ("app", "EVAL 'while true do end' 0"),
    ):
        assert "NOPERM" in answer(user, command), (user, command)
    # and nobody gets in without a name
    assert "NOAUTH" in fabric.try_run("redis-cli -s /run/gorgond/broker.sock PING 2>&1")
    # and nobody but root reads the passwords
    assert fabric.process("setpriv --reuid=gorgond --regid=gorgond --clear-groups cat /etc/credstore/*").returncode != 0


def test_a_broker_that_hangs_is_started_again_with_its_scripts(fabric: Machine) -> None:
    # given a script that the operator runs and that does not end, then it is ended
    assert "killed by user" in fabric.redis("EVAL 'while true do end' 0")
    # when the broker is stopped, so that it says nothing
    before = fabric.show("gorgon-broker", "MainPID")
    fabric.run(f"kill -STOP {before}")
    # then it is killed and started again, and all goes on
    eventually(lambda: fabric.show("gorgon-broker", "MainPID") not in (before, "0"))
    eventually(lambda: get(fabric, "/info/5") is not None)
    assert "did not answer for 30 s" in fabric.journal("gorgon-broker-watch")
    assert fabric.show("gorgon-broker-watch", "NRestarts") == "0"


def test_what_root_writes_goes_where_nobody_else_does(fabric: Machine) -> None:
    # given a secret that a crash left empty, and links in the directory of the user gorgond
    secret = fabric.root / "etc/credstore/gorgond.broker.password.provider"
    before = secret.read_text()
    fabric.run("ln -sf /etc/hostname /var/lib/gorgond/broker.new; chown -h gorgond: /var/lib/gorgond/broker.new")
    name = (fabric.root / "etc/hostname").read_text()
    secret.write_text("")
    # when the secrets are made, and those of a second time too
    fabric.run("gorgonctl secrets")
    # then it is one again, which the broker knows, and nothing was written anywhere else
    assert len(secret.read_text()) == len(before) != 0
    assert secret.read_text() != before
    assert (fabric.root / "etc/hostname").read_text() == name
    login = "--user provider --pass $(cat /etc/credstore/gorgond.broker.password.provider) --no-auth-warning"
    assert fabric.run(f"redis-cli -s /run/gorgond/broker.sock {login} PING") == "PONG"
    fabric.run("rm /var/lib/gorgond/broker.new")
    # and a role whose secret is empty says what to run, and is not started again and again
    key = fabric.root / "etc/credstore/gorgond.auth.key"
    kept = key.read_text()
    key.write_text("")
    fabric.try_run("systemctl restart gorgon-web@2")
    assert fabric.show("gorgon-web@2", "ExecMainStatus") == "78"
    assert "it is empty; `gorgonctl secrets` makes" in fabric.journal("gorgon-web@2")
    key.write_text(kept)
    fabric.run("systemctl restart gorgon-web@2")


def test_the_broker_writes_down_no_password(fabric: Machine) -> None:
    # given a fabric as it was installed, when somebody registers and logs in
    login = {"email": "ada@notes.example", "password": "a violin in the attic"}
    assert post(fabric, "/auth/register", login)
    assert post(fabric, "/auth/login", login)["token"]
    # then the broker's files have it, without the password
    for text, found in (("auth.login", 0), (login["password"], 1)):
        assert fabric.process(f"grep -rqF '{text}' /var/lib/gorgond/broker").returncode == found, text
    # and only those who seal and open have the key, which nobody but root finds elsewhere
    has = "test -s /run/credentials/{}/auth.key"
    for unit, there in (("gorgon-web@1", True), ("gorgon-auth@2", True), ("gorgon-app@1", False)):
        assert (fabric.process(has.format(f"{unit}.service")).returncode == 0) == there, unit
    assert fabric.run("stat --format='%a %U' /etc/credstore/gorgond.auth.key") == "600 root"


def test_store_servers_do_not_see_the_files_of_the_broker(fabric: Machine) -> None:
    inside = f"nsenter -t {fabric.show('gorgon-store@1', 'MainPID')} -m setpriv --reuid=gorgond --regid=gorgond"
    assert "gorgond.db" in fabric.run(f"{inside} --clear-groups ls /var/lib/gorgond")
    for hidden in ("ls /var/lib/gorgond/broker", "cat /etc/gorgond/broker/users.acl"):
        assert "Permission denied" in fabric.process(f"{inside} --clear-groups {hidden}").stderr


def test_each_role_is_a_user_of_its_own_who_reaches_nothing_of_another(fabric: Machine) -> None:
    # given every role
    conf = fabric.root / "etc/gorgond/gorgond.conf"
    before = conf.read_text()
    conf.write_text(f"{before}\n[provider.slow]\nkind = random\nrate = 1\ncount = 0\n")
    extra = "gorgon-store-read@1 gorgon-store-write@1 gorgon-provider@slow"
    fabric.run(f"systemctl start {extra}")
    units = [*fabric.units(), "gorgon-broker.service", "gorgon-broker-watch.service"]
    # then each runs as the user of its role
    pids = {unit: fabric.show(unit, "MainPID") for unit in units}
    users = {unit: fabric.run(f"stat --format=%U /proc/{pid}") for unit, pid in pids.items()}
    assert users == {unit: user_of(unit) for unit in units}
    # and of what is a user's own nobody else reaches anything: processes and credentials of all units, files
    own = {
        "cat /var/lib/gorgond/gorgond.db": "gorgond",
        "ls /var/lib/gorgond": "gorgond",
        "ls /var/lib/gorgond/broker/appendonlydir": "gorgon-broker",
        "ls /var/lib/gorgond/broker": "gorgon-broker",
        "cat /etc/gorgond/broker/users.acl": "gorgon-broker",
        "test -w /run/gorgond": "gorgon-broker",
        "ls /var/lib/gorgond-stats": "gorgon-stats",
        "test -w /var/log/gorgond": "gorgon-journal",
        "cat /etc/credstore/gorgond.auth.key": "root",
    }
    for unit, pid in pids.items():
        own[f"kill -0 {pid}"] = users[unit]  # who may not even that may not trace it either
        if unit != "gorgon-broker.service":  # which asks nobody
            own[f"cat /run/credentials/{unit}/broker.password"] = users[unit]
    tries = "; ".join(f"{reach} >/dev/null 2>&1 && echo '{reach}'" for reach in own)
    for user in sorted(set(users.values())):
        groups = "--groups=gorgon-broker" if user == "gorgon-broker" else "--clear-groups"
        found = fabric.try_run(f'setpriv --reuid={user} --regid=gorgond {groups} sh -c "{tries}"').splitlines()
        assert set(found) == {reach for reach, owner in own.items() if owner == user}, user
    fabric.run(f"systemctl stop {extra}")
    conf.write_text(before)


def user_of(unit: str) -> str:
    """Who runs a unit: the stores are those that own the database."""
    role = unit.removeprefix("gorgon-").partition("@")[0].partition(".")[0].partition("-")[0]
    return "gorgond" if role == "store" else f"gorgon-{role}"
