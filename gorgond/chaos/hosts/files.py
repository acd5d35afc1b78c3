"""How the servers of a host are configured: as docs for several hosts say, with this lab's addresses."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from gorgond.chaos.hosts.network import OURS, address_of

ROOT = Path(__file__).parents[3]  # so that what is drilled is the code that drills
HOSTS = 3
MASTER = "gorgon"  # what sentinels call the broker
REPLICAS = "lab"  # the name of the set of mongods
DATABASE = f"mongodb://{','.join(f'{address_of(each)}:27017' for each in range(1, HOSTS + 1))}/chaos?replicaSet=lab"
SENTINELS = ",".join(address_of(each) for each in range(1, HOSTS + 1))

_BROKER = """\
bind {address}
port 6379
protected-mode no
dir {directory}
logfile {directory}.log
save ""
appendonly yes
appendfsync always
auto-aof-rewrite-min-size 64mb
maxmemory 512mb
maxmemory-policy noeviction
replica-announce-ip {address}
min-replicas-to-write {behind}
min-replicas-max-lag 3
repl-backlog-size 64mb
repl-diskless-sync-delay 0
"""

_SENTINEL = """\
bind {address}
port 26379
protected-mode no
dir {directory}
logfile {directory}.log
sentinel announce-ip {address}
sentinel monitor {master} {first} 6379 2
sentinel down-after-milliseconds {master} 2500
sentinel failover-timeout {master} 5000
sentinel parallel-syncs {master} 1
sentinel client-reconfig-script {master} {following}
"""

_FOLLOWING = """\
#!/bin/sh
cd {code} && exec {python} -m gorgond.commands.hosts.following {address}
"""


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a host is fitted with. `broker` is where its roles find the broker, `key` the auth servers'; `copies` are
    the replicas that must have what is accepted; `roles` are how many instances there are of each."""

    number: int
    directory: str
    broker: str
    key: str
    copies: int = 1
    roles: dict[str, int] = field(default_factory=lambda: {"auth": 1, "store": 1, "app": 1, "web": 1})
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"h{self.number}"

    @property
    def address(self) -> str:
        return address_of(self.number)

    @property
    def code(self) -> Path:
        """The code that its roles run: a link, as an upgrade changes it."""
        return self.path / "code"

    @property
    def control(self) -> Path:
        """Where its processes are listed, stopped and started."""
        return self.path / "control.sock"

    @property
    def path(self) -> Path:
        return Path(self.directory)

    def written(self) -> Path:
        """The file that says all this to `machine`."""
        file = self.path / "fitting.json"
        file.write_text(json.dumps(asdict(self)))
        return file

    @classmethod
    def read(cls, file: Path) -> Self:
        """The same from the file."""
        return cls(**json.loads(file.read_text()))

    def redis(self) -> Path:
        """The configuration of its Redis, which the sentinels rewrite: it is made once."""
        first = "" if self.number == 1 else f"replicaof {address_of(1)} 6379\n"
        return self._once("redis.conf", _BROKER + first, "redis")

    def sentinel(self) -> Path:
        """The same of its sentinel."""
        following = self.path / "following"
        following.write_text(_FOLLOWING.format(code=ROOT, python=sys.executable, address=self.address))
        following.chmod(0o755)
        return self._once("sentinel.conf", _SENTINEL, "sentinel")

    def _once(self, name: str, text: str, directory: str) -> Path:
        file, data = self.path / name, self.path / directory
        data.mkdir(exist_ok=True)
        if not file.exists():
            words = {"address": self.address, "first": address_of(1), "master": MASTER, "directory": data}
            words["following"] = self.path / "following"
            file.write_text(text.format(**words, behind=min(self.copies, 1)))
        return file

    def variables(self) -> dict[str, str]:
        """The configuration of gorgond's processes."""
        return {
            "GORGOND_CONFIG": "/dev/null",
            "GORGOND_BROKER_URL": self.broker,
            "GORGOND_STORE_URL": DATABASE,
            "GORGOND_WEB_ADDRESS": self.address,
            "GORGOND_WEB_TRUSTED_PROXIES": OURS,
            "GORGOND_AUTH_KEY": self.key,
            "GORGOND_APP_DIRECTORY": "",
            "GORGOND_APP_MODULE": "gorgond.app.notes gorgond.chaos.application",
            **self.environ,
        }
