"""redpill: persistent queues and topics on Redis, usable alone.

    broker = redpill.connect("redis://localhost")
    Producer    puts messages on queues and events on topics
    Consumer    takes messages from a queue and handles them; ConcurrentConsumer: each for itself, at the same time
    Caller      pushes a request and waits for its reply
    Subscription, Listener    hear a topic: durably, or just now

docs/redpill.md shows each in a few lines; docs/protocol.md has the format. All that `__all__` does not name is
redpill's own business: others take nothing from its modules.

    message        what travels; `codec` is JSON as bytes, `raw` what a broker changes in them
    errors         the root of the error tree, and redpill's branch
    broker         the contract; `drivers` has the brokers by scheme, `keys` every key in Redis
    limits         how often and how many at a time, as a broker is asked
    redisbroker    Redis; `redisserver` a server by its address, `script` what Redis runs
    sentinelbroker    several Redis servers, one of them the master; `sentineladdress` its address, `sentinels` who
                   says which, `sentinelwatch` that it is another one, `failover` makes it another one
    servers        the servers of a broker, each asked for itself; `replication` what they say
    rediswire      a connection, made as often as it is needed; `redisprotocol` what travels on one, `resp` its format
    copies         how many replicas are waited for until what was promised counts
    clock          the time that all processes share, which is the broker's
    deadline       one that costs next to nothing to set and to lift
    memory         the broker in memory; `memoryqueue` one queue of it, `memoryunique` a unique job, `memorylimits` what
                   of a queue may be begun
    protocol       the version of keys and scripts, and what is done about another one
    meaning        what an error of Redis means: wait, refuse, stop
    outage         what is away, told once; `persist` waits for it, `ending` does not when it is to end
    producer       pushing
    call           calling, and the reply
    consumer       messages in batches; `concurrent` at the same time; `consuming` is what both have
    session        a desk, and what was taken onto it; `received` what a claim hands out; `account` what was done
    outcome        what a handler makes of a message
    topic          events, durably or just now
    foreign        running what others wrote, so that it ends nothing but itself
    hooks          what loops tell whoever runs them
    logline        which messages a line of the log is about; `seldom` is one for what happens often
"""

from gorgond.redpill import keys, protocol, script
from gorgond.redpill.broker import (
    BATCH_MAX,
    CLAIM_BYTES,
    SILENCE,
    Broker,
    Counts,
    DeadLetter,
    Found,
    Group,
    Lease,
    Link,
    Room,
    Step,
    Unique,
    UnixSocket,
)
from gorgond.redpill.call import Call, Caller, Told
from gorgond.redpill.clock import BrokerTime, follow, judged_ms, now_ms
from gorgond.redpill.codec import INT_MAX, INT_MIN, canonical, dumps, encoded, loads, loads_strictly, plain
from gorgond.redpill.concurrent import ConcurrentConsumer, Work
from gorgond.redpill.consumer import Consumer, Handler
from gorgond.redpill.consuming import AnyConsumer
from gorgond.redpill.drivers import DRIVERS, connect, parse_set
from gorgond.redpill.ending import Ending, fault_of
from gorgond.redpill.errors import (
    BrokerAway,
    BrokerError,
    BrokerRefused,
    CallFailed,
    DeadlineExceeded,
    GorgonError,
    LoopEnded,
    OutcomeUnknown,
    QueueFull,
    Superseded,
    Undecodable,
    public_error,
)
from gorgond.redpill.foreign import contained
from gorgond.redpill.hooks import UNHEARD, Hooks
from gorgond.redpill.limits import AtOnce, Entry, Limit, Within
from gorgond.redpill.logline import handling
from gorgond.redpill.message import ID_MAX, MORE, NEXT, Message, Reply, decode, new_id
from gorgond.redpill.outage import Outage, overslept
from gorgond.redpill.outcome import DONE, Attempts, Dead, Done, Newer, Outcome, Retry, Unavailable, Waits
from gorgond.redpill.producer import Producer
from gorgond.redpill.replication import RedisState, Replication, SentinelState
from gorgond.redpill.topic import KEPT, ConcurrentSubscription, Listener, Subscription

__all__ = [
    "BATCH_MAX", "CLAIM_BYTES", "DONE", "DRIVERS", "ID_MAX", "INT_MAX", "INT_MIN", "KEPT", "MORE", "NEXT", "SILENCE",
    "UNHEARD", "AnyConsumer", "AtOnce", "Attempts", "Broker", "BrokerAway", "BrokerError", "BrokerRefused",
    "BrokerTime", "Call",
    "CallFailed", "Caller", "ConcurrentConsumer", "ConcurrentSubscription", "Consumer", "Counts", "Dead", "DeadLetter",
    "DeadlineExceeded", "Done", "Ending", "Entry", "Found", "GorgonError", "Group", "Handler", "Hooks", "Lease",
    "Limit", "Link", "Listener", "LoopEnded", "Message", "Newer", "Outage", "Outcome", "OutcomeUnknown", "Producer",
    "QueueFull", "RedisState", "Replication", "Reply", "Retry", "Room", "SentinelState", "Step", "Subscription",
    "Superseded", "Told", "Unavailable", "Undecodable", "Unique", "UnixSocket", "Waits", "Within", "Work", "canonical",
    "connect", "contained", "decode", "dumps", "encoded", "fault_of", "follow", "handling", "judged_ms", "keys",
    "loads", "loads_strictly", "new_id", "now_ms", "overslept", "parse_set", "plain", "protocol", "public_error",
    "script",
]  # fmt: skip
