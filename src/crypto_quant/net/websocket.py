"""WebSockets by picows: a ``Connector`` that turns frames into calls on a ``LinkHandler``."""

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections.abc import Sequence

import picows
import python_socks

from crypto_quant.errors import LinkLost, Throttled
from crypto_quant.net.causes import explained, refused_by_proxy, through_proxy
from crypto_quant.net.proxies import Proxies
from crypto_quant.seams import Link, LinkHandler
from crypto_quant.words import without_passwords

# The largest documented message is a few kilobytes; a frame beyond this is not from the exchange.
_MAX_FRAME = 8 * 1024 * 1024
# So many messages are handed on together at most, and nothing is read while more of them wait: then the database has
# its turn, which under a flood would otherwise wait for all that can be read.
_TOGETHER = 1000
_READ_BYTES = 64 * 1024
# What the system may take in unread. picows doubles its buffer as often as one read fills it, so this bounds its
# memory, and a turn of the event loop: some ten thousand messages. At 250 ms to the exchange it lets 40,000 trades a
# second through.
_WINDOW_BYTES = 2 * 1024 * 1024
# Control frames carry no more (RFC 6455, 5.5); picows ends a link that sends a longer one.
_CONTROL_MOST = 125
_BANNED_MOST_S = 3 * 86_400.0
_NO_GOODBYE = 1006
_NO_CODE = 1005


