"""All drills by name, in the order in which `drill --all` runs them.

broker     brokers die, are away, hang
network    the network to them is slow, breaks off, swallows everything
notifications   what notification servers send to refuses, hangs, hangs up
roles      instances die, hang, or are restarted
jobs       app servers, stores and brokers die under jobs
room       a broker has no room, or loses what it had
store      a store hangs, its database dies, a message kills
hosts      hosts of their own: the broker's master changes, a host is gone
soak       everything at random; instances that come and go
"""

from __future__ import annotations

from gorgond.chaos.drill import Drill
from gorgond.chaos.drills import broker, hosts, jobs, network, notifications, roles, room, soak, store

_ALL = (broker, room, roles, jobs, store, notifications, network, hosts, soak)
DRILLS: dict[str, Drill] = {drill.name: drill for each in _ALL for drill in each.DRILLS}
