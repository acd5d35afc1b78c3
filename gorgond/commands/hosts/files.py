"""What the Redis and the Sentinel of a host are configured with, as one of several.

/etc/gorgond/broker/set.conf         goes before broker.conf; that it is there makes this host one of several
/etc/gorgond/broker/sentinel.conf    what the Sentinel begins with: it keeps what it learns in a file of its own
/run/gorgond/role.conf               made at each start of the broker: `role`
/etc/gorgond/tls                     where they are, all of it goes over TLS
"""

from __future__ import annotations

import grp
from dataclasses import dataclass
from pathlib import Path

from gorgond.commands.files import write_whole
from gorgond.commands.secrets import ACL, GROUP
from gorgond.service.access import REPLICA, SENTINEL, hashed

NAME = "gorgon"  # what Sentinels call the set
COPIES = 1  # replicas that must have what was accepted
PORT, SENTINEL_PORT = 6379, 26379
OWN = ACL.parent / "set.conf"
SENTINEL_BEGINS = ACL.parent / "sentinel.conf"
SENTINEL_KEEPS = Path("/var/lib/gorgond/sentinel/sentinel.conf")
ROLE = Path("/run/gorgond/role.conf")
FOLLOWING = Path("/usr/lib/gorgond/following")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in this directory: our CA's certificate, and the certificate and key of this host."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def there(self) -> bool:
        """Whether this host has its certificate."""
        return (self.directory / "host.pem").exists()

    def lines(self, port: int) -> str:
        """Those of redis.conf, with the port."""
        if not self.there():
            return f"port {port}\n"
        return (
            f"port 0\ntls-port {port}\ntls-replication yes\ntls-auth-clients no\ntls-ca-cert-file {self.ca}\n"
            f"tls-cert-file {self.directory / 'host.pem'}\ntls-key-file {self.directory / 'host.key'}\n"
        )


TLS = Certificates(Path("/etc/gorgond/tls"))

_SET = """\
# Written by gorgonctl join: this host's broker is one of several. What stands here goes before broker.conf.
bind {own}
{port}replica-announce-ip {own}
masteruser {user}
masterauth {password}

# A master that has lost the other hosts takes nothing after some seconds: another one is the master by then.
min-replicas-to-write {behind}
min-replicas-max-lag 3

# What was accepted is on the disk of a replica too.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no

# A replica that was away for a while gets what it missed, not everything.
repl-backlog-size 64mb
repl-diskless-sync-delay 0

# Master or replica: the Sentinels say it at each start.
include {role}
"""

_SENTINEL = """\
# Written by gorgonctl join: what gorgon-sentinel begins with. It keeps what it learns in {keeps}.
bind {own}
{port}sentinel announce-ip {own}

# Anybody may ask which Redis is the master; nobody may do anything else.
user default on nopass -@all +ping +subscribe &+switch-master +sentinel|get-master-addr-by-name +sentinel|replicas \
+sentinel|sentinels
user {user} on {secret} ~* &* +@all
sentinel sentinel-user {user}
sentinel sentinel-pass {password}

# A master that says nothing for so many milliseconds to a majority of them is replaced. Two that would do it at the
# same moment try again after twice the other time, in which one that was away must hear what the others decided.
sentinel monitor {name} {master} {port_of_redis} {majority}
sentinel auth-user {name} {user}
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} 2500
sentinel failover-timeout {name} 5000
sentinel parallel-syncs {name} 1
# The replica of this host follows another one at once, also where the Sentinel that chose it left this host out.
sentinel client-reconfig-script {name} {following}
"""


def set_text(own: str, password: str, complete: bool) -> str:
    """Of set.conf. `password` is that of the user `replica`; until the set is complete the master works alone."""
    return _SET.format(
        own=own, port=TLS.lines(PORT), user=REPLICA, password=quoted(password), behind=COPIES * complete, role=ROLE
    )


def sentinel_text(own: str, password: str, master: str, hosts: int) -> str:
    """Of sentinel.conf. `password` is that of the user `sentinel`, of the Redis servers and of the Sentinels."""
    return _SENTINEL.format(
        own=own, port=TLS.lines(SENTINEL_PORT), user=SENTINEL, secret=hashed(password), password=quoted(password),
        name=NAME, master=master, port_of_redis=PORT, majority=hosts // 2 + 1, keeps=SENTINEL_KEEPS,
        following=FOLLOWING,
    )  # fmt: skip


def quoted(text: str) -> str:
    """As redis.conf has a word with anything in it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def shown(address: str) -> str:
    """As URLs have it."""
    return f"[{address}]" if ":" in address else address


def own_address() -> str:
    """The address of this host in the set. Raises OSError, and ValueError when the file has none."""
    return _value(OWN, "replica-announce-ip")


def behind() -> str:
    """How many replicas must follow a master, by set.conf. Raises the same."""
    return _value(OWN, "min-replicas-to-write")


def _value(file: Path, key: str) -> str:
    for line in file.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return value
    raise ValueError(f"{file} has no {key}")


def write(file: Path, text: str) -> bool:
    """Write one of them, for the broker's group alone, unless it is so already; whether it was written. Raises
    OSError."""
    if file.exists() and file.read_text() == text:
        return False
    write_whole(file, text, 0o640, gid=grp.getgrnam(GROUP).gr_gid)
    return True
