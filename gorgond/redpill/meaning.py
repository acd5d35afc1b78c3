"""The meaning of each error of Redis or its driver: one table says wait, refuse or stop."""

from __future__ import annotations

import ssl

from redis.exceptions import RedisError, ResponseError

from gorgond.redpill.errors import BrokerAway, BrokerError, BrokerRefused, QueueFull

ROUND_TIMEOUT = 5.0  # seconds for one round trip beyond what it blocks for

# The meaning of an error, by what Redis says or its first word, or the class that the driver has for what it met: wait
# and repeat (BrokerAway), refuse this request for now (QueueFull), or stop, since an operator must act (BrokerRefused,
# as all others).
_MEANING: dict[str, type[BrokerError]] = {
    "BUSY": BrokerAway,
    "CLUSTERDOWN": BrokerAway,
    "ERR max number of clients reached": BrokerAway,
    "LOADING": BrokerAway,
    "MASTERDOWN": BrokerAway,
    "NOREPLICAS": BrokerAway,
    "NOSCRIPT": BrokerAway,  # the scripts are loaded when connecting again
    "READONLY": BrokerAway,
    "TRYAGAIN": BrokerAway,
    "UNBLOCKED": BrokerAway,
    "MISCONF": QueueFull,  # it cannot write its disk
    "OOM": QueueFull,
    "AuthenticationError": BrokerRefused,  # at the login; the driver has it among the ConnectionErrors
    "ConnectionError": BrokerAway,  # also what Redis says at the login: LOADING, too many clients
    "TimeoutError": BrokerAway,
    "OSError": BrokerAway,
}

_CERTIFICATE = "the address must have the name that is in it, and ssl_ca_certs= the file of the CA that signed it"


def meaning(error: Exception, queue: str = "") -> BrokerError:
    """redpill's error for one of the driver's."""
    if isinstance(error.__cause__, RedisError):  # newer drivers wrap what a Redis on a unix socket said to the login
        error = error.__cause__
    for cause in (error, error.__cause__, error.__context__):  # older drivers lose the words of TLS
        if isinstance(cause, ssl.SSLCertVerificationError):
            return BrokerAway(f"its certificate is not accepted: {cause.verify_message}; {_CERTIFICATE}")
    text = str(error) or f"no answer within {ROUND_TIMEOUT:g} s"
    names = [text, text.partition(" ")[0], *(kind.__name__ for kind in type(error).__mro__)]
    kind = next((_MEANING[name] for name in names if name in _MEANING), BrokerRefused)
    if kind is QueueFull:
        return QueueFull(queue or "broker", f"the broker takes no more ({text})")
    return kind(f"Redis says: {text}" if isinstance(error, ResponseError) else text)
