"""The verdict: well, degraded or down, and in words what hurts; or that it is not known yet. A pure function of the
picture's parts.

The words begin with what hurts most. Each limit is such that a fabric under full load is well: it is degraded when
somebody waits who should not, or when it will be so soon unless somebody acts. No reason begins with a name: a page may
begin a sentence with it, and a name is written as it is.

A dead letter degrades the fabric for a minute. From then on it harms nobody who waits, but somebody was promised what
is in it: so it is told beside whatever is said. Both end when it is put back or deleted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from gorgond.roles import ROLES
from gorgond.service.clock import HARM, MEND, off
from gorgond.service.words import counted
from gorgond.stats import replication

OLDEST = 2.0  # seconds that the oldest message of a queue may wait
BACKLOG = 1000  # messages that may wait while more come than go
LAG = 0.5  # seconds that an event loop may be late
MISSED = 60.0  # seconds of silence after which it is said how to have an instance missed no more
STUCK = 5.0  # seconds that a loop of an instance may take for a turn
MEMORY = 0.9  # of a broker's maxmemory
FAILING = 0.01  # of the requests of the last seconds
FAILURES = 5  # of them, at least
UNANSWERED = 3.0  # seconds for which the database may leave a question unanswered
SHOWN = 3  # reasons in the text
PRESENT = ("up", "draining")

_WAITING = re.compile("^waiting for (.*?) (?:for|since)(?= [0-9])")  # "since" is what 0.1.0 says

Row = Mapping[str, Any]
ASKING = {role.name for role in ROLES.values() if role.database}


def verdict(
    instances: Sequence[Row],
    queues: Sequence[Row],
    channels: Sequence[Row],
    redis: Sequence[Row],
    database: Row,
    ledger: Row,
    lately: Sequence[Row],
    settled: bool = True,
) -> dict[str, Any]:
    """{"state", "text", "reasons", "notes"} of the picture's rows: what hurts, and what is told beside it. `lately` are
    the rows of the last seconds. Unless `settled`, we have not listened for long enough to miss anybody, so what hurts
    is known, but not that all is well."""
    down = list(_brokers_away(redis))
    hurt = [each for broker in redis for each in replication.reasons(broker["replication"])]
    hurt += _routed_away(redis)
    if not down:  # or nobody can be heard
        down += [*(_missing(instances) if settled else ()), *_database_away(instances)]
        hurt += [
            *_twins(instances),
            *_clocks(instances, redis),
            *_apart(instances),
            *_routing(instances, redis),
            *_gone(instances),
            *_silent(instances),
            *_backlogs(instances, queues, settled),
            *_stalled(channels),
            *_silence(database),
        ]
    down += [each for broker in redis for each in replication.stops(broker["replication"])]
    hurt += [*_failing(lately), *_dead(queues), *_full(redis), *_slow(instances)]
    if ledger["difference"]:
        hurt.append(ledger["text"].replace("The", "the", 1))
    reasons = down + hurt
    state = "down" if down else "degraded" if hurt else "well" if settled else "unknown"
    text = f"{state.capitalize()}: {'; '.join(reasons[:SHOWN])}" if reasons else _NOTHING[state]
    if len(reasons) > SHOWN:
        text += f"; and {len(reasons) - SHOWN} more"
    notes = [*(each for broker in redis for each in replication.notes(broker["replication"])), *_lying(queues)]
    return {"state": state, "text": "; ".join([text, *notes]), "reasons": reasons, "notes": notes}


_NOTHING = {"well": "All is well", "unknown": "Not known yet: it has only begun to listen"}


def _brokers_away(redis: Sequence[Row]) -> Iterator[str]:
    for broker in _main(redis):
        if broker["away"]:
            why = f": {broker['reason']}" if broker["reason"] else ""
            yield f"broker {broker['where']} has been away for {broker['away']:.0f} s{why}"


def _routed_away(redis: Sequence[Row]) -> Iterator[str]:
    """Brokers without which only what has its route there stands still."""
    for broker in redis:
        if broker["away"] and broker["queues"]:
            why = f": {broker['reason']}" if broker["reason"] else ""
            queues = ", ".join(broker["queues"])
            yield f"broker {broker['where']} of {queues} has been away for {broker['away']:.0f} s{why}"


def _main(redis: Sequence[Row]) -> list[Row]:
    """Those of all that has no route: the durable one, and that of calls if it is another one."""
    return [broker for broker in redis if not broker["queues"]]


def _present(instances: Sequence[Row]) -> list[Row]:
    return [each for each in instances if each["state"] in PRESENT]


def _clocks(instances: Sequence[Row], redis: Sequence[Row]) -> Iterator[str]:
    """Hosts whose clock is not the broker's. Where most are off alike, it is the broker's own that is."""
    hosts: dict[str, float] = {}
    for each in _present(instances):
        if each["clock"] is not None:
            hosts[each["host"]] = max(hosts.get(each["host"], 0.0), each["clock"], key=abs)
    middle = median(hosts.values()) if len(hosts) > 1 else 0.0
    alike = {host for host, ahead in hosts.items() if abs(ahead - middle) < HARM}
    if abs(middle) >= HARM and len(alike) > len(hosts) / 2:
        side, of = "behind" if middle > 0 else "ahead of", "every host" if len(alike) == len(hosts) else "most hosts"
        clock = _main(redis)[-1]
        where = clock["replication"]["named"] or clock["where"]
        yield f"the clock of broker {where} is {abs(middle):,.1f} s {side} that of {of}: {MEND}"
        hosts = {host: ahead for host, ahead in hosts.items() if host not in alike}
    for host, ahead in sorted(hosts.items()):
        if abs(ahead) >= HARM:
            yield f"the clock of {host} is {off(ahead)}: {MEND}"


def _twins(instances: Sequence[Row]) -> Iterator[str]:
    """Hosts of the same name."""
    machines: dict[str, set[str]] = {}
    for each in _present(instances):
        if each["machine"]:
            machines.setdefault(each["host"], set()).add(each["machine"])
    for host, some in sorted(machines.items()):
        if len(some) > 1:
            which = ", ".join(sorted(some))
            yield f"{len(some)} hosts are called {host} (machines {which}): give each its own name, with hostnamectl"


def _missing(instances: Sequence[Row]) -> Iterator[str]:
    """Without a web server nobody is answered, without a store nothing."""
    roles = {each["role"] for each in _present(instances)}
    present = {what for name in roles & ROLES.keys() for what in ROLES[name].vital}
    for what in dict.fromkeys(what for role in ROLES.values() for what in role.vital):
        if what not in present:
            yield f"no {what}"


def _database_away(instances: Sequence[Row]) -> Iterator[str]:
    stores = [each for each in _present(instances) if each["role"] in ASKING]
    waiting = [each for each in stores if each["status"].startswith("waiting for database")]
    if waiting and len(waiting) == len(stores):
        yield _WAITING.sub(r"\1 has been away for", waiting[0]["status"])


def _apart(instances: Sequence[Row]) -> Iterator[str]:
    """Hosts whose instances know one Redis alone, while others know the set that it is of."""
    present = _present(instances)
    sets = sorted({each["set"] for each in present if each["set"]})
    alone = Counter(each["host"] for each in present if sets and not each["set"])
    for host, number in sorted(alone.items()):
        yield (
            f"{counted(number, 'instance')} of {host} know{'s' * (number == 1)} one Redis alone, and not that it is of "
            f"{', '.join(sets)}: nothing works there while another one is the master; give {host} the [broker] url of "
            "the others, then gorgonctl restart there"
        )


def _routing(instances: Sequence[Row], redis: Sequence[Row]) -> Iterator[str]:
    """Hosts whose instances route queues otherwise than agreed."""
    agreed = redis[0]["route"]
    others = Counter(each["host"] for each in _present(instances) if agreed is not None and each["route"] != agreed)
    for host, number in sorted(others.items()):
        yield (
            f"{counted(number, 'instance')} of {host} do{'es' * (number == 1)} not route queues as agreed "
            f"({agreed or 'no routes'}): give {host} the [broker] route of the others, then gorgonctl restart there"
        )


def gone_hosts(instances: Sequence[Row]) -> dict[str, list[Row]]:
    """The silent instances of each host that is gone: it has several, none of them is heard, and others' are."""
    present = {each["host"] for each in _present(instances)}
    hosts: dict[str, list[Row]] = {}
    for each in instances:
        if each["state"] == "silent" and each["host"] not in present:
            hosts.setdefault(each["host"], []).append(each)
    return {host: silent for host, silent in hosts.items() if len(silent) > 1 and present}


