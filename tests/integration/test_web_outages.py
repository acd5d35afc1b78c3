"""The web server when something is missing: store, room, broker, itself. And several of it, on sockets of all kinds."""

from __future__ import annotations

import math
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from gorgond.config import load
from gorgond.http import server
from gorgond.roles.web import WebServer
from gorgond.service.fabric import connect_fabric
from gorgond.service.figures import TICK
from gorgond.stores.sqlite import SqliteStore
from tests.conftest import RedisServer
from tests.integration.website import Answer, Connection, Website
from tests.neighbours import Neighbours
from tests.programs import ROOT, gorgond
from tests.waiting import eventually
from tools.speed.ports import free_port

NOTE = {"title": "t"}


@pytest.fixture(autouse=True)
def _warnings(expected_logs: Callable[[str], None]) -> None:
    expected_logs("loses its messages when it dies")
    expected_logs("is (away|back)")
    expected_logs(
        "has lost its desk|others have what was on its desk"
    )  # as it looks when a Redis that keeps nothing is back


def unavailable(answer: Answer) -> str:
    """The reason, as a program reads it; people are told nothing of where the broker is and how it is reached."""
    assert (answer.status, answer.headers["retry-after"] in "12") == (503, True), answer.body
    message = answer.error["message"]
    assert message
    assert not re.search(r"/|sock|redis|errno|connect", message, re.IGNORECASE), message
    return str(answer.error["reason"])


# ---- what is missing


def test_without_a_store_a_call_is_504_and_a_job_is_kept(shared_redis: RedisServer, tmp_path: Path) -> None:
    with Website(shared_redis.url, tmp_path, store=False, web__deadline="0.2s") as site:
        for method, target, body in (("GET", "/info/1", None), ("POST", "/info/1", NOTE), ("DELETE", "/items/a", None)):
            with Neighbours() as neighbours:
                started = time.monotonic()
                answer = site.ask(method, target, body)
                assert (answer.status, time.monotonic() - started < 9 * neighbours.slowdown) == (504, True)
            assert re.fullmatch(r"no answer from store_\w+ in time", answer.error["message"])
        assert site.ask("POST", "/info/1", NOTE, Prefer="respond-async").status == 202
    with Website(shared_redis.url, tmp_path) as site:
        eventually(lambda: len(site.ask("GET", "/info/1").json["items"]) == 1)


