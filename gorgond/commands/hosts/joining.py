"""A host joins those that have a copy of the broker. What was done already is not done again, so the same line goes on
where it was broken off.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gorgond.commands.held import count_held
from gorgond.commands.hosts.addresses import Hosts
from gorgond.commands.hosts.asking import broker_at, following, known_by, master_by, named_by, replicas_by, sentinel_at
from gorgond.commands.hosts.files import (
    NAME,
    OWN,
    SENTINEL_BEGINS,
    SENTINEL_KEEPS,
    TLS,
    behind,
    sentinel_text,
    set_text,
    write,
)
from gorgond.commands.hosts.invitation import Invitation
from gorgond.commands.secrets import CREDENTIALS, make_secrets, password, secret
from gorgond.commands.tls import AUTHORITY, DIRECTORY, make_certificate
from gorgond.commands.units import BROKER, FILES, SENTINEL_UNIT, TARGET, Say, restart, set_here, state, systemctl
from gorgond.config import load
from gorgond.errors import GorgonError
from gorgond.service.access import REPLICA, SENTINEL

WATCH_UNIT, BROKER_UNIT = BROKER
LOOK = 0.5  # seconds between two looks whether something is so
NEWS = 12.0  # seconds until a Sentinel knows of a replica
TELL = 10.0  # seconds after which it is told what is waited for


def join(hosts: Hosts, invitation: Invitation | None, say: Say) -> None:
    """Make this host one of `hosts`, with an invitation unless it has all secrets already. Raises GorgonError when
    something is in the way; then nothing was changed, or the same again goes on."""
    joined = OWN.exists()
    others_name = named_by(hosts.others, invitation.authority if invitation is not None else "")
    _check(hosts, invitation, joined, others_name)
    master = others_name or (named_by([hosts.own]) if joined else "") or hosts.own
    if not joined and master != hosts.own:
        _empty(say)
    if invitation is not None:
        invitation.accept()
        say("the secrets and the configuration of the others are here")
    if (CREDENTIALS / AUTHORITY).exists() and not TLS.there():
        make_certificate((), say)
    make_secrets(say)
    uses = load(None, {}, {}).broker.url.startswith("sentinel")
    ready = master != hosts.own or uses or (joined and _all_there(hosts))
    _write(hosts, master, ready, say)
    _run(hosts, ready and set_here("broker", "url", hosts.url, say), say)
    if ready:
        _forget_strangers(hosts, say)
    else:
        _tell_rest(hosts, say)


def _check(hosts: Hosts, invitation: Invitation | None, joined: bool, others_name: str) -> None:
    """Raises GorgonError for what would not work."""
    config = load(None, {}, {})
    if invitation is None and not joined and (others_name or not hosts.first):
        raise GorgonError(f"this host needs the secrets of the others: {hosts.invited_line(others_name)}")
    if not joined and not others_name and not hosts.first:
        where = " ".join(hosts.others)
        raise GorgonError(f"no Sentinel of {where} answers: begin on {hosts.addresses[0]}: {hosts.line}")
    if joined and ("tls-port" in OWN.read_text()) != TLS.there():
        raise GorgonError(
            f"certificates come before the others join: this host has joined without those of {DIRECTORY}"
        )
    if (CREDENTIALS / "gorgond.broker.url").exists():
        raise GorgonError(f"{CREDENTIALS}/gorgond.broker.url goes before [broker] url of gorgond.conf: delete it")
    if invitation is None:
        check_database(secret("gorgond.store.url") or config.store.url)
        if config.broker.calls:
            raise GorgonError(
                "[broker] calls names a Redis of its own: make it empty, calls go over the hosts' broker too"
            )


def check_database(url: str) -> None:
    """Raises GorgonError for one that only one host reaches."""
    if url.startswith("sqlite:"):
        raise GorgonError(
            "[store] url is a file of this host, which the others do not reach: have a MongoDB first, best as a "
            "replica set on the same hosts; docs/hosts.md says how"
        )


def _empty(say: Say) -> None:
    """Stop what runs here, unless its broker holds something that would be lost: it becomes a copy of another one."""
    if state(TARGET) == "active":
        say("stopping what runs here")
    systemctl("stop", TARGET, "gorgon.slice")
    found = count_held(FILES) if FILES.exists() else {}
    if found:
        systemctl("start", TARGET)
        told = ", ".join(f"{number:,} of {queue}" for queue, number in sorted(found.items()))
        raise GorgonError(f"the broker of this host holds messages: {told}; wait until gorgonctl queues shows none")


def _write(hosts: Hosts, master: str, ready: bool, say: Say) -> None:
    """Write what the Sentinel and the Redis of this host are configured with."""
    if not (SENTINEL_BEGINS.exists() and SENTINEL_KEEPS.exists()):
        write(SENTINEL_BEGINS, sentinel_text(hosts.own, password(SENTINEL), master, len(hosts.addresses)))
    if write(OWN, set_text(hosts.own, password(REPLICA), ready)):
        say(f"{OWN} is written")


def _run(hosts: Hosts, other_url: bool, say: Say) -> None:
    """Have all that runs here be started from what was written, and wait until this host has what the master has."""
    systemctl("daemon-reload")
    if state(TARGET) != "active":
        say(f"starting {TARGET}")
        systemctl("start", TARGET)
    else:
        systemctl("start", SENTINEL_UNIT)
        if not _answers(hosts.own):
            say(f"restarting {BROKER_UNIT}")
            systemctl("restart", BROKER_UNIT)
            systemctl("restart", WATCH_UNIT)
        if other_url:
            restart(say)
    _until(say, lambda: _lacking(hosts.own))
    with broker_at(hosts.own) as broker:
        broker.config_set("min-replicas-to-write", behind())
        role = broker.info("replication")
    say(
        "the Redis of this host is the master"
        if role["role"] == "master"
        else f"the Redis of this host has what the master has, {role['master_host']}"
    )


def _answers(own: str) -> bool:
    """Whether the Redis of this host is reached as the others reach it."""
    try:
        with broker_at(own) as broker:
            return bool(broker.ping())
    except GorgonError:
        return False


def _lacking(own: str) -> str:
    """What this host's Redis still lacks to be one of the set; empty when that is nothing."""
    try:
        with broker_at(own) as broker:
            about = broker.info("replication")
    except GorgonError as error:
        return f"{error}; see: journalctl -u {BROKER_UNIT}"
    if about["role"] == "master" or about["master_link_status"] == "up":
        return ""
    if about.get("master_sync_in_progress"):
        return f"{int(about['master_sync_left_bytes']) / 1e6:,.0f} MB are still to come"
    return f"it does not reach {about['master_host']}; see: journalctl -u {BROKER_UNIT}"