def _forget(name: str, silent: float) -> str:
    """What to do about one that has been missed for long."""
    return f" (gorgonctl forget {name}, if it is not to come back)" if silent > MISSED else ""


def _gone(instances: Sequence[Row]) -> Iterator[str]:
    for host, silent in sorted(gone_hosts(instances).items()):
        since = min(each["silent"] for each in silent)
        forget = _forget(host, since)
        yield f"host {host} is gone: its {len(silent)} instances have been silent for {since:.0f} s{forget}"


def _silent(instances: Sequence[Row]) -> Iterator[str]:
    gone = gone_hosts(instances)
    for each in instances:
        if each["state"] == "silent":
            if each["host"] not in gone:
                silent = each["silent"]
                yield f"instance {each['name']} has been silent for {silent:.0f} s{_forget(each['name'], silent)}"
        elif each["state"] == "failed":
            yield f"instance {each['name']} cannot run: {each['failed']}"
        elif each["state"] in PRESENT and each["stuck"] > STUCK:
            yield f"instance {each['name']} hangs: a loop has not turned for {each['stuck']:.0f} s"
        elif each["state"] == "up" and each["status"].startswith("waiting for"):
            yield f"instance {each['name']} has been {each['status']}"
        if each["doubled"]:
            yield f"two processes have the name {each['name']}: end one, or give its host another name"