class PicowsConnector:
    """Opens WebSockets with picows.

    picows never pings by itself here: the exchange counts every client message, and liveness is judged by what is
    received. Pongs are the session's business for the same reason. Links go through the proxy that the environment
    asks for, by CONNECT.
    """

    def __init__(
        self,
        handshake_timeout_s: float = 10.0,
        ssl_context: ssl.SSLContext | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._handshake_timeout_s = handshake_timeout_s
        self._ssl_context = ssl_context
        self._proxies = proxies or Proxies(os.environ)

    async def connect(self, url: str, handler: LinkHandler) -> Link:
        """Return the open link. Raises LinkLost, or Throttled when the handshake answers 429 or 418.

        A proxy that cannot be used is a ConfigError.

        Cancelling is safe: a handshake that completes all the same is dropped unheard.
        """
        listener = _Listener(handler)
        shown = without_passwords(url)
        proxy = self._proxies.of(url)
        try:
            async with asyncio.timeout(self._handshake_timeout_s * 2):
                transport, _ = await picows.ws_connect(
                    lambda: listener,
                    url,
                    ssl_context=self._ssl_context,
                    websocket_handshake_timeout=self._handshake_timeout_s,
                    enable_auto_ping=False,
                    enable_auto_pong=False,
                    max_frame_size=_MAX_FRAME,
                    read_buffer_init_size=_READ_BYTES,
                    logger_name="link",
                    proxy=proxy.url if proxy is not None else None,
                )
        except picows.WSHandshakeError as problem:
            status = int(problem.response.status) if problem.response is not None else None
            if problem.response is not None and status in (418, 429):
                wait = str(problem.response.headers.get("Retry-After", ""))
                raise Throttled(
                    f"the handshake was answered with HTTP {status}",
                    subject=shown,
                    retry_after_s=min(float(wait), _BANNED_MOST_S) if wait.isascii() and wait.isdigit() else 60.0,
                ) from problem
            hint = "Restricted location: use the *.binance.vision hosts" if status == 451 else ""
            text = f"the handshake was answered with HTTP {status}" if status else f"handshake failed: {problem}"
            raise LinkLost(text, subject=shown, hint=hint, status=status) from problem
        except TimeoutError as problem:
            raise LinkLost(
                "no answer to the handshake in time", subject=shown, hint=through_proxy("", proxy)
            ) from problem
        except python_socks.ProxyError as problem:
            cause, hint = _of_proxy(problem)
            raise LinkLost(cause, subject=shown, hint=through_proxy(hint, proxy)) from problem
        except (OSError, ValueError, picows.WSError) as problem:
            # OSError covers refused connections, unknown hosts and TLS failures, ValueError impossible host names
            cause, hint = explained(problem)
            raise LinkLost(
                without_passwords(f"cannot connect ({cause})"), subject=shown, hint=through_proxy(hint, proxy)
            ) from problem
        finally:
            listener.over = True
        if not listener.connected:
            # picows 2.3 takes a connection that ends before the handshake's answer for an open one
            transport.disconnect(graceful=False)
            raise LinkLost("the server hung up during the handshake", subject=shown)
        _bound_window(transport.underlying_transport)
        return _PicowsLink(transport, listener)


def _of_proxy(problem: python_socks.ProxyError) -> tuple[str, str]:
    """Return what a proxy did in place of opening the way, and what to do about it; picows has the status as text."""
    status = re.search(r"status (\d{3})", str(problem))
    return refused_by_proxy(int(status[1])) if status else (f"cannot connect ({problem})", "")


def _bound_window(transport: asyncio.Transport) -> None:
    # not SO_RCVBUF, which most systems hold below what a distant exchange needs; only Linux has it
    connection = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_WINDOW_CLAMP"):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, _WINDOW_BYTES)


class _PicowsLink:
    """A ``Link`` over a picows transport."""

    def __init__(self, transport: picows.WSTransport, listener: "_Listener") -> None:
        self._transport = transport
        self._listener = listener
        self._end = asyncio.create_task(self._hear_the_end(), name="link's end")

    async def _hear_the_end(self) -> None:
        # a protocol error ends the link and is kept for whoever asks; unasked for, asyncio prints it with a traceback
        with contextlib.suppress(Exception):
            await self._transport.wait_disconnected()

    def send(self, text: bytes) -> None:
        if not self._transport.is_disconnected:
            self._transport.send(picows.WSMsgType.TEXT, text)

    def pong(self, payload: bytes) -> None:
        if not self._transport.is_disconnected:
            self._transport.send_pong(payload)

    def close(self, code: int = 1000) -> None:
        if not self._transport.is_disconnected:
            self._transport.send_close(picows.WSCloseCode(code), b"")

    def abort(self) -> None:
        if not self._transport.is_disconnected:
            self._transport.disconnect(graceful=False)

    def pause_reading(self) -> None:
        # what has been read already is heard before the silence
        self._listener.flush()
        self._listener.held = True
        if not self._transport.is_disconnected:
            self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        self._listener.held = False
        if not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()


class _Nobody:
    """The handler of a link that nobody waits for any more."""

    def on_texts(self, payloads: Sequence[bytes]) -> None: ...
    def on_ping(self, payload: bytes) -> None: ...
    def on_closed(self, code: int, reason: str) -> None: ...


class _Listener(picows.WSListener):
    """Turns picows' callbacks into the handler's: whole text messages, pings, one end.

    picows calls for each frame while it goes through what one read has brought. The messages are collected and handed
    on together when it has done so: what is done once for many frames costs a fraction of a microsecond each.
    """

    def __init__(self, handler: LinkHandler) -> None:
        super().__init__()
        self._handler: LinkHandler = handler
        self._call_soon = asyncio.get_running_loop().call_soon
        self._texts: list[bytes] = []
        self._full = False  # more waits here than is handed on at once, and nothing is read
        self._parts = bytearray()
        self.connected = False  # the handshake has been completed
        self.over = False  # nobody waits for it any more
        self.held = False  # whoever has the link reads nothing for now
        self._code = _NO_GOODBYE
        self._reason = ""

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        if self.over:
            self._handler = _Nobody()
            transport.disconnect(graceful=False)
        else:
            self.connected = True

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.payload_size > _CONTROL_MOST and frame.fin and not self._parts:
            # a whole message, text or (for the decoder to judge) binary: to ask for its kind would take as long as this
            texts = self._texts
            texts.append(frame.get_payload_as_bytes())
            if len(texts) == 1:
                self._call_soon(self._hand_on, transport)
            elif len(texts) == _TOGETHER:
                self._full = True
                transport.underlying_transport.pause_reading()
            return
        kind = frame.msg_type
        if kind in (picows.WSMsgType.TEXT, picows.WSMsgType.CONTINUATION):
            self._parts += frame.get_payload_as_bytes()
            if len(self._parts) > _MAX_FRAME:
                self._reason = "message too large"
                transport.disconnect(graceful=False)
            elif frame.fin:
                whole = bytes(self._parts)
                self._parts.clear()
                self._text(transport, whole)
        elif kind == picows.WSMsgType.PING:
            self.flush()
            self._handler.on_ping(frame.get_payload_as_bytes())
        elif kind == picows.WSMsgType.CLOSE:
            code = frame.get_close_code()
            self._code = (int(code.value) if isinstance(code, picows.WSCloseCode) else int(code)) or _NO_CODE
            self._reason = (frame.get_close_message() or b"").decode("utf-8", "replace")
            transport.send_close(picows.WSCloseCode.OK, b"")
            transport.disconnect()
        elif kind == picows.WSMsgType.BINARY:
            # not documented on JSON hosts: let the decoder say what it is, and keep it
            self._text(transport, frame.get_payload_as_bytes())

    def _text(self, transport: picows.WSTransport, payload: bytes) -> None:
        self._texts.append(payload)
        if len(self._texts) == 1:
            self._call_soon(self._hand_on, transport)

    def _hand_on(self, transport: picows.WSTransport) -> None:
        """Hand on what has been collected, as much as one turn of the event loop should take."""
        texts = self._texts
        if len(texts) > _TOGETHER:
            self._texts = texts[_TOGETHER:]
            self._call_soon(self._hand_on, transport)
            self._handler.on_texts(texts[:_TOGETHER])
            return
        self.flush()
        if self._full:
            self._full = False
            if not self.held and not transport.is_disconnected:
                transport.underlying_transport.resume_reading()

    def flush(self) -> None:
        """Hand on what has been collected, all of it."""
        texts = self._texts
        if texts:
            self._texts = []
            self._handler.on_texts(texts)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.flush()
        self._handler.on_closed(self._code, self._reason)
