"""Messages and replies on the wire."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from gorgond.redpill import CallFailed, Message, Reply, Undecodable, new_id, now_ms
from gorgond.redpill.message import ATTEMPTS_PREFIX, decode, decode_reply


def test_what_is_encoded_is_decoded_again() -> None:
    full = Message("items.find", {"a": [1, "ü"]}, "i", "r", "n", {"id": 1}, 5, 4, "t", 3)
    assert decode(full.encode()) == full
    assert json.loads(full.encode()) == {
        "attempts": 3, "id": "i", "op": "items.find", "args": {"a": [1, "ü"]}, "reply": "r", "next": "n",
        "user": {"id": 1}, "deadline": 5, "sent": 4, "trace": "t",
    }  # fmt: skip
    # the attempts come first, where the broker counts them
    assert full.encode().startswith(ATTEMPTS_PREFIX)


def test_what_is_empty_is_left_out() -> None:
    assert Message("op", id="i", sent=0).encode() == b'{"id":"i","op":"op","sent":0}'
    # but a user without anything is a user
    assert decode(Message("op", user={}).encode()).user == {}


def test_a_message_for_a_call_carries_the_callers_list() -> None:
    message = Message("op")
    assert decode(message.encode("web_data:1")).reply == "web_data:1"
    assert message.reply == ""


def test_what_is_not_there_has_a_default_and_what_is_unknown_is_ignored() -> None:
    message = decode(b'{"op":"x","id":"1","later":{"added":[1]}}')
    assert message == Message("x", {}, "1", sent=0)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"x", b"[]", b"{}", b'{"op":"x"}', b'{"id":"1"}', b' {"id":"1","op":"x"}', b'{ "id":"1","op":"x"}',
        b'{"id":"1","op":"x"',
        b'{"id":"","op":"x"}', b'{"id":"' + b"x" * 129 + b'","op":"x"}', b'{"id":1,"op":"x"}',
        b'{"id":"1","op":null}', b'{"id":"1","op":5}',
        b'{"id":"1","op":"x","args":[]}', b'{"id":"1","op":"x","user":"me"}', b'{"id":"1","op":"x","deadline":"1"}',
        b'{"id":"1","op":"x","deadline":1.5}', b'{"id":"1","op":"x","sent":true}', b'{"id":"1","op":"x","reply":[]}',
        b'{"id":"1","op":"x","next":1}', b'{"id":"1","op":"x","trace":{}}', b'{"attempts":"1","id":"1","op":"x"}',
        b'{"id":"\xff","op":"x"}', b'{"id":"\\ud800","op":"x"}', b'{"id":"1","op":"x","args":{"a":NaN}}',
        b'{"a":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_message_is_undecodable(raw: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(raw)


@pytest.mark.parametrize("args", [{"a": object()}, {"a": "\ud800"}])
def test_what_json_cannot_hold_cannot_be_encoded(args: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Message("op", args).encode()


def test_a_deadline_is_over_when_it_is_reached() -> None:
    message = Message("op", deadline=100)
    assert [message.is_expired(now) for now in (99, 100, 101)] == [False, True, True]
    assert not Message("op").is_expired(now_ms())


def test_forwarded_it_begins_anew_at_the_next_queue() -> None:
    message = Message("op", {"a": 1}, next="web_get", attempts=2, deadline=7)
    forwarded = message.forward(user={"id": 5})
    assert (forwarded.next, forwarded.attempts, forwarded.user) == ("", 0, {"id": 5})
    assert (forwarded.id, forwarded.args, forwarded.deadline, forwarded.sent) == (message.id, {"a": 1}, 7, message.sent)


def test_ids_are_unique_and_sort_by_time_also_after_a_fork() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {len(id) for id in ids} == {27}
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode()[-10:] != ids[0][-10:]
    os.close(reading)
    os.close(writing)


# ---- replies


@pytest.mark.parametrize("body", [b"", b"[1]", b"line\nline\n\n", b"\xff\x00"])
def test_a_reply_carries_its_body_as_it_is(body: bytes) -> None:
    reply = Reply('i"d', body)
    assert reply.encode() == b'{"id":"i\\"d"}\n' + body
    assert decode_reply(reply.encode()) == reply


def test_a_reply_that_is_an_error() -> None:
    reply = decode_reply(Reply("1", b"body", CallFailed(404, "nicht hier: ü")).encode())
    assert (reply.id, reply.body) == ("1", b"body")
    assert reply.error is not None
    assert (reply.error.code, reply.error.message, str(reply.error)) == (404, "nicht hier: ü", "404: nicht hier: ü")


def test_a_reply_for_http_has_status_and_headers() -> None:
    reply = Reply("1", b"{}", status=201, headers={"Location": "/items/1"})
    assert reply.encode() == b'{"id":"1","status":201,"headers":{"Location":"/items/1"}}\n{}'
    assert decode_reply(reply.encode()) == reply
    # and an error the field that is wrong, and headers
    failed = decode_reply(Reply("1", error=CallFailed(429, "later", "email", {"Retry-After": "9"})).encode()).error
    assert failed is not None
    assert (failed.code, failed.field, failed.headers) == (429, "email", {"Retry-After": "9"})


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\n", b"x\n", b"[]\n", b"5\n", b"{}\n", b'{"id":"1","error":5}\n', b'{"id":"1","error":{}}\n',
        b"null\nbody", b"\xff\n",
        b'{"id":"1","error":{"code":"x","message":""}}\n', b'{"id":"1","error":{"code":1e999,"message":""}}\n',
        b'{"id":"\\ud800"}\n', b'{"id":"1","status":"x"}\n', b'{"id":"1","headers":[1]}\n',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_reply_is_undecodable(raw: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_reply(raw)