def _until(say: Say, lacking: Callable[[], str]) -> None:
    told = time.monotonic()
    while what := lacking():
        if time.monotonic() - told > TELL:
            say(f"waiting: {what}")
            told = time.monotonic()
        time.sleep(LOOK)


def _all_there(hosts: Hosts) -> bool:
    """Whether all hosts have joined. A Sentinel looks every ten seconds which replicas there are."""
    end = time.monotonic() + NEWS
    while _missing(hosts):
        if time.monotonic() > end:
            return False
        time.sleep(LOOK)
    return True


def _missing(hosts: Hosts) -> list[str]:
    """The hosts that are not there yet: the Sentinel of this one knows their Sentinels, and could promote their Redis,
    which follows the master."""
    try:
        with sentinel_at(hosts.own) as sentinel:
            master, sentinels, replicas = master_by(sentinel), known_by(sentinel), replicas_by(sentinel)
        with broker_at(master) as broker:
            copies = {master, *following(broker.info("replication")) & replicas}
    except GorgonError:
        return list(hosts.others)
    return [each for each in hosts.addresses if each not in copies & {hosts.own, *sentinels}]


def _tell_rest(hosts: Hosts, say: Say) -> None:
    """Say what is left to do; until then this host works as before."""
    say("this host works as before, and has the only copy, until the others have joined")
    for each in _missing(hosts):
        say(f"on {each}: {hosts.invited_line(hosts.own)}")
    say(f"then on {hosts.own} once more: {hosts.line}")


def _forget_strangers(hosts: Hosts, say: Say) -> None:
    """Have the Sentinel here forget hosts that are none of these: one that was replaced."""
    with sentinel_at(hosts.own, may_order=True) as sentinel:
        strangers = known_by(sentinel) - set(hosts.addresses)
        if strangers or replicas_by(sentinel) - set(hosts.addresses):
            say(f"the Sentinel forgets {' '.join(sorted(strangers))}")
            sentinel.execute_command("SENTINEL RESET", NAME)
