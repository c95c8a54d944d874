"""A forward proxy: `CONNECT address:port` makes it carry bytes to and fro, and nothing else is understood.

Usage: forward.py PORT.  GET /healthz says that it runs.
"""

from __future__ import annotations

import socket
import sys
import threading
from http.client import parse_headers
from socketserver import StreamRequestHandler, TCPServer, ThreadingMixIn


class Proxy(StreamRequestHandler):
    """One connection of a client."""

    def handle(self) -> None:
        """Read the request, and do what it wants."""
        method, _, rest = self.rfile.readline().decode().partition(" ")
        parse_headers(self.rfile)
        if method != "CONNECT":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return
        host, _, port = rest.partition(" ")[0].rpartition(":")
        with socket.create_connection((host, int(port)), 5) as other:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=carry, args=(other, self.connection), daemon=True)
            back.start()
            carry(self.connection, other)
            back.join()


def carry(source: socket.socket, target: socket.socket) -> None:
    """All bytes until the source ends; then the target is told."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # Whoever went first has closed the connection already.
        return


class Server(ThreadingMixIn, TCPServer):
    """A thread for each client."""

    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    with Server(("", int(sys.argv[1])), Proxy) as server:
        server.serve_forever()
