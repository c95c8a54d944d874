"""An application that answers whatever it is asked, in HTTP or lines, in TLS or not, and says where it is.

Usage: everything.py PEM PORT...   (PEM: a certificate with its key)
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

_HANDSHAKE = b"\x16"


class Everything(StreamRequestHandler):
    def handle(self) -> None:
        connection: Any = self.request
        host, port = connection.getsockname()
        told: dict[str, Any] = {"at": f"{host}:{port}"}
        try:
            if connection.recv(1, socket.MSG_PEEK) == _HANDSHAKE:
                connection = self._end_tls(connection, told)
            with connection.makefile("rwb") as stream:
                while line := stream.readline():
                    if line.startswith(b"PRI * HTTP/2.0"):
                        _answer_http2(stream, line, told)
                    elif line.rstrip().endswith((b"HTTP/1.1", b"HTTP/1.0")):
                        _answer(stream, line, told)
                    else:
                        stream.write(json.dumps({**told, "line": line.decode().strip()}).encode() + b"\n")
                    stream.flush()
        except OSError:
            # Whoever called has gone, or its TLS is none that we know.
            return

    def _end_tls(self, connection: Any, told: dict[str, Any]) -> Any:
        named: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1])
        context.sni_callback = lambda _socket, name, _context: named.append(name or "")
        wrapped = context.wrap_socket(connection, server_side=True)
        told["sni"] = "".join(named)
        return wrapped


def _answer(stream: Any, line: bytes, told: dict[str, Any]) -> None:
    headers: dict[str, list[str]] = {}
    while (header := stream.readline().decode().rstrip()) != "":
        name, _, value = header.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    stream.read(int(headers.get("content-length", ["0"])[0]))
    method, path, _ = line.decode().split(" ")
    body = json.dumps({**told, "method": method, "path": path, "headers": headers}).encode()
    stream.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
    stream.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)


def _answer_http2(stream: Any, start: bytes, told: dict[str, Any]) -> None:
    protocol = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    protocol.initiate_connection()
    data = start
    while data:
        for event in protocol.receive_data(data):
            if isinstance(event, RequestReceived):
                _answer_stream(protocol, event, told)
        stream.write(protocol.data_to_send())
        stream.flush()
        data = stream.read1(65536)


def _answer_stream(protocol: H2Connection, event: RequestReceived, told: dict[str, Any]) -> None:
    headers: dict[str, list[str]] = {}
    for name, value in event.headers:
        headers.setdefault(str(name), []).append(str(value))
    method, path = headers[":method"][0], headers[":path"][0]
    headers["host"] = headers[":authority"]
    body = json.dumps({**told, "http2": True, "method": method, "path": path, "headers": headers}).encode()
    protocol.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/json")])
    protocol.send_data(event.stream_id, body, end_stream=True)


class Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    servers = [Server(("0.0.0.0", int(port)), Everything) for port in sys.argv[2:]]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