def _backlogs(instances: Sequence[Row], queues: Sequence[Row], settled: bool) -> Iterator[str]:
    consumed = {queue for each in _present(instances) for queue in each["queues"]}
    for queue in queues:
        waits = f"queue {queue['name']} backlog {queue['queued']:,}, oldest {queue['oldest']:.0f} s"
        if queue["paused"]:
            yield f"queue {queue['name']} is paused, with {counted(queue['queued'], 'message')} waiting"
        elif settled and queue["queued"] and queue["name"] not in consumed:
            yield f"{waits}: nobody consumes it"
        elif queue["oldest"] > OLDEST:
            yield waits
        elif queue["queued"] > BACKLOG and queue["in"] > queue["out"]:
            yield f"queue {queue['name']} backlog {queue['queued']:,} and growing"


def _stalled(channels: Sequence[Row]) -> Iterator[str]:
    """Channels that send nothing, while more and more is to be sent."""
    for channel in channels:
        if channel["stalled"]:
            waiting = channel["waiting"] + channel["in_flight"] + channel["delayed"]
            yield (
                f"channel {channel['name']} has sent nothing for {channel['stalled'] / 60:.0f} min, and {waiting:,} "
                f"wait: {channel['reason']}; when what [notify.{channel['name']}] names works again, they are sent by "
                "themselves"
            )


def _failing(lately: Sequence[Row]) -> Iterator[str]:
    count, errors = (sum(row[key] for row in lately) for key in ("count", "errors"))
    if errors >= FAILURES and errors > count * FAILING:
        yield f"{errors / count:.0%} of the requests fail"


def _dead(queues: Sequence[Row]) -> Iterator[str]:
    for queue in queues:
        if queue["died"]:
            yield f"queue {queue['name']}: {counted(queue['died'], 'new dead letter')} in the last minute"


def _lying(queues: Sequence[Row]) -> Iterator[str]:
    """The words about dead letters that nobody has put back or deleted."""
    lying = [f"{queue['dead']:,} in {queue['name']}" for queue in queues if queue["dead"]]
    if lying:
        yield f"dead letters to put back or delete: {', '.join(lying)}"


def _full(redis: Sequence[Row]) -> Iterator[str]:
    for broker in redis:
        if broker["maxmemory"] and broker["memory"] > broker["maxmemory"] * MEMORY:
            yield f"broker {broker['where']} has filled {broker['memory'] / broker['maxmemory']:.0%} of its memory"
        if broker["lost"]:
            lost = ", ".join(f"{count:,} of {queue}" for queue, count in sorted(broker["lost"].items()))
            yield (
                f"broker {broker['where']} has less than it had accepted: {lost}; once you know why, gorgonctl forget "
                f"{broker['name']}"
            )
        if broker["deaf"]:
            yield (
                f"somebody has deleted groups of broker {broker['where']}: {', '.join(broker['deaf'])}; they are made "
                f"again, and never get the events of up to a minute before that; once you know why, gorgonctl forget "
                f"{broker['name']}"
            )
        if broker["refused"]:
            yield f"broker {broker['where']} has refused {counted(broker['refused'], 'connection')} in the last minute"
        if broker["slow_fsyncs"]:
            yield f"broker {broker['where']} waits for its disk"


def _silence(database: Row) -> Iterator[str]:
    if database["away"] > UNANSWERED:
        yield f"no store server has answered for {database['away']:.0f} s: {database['reason']}"


def _slow(instances: Sequence[Row]) -> Iterator[str]:
    for each in _present(instances):
        if each["lag"] > LAG:
            yield f"the event loop of {each['name']} is {each['lag']:.1f} s late"