def test_a_full_queue_is_503_at_once(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given queues that hold two messages, and no store
    with Website(shared_redis.url, tmp_path, store=False, broker__queue_limit="2") as site:
        for _ in range(2):
            assert site.ask("POST", "/info/1", NOTE, Prefer="respond-async").status == 202
        # then a third one is refused, whether it would be waited for or not
        for prefer in ("respond-async", ""):
            assert unavailable(site.ask("POST", "/info/1", NOTE, Prefer=prefer)) == "queue_full"
        # but what needs no queue goes on
        assert site.ask("GET", "/readyz").status == 200


def test_a_broker_that_is_away_past_the_deadline_is_503(redis_server: RedisServer, tmp_path: Path) -> None:
    with Website(redis_server.url, tmp_path, web__deadline="0.5s") as site:
        assert site.ask("POST", "/info/1", NOTE).status == 201
        # when the broker dies
        redis_server.kill()
        # then whatever needs it fails when its time is over, and says why
        assert unavailable(site.ask("GET", "/info/1")) == "broker_away"
        assert unavailable(site.ask("POST", "/info/1", NOTE)) == "broker_away"
        assert unavailable(site.ask("POST", "/info/1", NOTE, Prefer="respond-async")) == "broker_away"
        # and so does readiness, while the process lives
        assert unavailable(site.ask("GET", "/readyz")) == "broker_away"
        assert site.ask("GET", "/healthz").status == 200
        # when it is back, all is well again
        redis_server.start()
        eventually(lambda: site.ask("GET", "/readyz").status == 200)
        eventually(lambda: site.ask("POST", "/info/1", NOTE).status == 201)


def test_readiness_knows_of_each_broker(
    redis_factory: Callable[..., RedisServer], shared_redis: RedisServer, tmp_path: Path
) -> None:
    durable = redis_factory()
    with Website(durable.url, tmp_path, store=False, broker__calls=shared_redis.url) as site:
        eventually(lambda: site.ask("GET", "/readyz").status == 200)
        # when the durable one dies, and nobody has a job for it
        durable.kill()
        # then that is noticed all the same
        eventually(lambda: site.ask("GET", "/readyz").status == 503)
        assert unavailable(site.ask("GET", "/readyz")) == "broker_away"
        # and that it is back
        durable.start()
        eventually(lambda: site.ask("GET", "/readyz").status == 200)


def test_a_search_whose_index_is_being_made_is_503(
    shared_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an index that takes long to make
    go = threading.Event()
    make = SqliteStore.make_search

    def slowly(self: SqliteStore) -> None:
        go.wait(timeout=60)
        make(self)

    monkeypatch.setattr(SqliteStore, "make_search", slowly)
    with Website(shared_redis.url, tmp_path) as site:
        assert site.ask("POST", "/info/1", NOTE).status == 201
        # then whoever searches is told to come again, and finds it then
        answer = site.ask("GET", "/items?q=t")
        assert (answer.status, "retry-after" in answer.headers) == (503, True), answer.body
        go.set()
        eventually(lambda: site.ask("GET", "/items?q=t").status == 200)


def test_where_nothing_is_to_be_indexed_a_search_is_refused(shared_redis: RedisServer, tmp_path: Path) -> None:
    with Website(shared_redis.url, tmp_path, store__search="no") as site:
        assert site.ask("POST", "/info/1", NOTE).status == 201
        answer = site.ask("GET", "/items?q=t")
        assert answer.status == 400
        assert answer.json["error"]["message"] == "q: there is none here; [store] search = yes has it"
        assert site.ask("GET", "/items?userid=1").status == 200


def test_a_broker_that_is_back_within_the_deadline_is_a_pause(redis_server: RedisServer, tmp_path: Path) -> None:
    # given requests that wait for a broker that is away
    with Website(redis_server.url, tmp_path) as site, site.connection() as one, site.connection() as two:
        assert site.ask("POST", "/info/1", NOTE).status == 201
        redis_server.kill()
        one.request("POST", "/info/1", NOTE)
        two.request("POST", "/info/1", NOTE, Prefer="respond-async")
        eventually(lambda: site.ask("GET", "/readyz").status == 503)
        # when it is back, they are answered
        redis_server.start()
        assert (one.read().status, two.read().status) == (201, 202)


# ---- the end


def test_a_draining_server_answers_what_is_begun(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given a server without a store, one request that waits, one that is half sent, and an idle connection
    with Website(shared_redis.url, tmp_path, store=False, web__deadline="1s") as site:
        waiting, half, idle = site.connection(), site.connection(), site.connection()
        idle.ask("GET", "/healthz")
        half.send(b"POST /info/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        half.send(b"Prefer: respond-async\r\nContent-Length: 2\r\n\r\n{")
        waiting.request("GET", "/info/1")
        eventually(lambda: len(site.web.server.exchanges) == 2)
        # when it is asked to end
        site.stop()
        eventually(lambda: site.web.draining)
        # then it says so to who asks whether it is ready
        answer = idle.ask("GET", "/readyz")
        assert unavailable(answer) == "stopping"
        assert answer.headers["connection"] == "close"
        # and answers the others
        half.send(b"}")
        answers = [half.read(), waiting.read()]
        assert [answer.status for answer in answers] == [202, 504]
        assert [answer.headers["connection"] for answer in answers] == ["close", "close"]
        for connection in (waiting, half, idle):
            assert connection.closed()
            connection.close()


def test_who_has_asked_lately_is_waited_for(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given a client that keeps its connection and does not ask twice
    with Website(shared_redis.url, tmp_path, store=False) as site, site.connection() as connection:
        assert connection.ask("GET", "/healthz").status == 200
        # when the server was asked to end a while ago
        site.stop()
        eventually(lambda: site.web.draining)
        stopped = time.monotonic()
        eventually(lambda: time.monotonic() > stopped + 1)
        # then its next request is answered, and it is told that this was the last
        answer = connection.ask("GET", "/healthz")
        assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_who_has_not_asked_for_long_is_not_waited_for(
    shared_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a client that keeps its connection although it may never ask again
    monkeypatch.setattr(server, "GRACE", math.inf)
    monkeypatch.setattr(server, "LATELY", 0.0)
    with Website(shared_redis.url, tmp_path, store=False) as site, site.connection() as connection:
        assert connection.ask("GET", "/healthz").status == 200
        # when the server is asked to end, then it does
        site.stop()
        assert connection.closed()


def test_an_answer_is_sent_to_its_end_before_the_server_ends(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given an answer of 8 MB of which little is taken
    with Website(shared_redis.url, tmp_path) as site:
        for number in range(10):
            many = [{"id": f"{number} {each}", "body": "x" * 8000} for each in range(100)]
            assert site.ask("POST", "/info/1", many).status == 201
        with site.connection() as connection:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 500_000)
            connection.request("GET", "/info/1/1000")
            eventually(lambda: any(stream.unsent for stream in site.web.server.streams))
            # when the server is asked to end, and has had the time for it
            site.stop()
            eventually(lambda: site.web.draining)
            with suppress(AssertionError):
                eventually(lambda: not site.web.server.streams, timeout=0.5)
            # then the answer comes to its end all the same
            assert len(connection.read().json["items"]) == 1000


# ---- processes


@contextmanager
def web(
    redis: str, *held: socket.socket, name: str = "web", port: int = 0, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`gorgond web` as a process, with listening sockets as systemd hands them over."""
    variables = {"GORGOND_BROKER_URL": redis, "GORGOND_WEB_PORT": str(port), "GORGOND_WEB_ADDRESS": "127.0.0.1", **more}
    program = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid())\n"
    program += "for number, fd in enumerate(sys.argv[1:], 3): os.dup2(int(fd), number)\n"
    program += "os.execv(sys.executable, [sys.executable, '-m', 'gorgond', 'web'])"
    if held:
        variables |= {"LISTEN_FDS": str(len(held)), "LISTEN_FDNAMES": ":".join([name] * len(held))}
        command = [sys.executable, "-c", program, *(str(each.fileno()) for each in held)]
    else:
        command = [sys.executable, "-m", "gorgond", "web"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "GORGOND_CONFIG": os.devnull, **variables},
        pass_fds=[each.fileno() for each in held],
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def listener() -> socket.socket:
    found = socket.create_server(("127.0.0.1", 0), backlog=128)
    os.set_inheritable(found.fileno(), True)
    return found


def serves(port: int) -> bool:
    with suppress(OSError, EOFError), Connection(port) as connection:
        return connection.ask("GET", "/healthz").status == 200
    return False


def both_serve(port: int) -> None:
    """Wait until two servers have answered here."""
    instances = set()

    def both() -> bool:
        with suppress(OSError, EOFError), Connection(port) as connection:
            instances.add(connection.ask("GET", "/healthz").headers["x-request-id"][-10:])
        return len(instances) == 2

    eventually(both)


def test_a_rolling_restart_on_an_inherited_socket_fails_no_request(shared_redis: RedisServer) -> None:
    # given a socket that is held for the servers, and two of them on it
    with listener() as held:
        port = held.getsockname()[1]
        with web(shared_redis.url, held) as first, web(shared_redis.url, held, GORGOND_INSTANCE="2") as second:
            both_serve(port)
            # and clients that ask all the time, on connections that they keep while they may
            asked, failed, ended = [0], list[str](), threading.Event()

            def ask() -> None:
                connection = Connection(port)
                while not ended.is_set():
                    try:
                        answer = connection.ask("GET", "/healthz")
                    except (OSError, EOFError) as error:
                        failed.append(repr(error))
                        return
                    asked[0] += 1
                    if answer.headers.get("connection") == "close":
                        connection.close()
                        connection = Connection(port)
                connection.close()

            clients = [threading.Thread(target=ask) for _ in range(4)]
            for client in clients:
                client.start()
            # when one is asked to end under load, another one is begun, and the other one ends
            eventually(lambda: asked[0] > 500)
            first.send_signal(signal.SIGTERM)
            assert first.wait(timeout=60) == 0
            with web(shared_redis.url, held, GORGOND_INSTANCE="3"):
                before = asked[0]
                eventually(lambda: asked[0] > before + 500)
                second.send_signal(signal.SIGTERM)
                assert second.wait(timeout=60) == 0
                before = asked[0]
                eventually(lambda: asked[0] > before + 500)
                ended.set()
                for client in clients:
                    client.join()
            # then no request failed
            assert failed == []
        # and the socket, on which nobody listens any more, still takes connections
        with Connection(port) as connection:
            connection.request("GET", "/healthz")
            with web(shared_redis.url, held):
                assert connection.read().status == 200


def test_a_server_without_a_descriptor_left_goes_on(shared_redis: RedisServer) -> None:
    # given a server with more clients than it may have open files
    port = free_port()
    with web(shared_redis.url, port=port) as process, ExitStack() as clients:
        eventually(lambda: serves(port))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (100, 100))
        for _ in range(200):
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
        # when it has told what it does meanwhile
        eventually(lambda: len(list(Path(f"/proc/{process.pid}/fd").iterdir())) >= 99)  # libuv keeps one in reserve
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2 * TICK)
        # then it lives, and serves as soon as the others have gone
        clients.close()
        eventually(lambda: serves(port))


def test_a_socket_of_another_name_is_a_wrong_configuration(shared_redis: RedisServer) -> None:
    with listener() as held, web(shared_redis.url, held, name="page") as process:
        _, written = process.communicate(timeout=60)
    assert process.returncode == 78
    *_, last = written.decode().splitlines()  # after what it may say of its broker
    assert last == "gorgond: systemd passed 1 sockets, but none with FileDescriptorName=web"


def test_a_port_that_is_taken_is_a_wrong_configuration(shared_redis: RedisServer) -> None:
    with listener() as taken:
        port = str(taken.getsockname()[1])
        done = gorgond(
            "web", GORGOND_BROKER_URL=shared_redis.url, GORGOND_WEB_PORT=port, GORGOND_WEB_ADDRESS="127.0.0.1"
        )
    *_, last = done.stderr.splitlines()
    assert (done.returncode, f"cannot listen on 127.0.0.1:{port}: " in last) == (78, True)


def test_without_the_website_an_error_is_a_plain_page_for_browsers_alone(shared_redis: RedisServer) -> None:
    port = free_port()
    with web(shared_redis.url, port=port, GORGOND_APP_MODULE=""):
        eventually(lambda: serves(port))
        with Connection(port) as connection:
            page = connection.ask("GET", "/", Accept="text/html,*/*;q=0.8")
            assert (page.status, page.body.startswith(b"<!doctype html>")) == (404, True)
            answer = connection.ask("GET", "/")
            assert answer.error["code"] == answer.status == 404


def test_several_instances_on_one_port(shared_redis: RedisServer) -> None:
    # given two servers on one port
    port = free_port()
    with web(shared_redis.url, port=port) as first, web(shared_redis.url, port=port, GORGOND_INSTANCE="2") as second:
        # then both serve
        both_serve(port)
        # and when one ends, the other serves all
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=60) == 0
        assert all(serves(port) for _ in range(20))
        assert second.poll() is None


# ---- what it reads again


async def test_a_new_deadline_holds_from_the_next_request() -> None:
    first, second = (load(os.devnull, {}, {"broker.url": "memory://", "web.deadline": each}) for each in ("10s", "2s"))
    service = WebServer(first, connect_fabric(first), "1")
    service.reload(second)
    assert service.server.deadline_ms == 2000
