"""The port of Socket.IO: who is let in, who is told what, and when a connection is cut.

    connect({token, since})   with the token of a session, and the number up to which the client has its notifications
    notification, read, reset, ready     from us: `app.following` says what they are; "ready" has the number up to which
                              all is told
    subscribe({user} or {keyword}), unsubscribe     public notes, with an acknowledgement: `items`

Several servers share the port; a connection stays with the server that took it. A client that is cut, since its server
ends or since it takes too little, comes again by itself to whichever server, and says what it has.

A session that has ended is heard of at once, over `auth_notify`, and asked about every ten minutes in case that was
missed, or at once if any has ended while its client was being let in. Its connection is cut; when the client comes
again, it is told 401 and stays away.

python-socketio does the talking: one process's alone, since what others publish comes over our own topics.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler

from gorgond.app.backend import Hear
from gorgond.app.clients import StoreClient
from gorgond.app.following import Follower, Inboxes
from gorgond.app.notifying import NOTIFICATIONS
from gorgond.bounds import WHOLE_MAX
from gorgond.config import Config
from gorgond.errors import BadRequest
from gorgond.http.accepting import Acceptor
from gorgond.http.credentials import TOKEN_MAX, digest
from gorgond.http.telling import Spawn, Telling
from gorgond.live.items import Items
from gorgond.live.websocket import PACKET_MAX, Socket
from gorgond.redpill import CallFailed, GorgonError, Message
from gorgond.service.words import counted

try:
    import engineio.packet
    import socketio
    import socketio.exceptions
    import socketio.packet
except ImportError:  # it is not required
    socketio = None

MISSING = "Socket.IO is off: python3-socketio is not installed"
PATH = r"/socket\.io/"
CLIENTS_MAX = 5_000  # at one server
ARRIVING_MAX = 500  # connections that are no websocket yet
ARRIVING = 10.0  # seconds that one may take to become one
CHECKED = 600.0  # seconds after which it is asked again whether a session lasts
AGAIN = 10.0  # the same, when nobody knew
CHECKS = 16  # such questions at the same time
GOODBYE = 2.0  # seconds that clients have to close their connections when the server ends

UserOf = Callable[[str], Awaitable[str]]

log = logging.getLogger("gorgond.live")
_silent = logging.getLogger("gorgond.live.socketio")  # what clients do wrong would fill the log
_silent.setLevel(logging.CRITICAL)


class Door:
    """The port at one server. `user_of` has the id of the user of a session, by the digest of its token; it raises
    CallFailed 401 for none. `store` has the notifications and notes. `hear` listens to a topic, `spawn` runs a loop of
    the server's."""

    def __init__(self, user_of: UserOf, store: StoreClient, hear: Hear, spawn: Spawn, config: Config) -> None:
        self._user_of = user_of
        self._store = store
        self._anywhere_here = not config.web.url  # nobody has said where the site is: it is where we are
        self._origins = {_origin(each) for each in (config.web.url, *config.notify.origins.split())} - {""}
        self._clients: set[Socket] = set()
        self._entered: dict[str, Socket] = {}  # by Socket.IO's ids
        self._inboxes: Inboxes[_Client] = Inboxes(self._find, hear, self._sweep)
        self._telling = Telling(spawn, self._inboxes.run, "inboxes")
        self._items = Items(store, hear, spawn, _packet)
        self._checking: set[asyncio.Task[None]] = set()
        self._endings = 0  # how often sessions have ended, or may have
        self._empty = asyncio.Event()
        self._engine = self._make_engine()
        self._acceptor: Acceptor | None = None

    @property
    def state(self) -> str:
        """What it does, for the status line of its server."""
        return MISSING if socketio is None else counted(len(self._clients), "client")

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Let clients come."""
        handler = (PATH, Socket, {"port": self}) if socketio is not None else (PATH, _Missing)
        application = Application(
            [handler], websocket_max_message_size=PACKET_MAX, log_function=lambda _: None,
            default_handler_class=_Unknown,
        )  # fmt: skip
        server = _Server(
            application, idle_connection_timeout=ARRIVING, body_timeout=ARRIVING, max_header_size=16384,
            max_body_size=PACKET_MAX,
        )  # fmt: skip
        self._acceptor = Acceptor(sockets, server.take)

    async def close(self) -> None:
        """The server ends: clients go elsewhere by themselves."""
        if self._acceptor is not None:
            await self._acceptor.close()
        for client in list(self._clients):
            client.close(1001, "this server ends")
        self._empty.clear()
        if self._clients:
            try:
                async with asyncio.timeout(GOODBYE):
                    await self._empty.wait()
            except TimeoutError:
                for client in list(self._clients):
                    client.cut()
        self._telling.end()
        self._items.close()

    # ---- sessions that end

    def hear_session(self, event: Message) -> None:
        """An event of auth_notify."""
        if event.op != "auth.ended":
            return
        self._endings += 1
        ended, user = set(event.args.get("sessions", ())), event.args.get("userid")
        for each in list(self._inboxes):
            if each.session in ended or each.user == user:
                each.client.cut()

    def doubt_sessions(self) -> None:
        """Such an event may have been missed."""
        self._endings += 1
        for each in self._inboxes:
            each.check_at = 0.0

    def _sweep(self, now: float) -> None:
        for each in self._inboxes:
            if len(self._checking) >= CHECKS:
                break
            if now >= each.check_at:
                each.check_at = now + CHECKED
                task = asyncio.get_running_loop().create_task(self._check(each))
                self._checking.add(task)
                task.add_done_callback(self._checking.discard)

    async def _check(self, client: _Client) -> None:
        """Cut one whose session has ended."""
        try:
            await self._user_of(client.session)
        except GorgonError as error:
            if isinstance(error, CallFailed) and error.code == 401:
                client.client.cut()
            client.check_at = asyncio.get_running_loop().time() + AGAIN

    # ---- what a websocket tells: `websocket.Port`

    @property
    def full(self) -> bool:
        return len(self._clients) >= CLIENTS_MAX

    def allows(self, origin: str, host: str) -> bool:
        if _origin(origin) in self._origins:
            return True
        try:
            return self._anywhere_here and urlsplit(origin).hostname == urlsplit(f"//{host}").hostname
        except ValueError:
            return False

    async def serve(self, client: Socket) -> None:
        await self._engine.handle_request(client)

    def has_come(self, client: Socket) -> None:
        self._clients.add(client)

    def has_entered(self, client: Socket) -> None:
        if isinstance(client.follower, _Client):
            if client.follower.endings != self._endings:  # its session may be one that ended since it was asked about
                client.follower.check_at = 0.0
            self._inboxes.join(client.follower)
            self._telling.begin()

    def takes(self, client: Socket) -> None:
        if client.follower is not None and client.follower.behind:
            self._inboxes.wake()

    def has_gone(self, client: Socket) -> None:
        self._clients.discard(client)
        if isinstance(client.follower, _Client):
            self._inboxes.leave(client.follower)
            self._entered.pop(client.follower.sid, None)
        self._items.leave(client)
        if not self._clients:
            self._empty.set()

    # ---- what a client says

    def _make_engine(self) -> Any:
        if socketio is None:
            return None
        engine = socketio.AsyncServer(
            client_manager=None, async_mode="tornado", transports=["websocket"], allow_upgrades=False,
            cors_allowed_origins=[], max_http_buffer_size=PACKET_MAX, async_handlers=False, monitor_clients=False,
            logger=_silent, engineio_logger=_silent,
        )  # fmt: skip
        engine.on("connect", self._connect)
        engine.on("subscribe", self._subscribe)
        engine.on("unsubscribe", self._unsubscribe)
        return engine

    async def _connect(self, sid: str, environ: Mapping[str, Any], auth: Any = None) -> None:
        """Let a client in. Raises ConnectionRefusedError."""
        client: Socket = environ["tornado.handler"]
        session, since = _credentials(auth)
        endings = self._endings
        try:
            user = await self._user_of(session)
            last = await self._inboxes.newest(user) if since is None else since
        except GorgonError as error:
            if isinstance(error, CallFailed) and error.code == 401:
                raise _refused(401, "this session has ended: log in") from None
            log.debug("a client cannot be let in, and comes again: %s", error)
            client.cut()
            return
        client.follower = _Client(client, sid, session, user, last, endings)
        self._entered[sid] = client

    async def _subscribe(self, sid: str, wanted: Any = None) -> Mapping[str, Any]:
        return await self._change(sid, wanted, self._items.subscribe)

    async def _unsubscribe(self, sid: str, wanted: Any = None) -> Mapping[str, Any]:
        return await self._change(sid, wanted, self._items.unsubscribe)

    async def _change(
        self, sid: str, wanted: Any, change: Callable[[Socket, Any], Awaitable[None]]
    ) -> Mapping[str, Any]:
        """The acknowledgement of a change of what a client has subscribed to."""
        client = self._entered.get(sid)
        if client is None:
            return {}  # it has gone
        try:
            await change(client, wanted)
        except BadRequest as bad:
            return {"error": {"code": 400, "message": str(bad), "field": bad.field}}
        except GorgonError as error:
            return {"error": {"code": 503, "message": str(error)}}
        return {"ok": True}

    async def _find(self, filter: dict[str, Any], direction: int, most: int) -> Sequence[dict[str, Any]]:
        return await self._store.find(NOTIFICATIONS, filter, sort="-id" if direction < 0 else "id", limit=most)


class _Client(Follower):
    """Somebody who was let in, by the digest of the token of their session, which was asked about when so many
    `endings` had been heard of."""

    def __init__(self, client: Socket, sid: str, session: str, user: str, last: int, endings: int) -> None:
        super().__init__(user, last)
        self.client = client
        self.sid = sid
        self.session = session
        self.endings = endings
        self.check_at = asyncio.get_running_loop().time() + CHECKED
        self._ready = False

    def tell(self, event: str, told: Mapping[str, Any], number: int | None = None) -> None:
        self.client.send(_packet(event, {**told, "number": number} if event == "reset" else told))

    def takes_more(self) -> bool:
        return not self.client.waits

    def tell_last(self) -> None:
        if not self._ready:
            self._ready = True
            self.client.send(_packet("ready", {"number": self.last}))


class _Server(HTTPServer):
    """Reads what comes until it is a websocket: not too long, nor of too many at the same time."""

    _arriving = 0

    async def take(self, connection: socket.socket) -> None:
        """A connection has come."""
        if self._arriving >= ARRIVING_MAX:
            connection.close()
            return
        address = connection.getpeername()
        self._arriving += 1
        self.handle_stream(IOStream(connection, max_buffer_size=4 * PACKET_MAX), address)

    def on_close(self, server_conn: object) -> None:
        self._arriving -= 1
        super().on_close(server_conn)


class _Unknown(RequestHandler):
    """Any other address than that of Socket.IO."""

    def prepare(self) -> None:
        self.set_status(404)
        self.finish({"error": {"code": 404, "message": "there is Socket.IO alone here, at /socket.io/"}})


class _Missing(RequestHandler):
    """In place of Socket.IO where that is not installed."""

    def prepare(self) -> None:
        self.set_status(503)
        self.finish({"error": {"code": 503, "message": MISSING}})


def _packet(event: str, told: Mapping[str, Any]) -> bytes:
    """An event as it travels."""
    packet = socketio.packet.Packet(socketio.packet.EVENT, data=[event, told], namespace="/").encode()
    encoded: str = engineio.packet.Packet(engineio.packet.MESSAGE, packet).encode()
    return encoded.encode()


def _credentials(auth: Any) -> tuple[str, int | None]:
    """The session's digest, and the number up to which the client has all, if it says so. Raises
    ConnectionRefusedError."""
    token, since = (auth.get("token"), auth.get("since")) if isinstance(auth, dict) else (None, None)
    if not isinstance(token, str) or not 0 < len(token) <= TOKEN_MAX:
        raise _refused(401, "auth: must be {token, since}, with the token of a session")
    if since is not None and (type(since) is not int or not 0 <= since <= WHOLE_MAX):
        raise _refused(400, f"since: must be a whole number from 0 to {WHOLE_MAX}")
    return digest(token), since


def _refused(code: int, message: str) -> Exception:
    """What python-socketio tells a client that is not let in."""
    refused: Exception = socketio.exceptions.ConnectionRefusedError(message, {"code": code})
    return refused


def _origin(address: str) -> str:
    """The origin of a page at this address, as browsers say it; nothing for what is no address."""
    try:
        parts = urlsplit(address.lower())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
