"""The address of a set that Sentinels watch over: what is wrong with one is told before anything is connected."""

from __future__ import annotations

import pytest

from gorgond.config import load
from gorgond.errors import ConfigError
from gorgond.redpill import connect
from gorgond.redpill.sentineladdress import SentinelAddress
from gorgond.service.fabric import connect_fabric

THREE = "10.0.0.1,10.0.0.2:5000,[fd00::3]:6000"


def test_it_says_where_the_sentinels_are_and_how_a_redis_of_the_set_is_met() -> None:
    # given an address with all that it may have
    address = SentinelAddress.of(f"sentinels://web:s%2Fcret@{THREE}/gorgon?copies=2&db=3&ssl_ca_certs=/ca.pem")
    # then these are the Sentinels, their set, and how many copies are asked for
    assert address.sentinels == (("10.0.0.1", 26379), ("10.0.0.2", 5000), ("fd00::3", 6000))
    assert (address.name, address.copies) == ("gorgon", 2)
    # and a Redis is met as who we are, a Sentinel as nobody
    assert address.redis(("db1", 6379)) == "rediss://web:s%2Fcret@db1:6379?db=3&ssl_ca_certs=%2Fca.pem"
    assert address.sentinel(("fd00::3", 6000)) == "rediss://[fd00::3]:6000?ssl_ca_certs=%2Fca.pem"
    # and what is left out is nothing
    plain = SentinelAddress.of("sentinel://a,b,c/x")
    assert (plain.copies, plain.redis(("a", 1)), plain.sentinel(("a", 2))) == (0, "redis://a:1", "redis://a:2")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sentinel://10.0.0.1/gorgon", "names 1 Sentinel: name 3, or another odd number, each on a host of its own"),
        ("sentinel://a,b/gorgon", "names 2 Sentinels: name 3"),
        ("sentinel://a,b,c,d/gorgon", "names 4 Sentinels: name 3"),
        ("sentinel://a,b,a/gorgon", "names 2 Sentinels: name 3"),
        ("sentinel://a,b,127.1/gorgon", "names 127.1 as the host"),
        ("sentinel://a,b,0/gorgon", "names 0 as the host"),
        ("sentinel://a,b,[::ffff:127.0.0.1]/gorgon", "names ::ffff:127.0.0.1 as the host"),
        ("sentinel://a,b,ip6-loopback/gorgon", "names ip6-loopback as the host"),
        ("sentinel://a,b,c$/gorgon", "must name the hosts of Sentinels with commas between them"),
        ("sentinel://a,b,c/gorgon?copies=1&copies=0", "gives an option more than once"),
        ("sentinel://a,b,localhost/gorgon", "localhost .* write the address by which the other hosts reach it"),
        ("sentinel://a,b,127.0.1.1:26380/gorgon", "127.0.1.1 .* write the address"),
        ("sentinel://a,b,[::1]/gorgon", "::1 .* write the address"),
        ("sentinel://a,b,0.0.0.0/gorgon", "0.0.0.0 .* write the address"),
        ("sentinel://a,b,c", "must end with the name of the set, as in sentinel://10.0.0.1,"),
        ("sentinel://a,b,c/", "must end with the name of the set"),
        ("sentinel://a,,c/gorgon", "must name the hosts of Sentinels with commas between them"),
        ("sentinel://a,b,c:port/gorgon", "must name the hosts of Sentinels with commas"),
        ("sentinel://a,b,c/gorgon?copies=some", "copies= must be a number from 0 to 9"),
        ("sentinel://a,b,c/gorgon?copies=10", "copies= must be a number from 0 to 9"),
        ("sentinel://a,b,c/gorgon?copy=1", "unknown options: copy; there are copies, db and ssl_"),
        ("sentinel://a,b,c/gorgon?db=three", "is not understood"),
        ("sentinels://a,b,c/gorgon?ssl_ca_certs=/nowhere/ca.pem", "a file of TLS that its address names"),
    ],
)
def test_what_is_wrong_with_it_is_told_with_what_to_do(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        connect(url)
    # and a process says so when it starts
    with pytest.raises(ConfigError, match=rf"\[broker\] url: .*{told}"):
        connect_fabric(load(None, {}, {"broker.url": url}))


def test_no_password_is_told() -> None:
    for url in ("sentinel://web:secret@a,b/gorgon", "sentinel://web:secret@a,b,c/gorgon?what=secret2"):
        with pytest.raises(ValueError, match=r"\w") as found:
            connect(url)
        assert "secret" not in str(found.value)
    assert "secret" not in connect("sentinel://web:secret@a,b,c/gorgon").outage.what


def test_who_we_are_may_stand_in_the_settings() -> None:
    config = load(None, {}, {"broker.url": "sentinel://a,b,c/x", "broker.user": "web", "broker.password": "p@ss"})
    assert connect_fabric(config).durable.url == "sentinel://web:p%40ss@a,b,c/x"
