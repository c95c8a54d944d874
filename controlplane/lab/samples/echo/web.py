"""A web server that tells what reached it, and behaves as it is asked to.

Any request is answered with JSON: {"name", "method", "path", "headers"}, header names in lower case.  The
query of a request says otherwise:

    ?status=503            answer with this status
    ?status=503&times=2    so often, for requests with the same header x-key, and with 200 from then on
    ?status=503&by=NAME    only where the server of this name is asked
    ?delay=0.5             wait so many seconds before the answer

GET /-/seen/KEY is what has come so far with the header `x-key: KEY`: a list of {"method", "path",
"headers"}, in the order of arrival; it counts every attempt.  GET /healthz says that it runs.

Usage: web.py NAME PORT... [PEM]; with a file of a certificate and its key it speaks TLS, on every port.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from urllib.parse import parse_qs, urlsplit

seen: dict[str, list[dict[str, object]]] = defaultdict(list)
"""Requests by their header x-key."""
writing = threading.Lock()


class Web(BaseHTTPRequestHandler):
    """Any method, any path."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    name = ""

    def do_GET(self) -> None:
        """Answer, and remember."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = urlsplit(self.path)
        if found.path == "/healthz":
            self.reply(200, "ok")
        elif found.path.startswith("/-/seen/"):
            self.reply(200, seen.get(found.path.removeprefix("/-/seen/"), []))
        else:
            self.behave({name: values[-1] for name, values in parse_qs(found.query).items()})

    do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_GET  # noqa: N815 - the library's names

    def behave(self, wishes: dict[str, str]) -> None:
        """Do what the query says."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        told: dict[str, object] = {"method": self.command, "path": self.path, "headers": headers}
        key = headers.get("x-key", "")
        with writing:
            seen[key].append(told)
            count = len(seen[key])
        time.sleep(float(wishes.get("delay", 0)))
        meant = wishes.get("by", self.name) == self.name and count <= int(wishes.get("times", count))
        status = int(wishes["status"]) if meant and "status" in wishes else 200
        self.reply(status, {"name": self.name, **told})

    def reply(self, status: int, content: object) -> None:
        """Answer with JSON."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-server", self.name)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingMixIn, TCPServer):
    """One thread per connection; it does not ask the DNS who it is."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


class SecureServer(Server):
    """The same over TLS; a handshake that fails is the client's affair and not the end."""

    context: ssl.SSLContext

    def finish_request(self, request: object, client_address: object) -> None:
        """Shake hands in the connection's own thread."""
        try:
            secured = self.context.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        except (OSError, ssl.SSLError):
            return
        super().finish_request(secured, client_address)
        secured.close()


def main() -> None:
    """Serve until killed."""
    Web.name = sys.argv[1]
    ports = [int(found) for found in sys.argv[2:] if found.isdigit()]
    pem = next((found for found in sys.argv[2:] if not found.isdigit()), None)
    kind = Server
    if pem is not None:
        kind = SecureServer
        SecureServer.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        SecureServer.context.load_cert_chain(pem)
    servers = [kind(("0.0.0.0", port), Web) for port in ports]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
