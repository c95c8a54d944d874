"""A client that speaks as a drawn call says, on a connection that is there: HTTP, TLS, lines, or nothing."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from controlplane.sim import Call, Http
from controlplane.sim.call import fields_of
from tests.support.sim_world import FORGER, ISSUER, STRANGER

_QUIET = 0.15  # seconds


class Seen(NamedTuple):
    """What became of a call: the answer, if there was one, and what the called Envoy wrote down of it.

    `told` is what the application said, {} where it was not reached.
    """

    status: int | None = None
    headers: Mapping[str, str] = {}
    body: bytes = b""
    told: Mapping[str, Any] = {}
    log: Mapping[str, Any] = {}


def talk(connection: socket.socket, call: Call) -> Seen:
    """Say what the call says, and hear what comes of it; OSError or HTTPException where nothing does."""
    if call.tls is None:
        return _say(connection, call)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if call.tls.alpn:
        context.set_alpn_protocols(list(call.tls.alpn))
    with context.wrap_socket(connection, server_hostname=call.tls.sni or None) as spoken:
        return _say(spoken, call)


def _say(spoken: Any, call: Call) -> Seen:
    if call.silent:
        return _listens(spoken)
    if call.http is None:
        return _lines(spoken)
    headers = [(name, value) for name, values in fields_of(call.http).items() for value in values]
    if call.http.token is not None:
        known = {one.name: one for one in (ISSUER, STRANGER)}
        signer = known[call.http.token.claims["iss"]] if call.http.token.valid else FORGER
        headers.append(("authorization", f"Bearer {signer.token(**call.http.token.claims)}"))
    return (_http2 if call.http.http2 else _http1)(spoken, call.http, headers)


def _http1(spoken: Any, request: Http, given: list[tuple[str, str]]) -> Seen:
    headers = [f"{name}: {value}" for name, value in given]
    lines = (f"{request.method} {request.path} HTTP/1.1", f"host: {request.authority}", *headers)
    end = "connection: close\r\ncontent-length: 0\r\n\r\n"
    spoken.sendall(("\r\n".join(lines) + "\r\n" + end).encode())
    response = http.client.HTTPResponse(spoken, method=request.method)
    response.begin()
    body = response.read()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Seen(response.status, found, body, _told(body))


def _http2(spoken: Any, request: Http, given: list[tuple[str, str]]) -> Seen:
    """Without asking whether the other side can: a passage that reads nothing leads to one that cannot."""
    protocol = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    protocol.initiate_connection()
    pseudo = {":method": request.method, ":path": request.path, ":authority": request.authority}
    protocol.send_headers(1, [*pseudo.items(), (":scheme", "http"), *given], end_stream=True)
    spoken.sendall(protocol.data_to_send())
    headers: dict[str, str] = {}
    body = b""
    while data := spoken.recv(65536):
        if data.startswith(b"{"):
            return Seen(None, {}, data, _told(data.partition(b"\n")[0]))
        for event in protocol.receive_data(data):
            if isinstance(event, ResponseReceived):
                headers = {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, DataReceived):
                body += event.data
            elif isinstance(event, (StreamEnded, StreamReset)):
                return Seen(int(headers.get(":status", 0)) or None, headers, body, _told(body))
    return Seen()


def _listens(connection: Any) -> Seen:
    connection.settimeout(_QUIET)
    try:
        return Seen(None, {}, connection.recv(100))
    except TimeoutError:
        return Seen()


def _lines(connection: Any) -> Seen:
    connection.sendall(b"hello\n")
    with connection.makefile("rb") as stream:
        body = stream.readline()
    if body.startswith(b"HTTP/1.1 "):
        return Seen(int(body.split()[1]), {}, body)
    return Seen(None, {}, body, _told(body))


def _told(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and "at" in told else {}
