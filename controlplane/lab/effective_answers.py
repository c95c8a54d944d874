"""Everybody that a request can reach: one server behind all the addresses of a synthetic mesh.

Runs in a pod to which whole networks are led.  It answers every request with the address at which it
was reached and the `x-change` header that the request arrived with, so that the one who asked knows
which endpoint and which route his proxy chose.  Like the bookstore it is a script for whatever Python
the pod has: standard library only, one thread, nothing but the few lines of HTTP that Envoy speaks.

Usage: effective_answers.py PORT
"""

from __future__ import annotations

import re
import select
import socket
import sys

_HEADER = re.compile(rb"\r\nx-change: ([^\r]*)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"


def answer(address: bytes, request: bytes) -> bytes:
    """The response to one request (its head; requests have no body)."""
    found = _HEADER.search(request)
    body = address + b" " + (found[1] if found else b"-")
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def main() -> None:
    """Serve until killed."""
    listener = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=1024)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    links: dict[int, tuple[socket.socket, bytes, bytearray]] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                accepted, _ = listener.accept()
                accepted.setblocking(False)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                reached = accepted.getsockname()[0].encode()
                links[accepted.fileno()] = (accepted, reached, bytearray())
                poll.register(accepted, select.EPOLLIN)
                continue
            link, reached, waiting = links[descriptor]
            try:
                data = link.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                poll.unregister(descriptor)
                del links[descriptor]
                link.close()
                continue
            waiting += data
            while (end := waiting.find(_END)) >= 0:
                # The answers are short, and who asks reads them: the socket's buffer always has room.
                link.send(answer(reached, bytes(waiting[: end + 2])))
                del waiting[: end + 4]


if __name__ == "__main__":
    main()
