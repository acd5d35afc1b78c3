"""redpill: persistent queues and topics on Redis, usable alone.

    broker = redpill.connect("redis://localhost")
    Producer    puts messages on queues and events on topics
    Consumer        takes messages from a queue and handles them; ConcurrentConsumer: each for itself, at the same time
    Caller      pushes a request and waits for its reply
    Subscription, Listener    hear a topic: durably, or just now

docs/redpill.md shows each in a few lines; docs/protocol.md has the format.
"""

from gorgond.redpill.broker import Broker, Counts, DeadLetter, Limit, Link, Room, connect
from gorgond.redpill.call import Caller
from gorgond.redpill.concurrent import ConcurrentConsumer, ConcurrentSubscription
from gorgond.redpill.consumer import Consumer
from gorgond.redpill.errors import (
    BrokerAway,
    BrokerError,
    BrokerRefused,
    CallFailed,
    DeadlineExceeded,
    GorgonError,
    QueueFull,
    Superseded,
    Undecodable,
    told,
)
from gorgond.redpill.foreign import contained
from gorgond.redpill.logline import handling
from gorgond.redpill.message import Message, Reply, new_id, now_ms
from gorgond.redpill.outcome import DONE, Dead, Done, Outcome, Retry, Unavailable
from gorgond.redpill.producer import Producer
from gorgond.redpill.topic import Listener, Subscription

__all__ = [
    "DONE",
    "Broker",
    "BrokerAway",
    "BrokerError",
    "BrokerRefused",
    "CallFailed",
    "Caller",
    "ConcurrentConsumer",
    "ConcurrentSubscription",
    "Consumer",
    "Counts",
    "Dead",
    "DeadLetter",
    "DeadlineExceeded",
    "Done",
    "GorgonError",
    "Limit",
    "Link",
    "Listener",
    "Message",
    "Outcome",
    "Producer",
    "QueueFull",
    "Reply",
    "Retry",
    "Room",
    "Subscription",
    "Superseded",
    "Unavailable",
    "Undecodable",
    "connect",
    "contained",
    "handling",
    "new_id",
    "now_ms",
    "told",
]  # fmt: skip
