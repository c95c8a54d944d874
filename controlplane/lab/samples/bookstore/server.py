"""The bookstore: one small HTTP server that plays each of its services.

    productpage --> details
                \\-> reviews (v1: no stars, v2: black stars, v3: red stars) --> ratings

Usage: server.py NAME VERSION PORT

Every answer is JSON: {"name", "version", "seconds", "hops": [the answers of the services it asked]},
plus what the service is about, and "caller", the SPIFFE ID of whoever asked, as a sidecar found it in a
certificate ("" without one); a failed hop reads {"name", "error": status or text}.  Services are found as
Kubernetes tells them to containers, through NAME_SERVICE_HOST and NAME_SERVICE_PORT, else by
their name on port 9080.  The standard library suffices; nothing of the control plane is imported.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

PORT = 9080

CALLS = {
    ("productpage", "v1"): ("details", "reviews"),
    ("reviews", "v2"): ("ratings",),
    ("reviews", "v3"): ("ratings",),
}
FACTS: dict[tuple[str, str], dict[str, object]] = {
    ("details", "v1"): {"title": "The Left-Handed Router", "pages": 304},
    ("reviews", "v1"): {"reviews": ["Could not put it down.", "Too many tables."]},
    ("reviews", "v2"): {"reviews": ["Could not put it down.", "Too many tables."], "stars": "black"},
    ("reviews", "v3"): {"reviews": ["Could not put it down.", "Too many tables."], "stars": "red"},
    ("ratings", "v1"): {"ratings": [5, 3]},
}
# Who asks, and which request this is part of: the next service must see them too.
FORWARDED = ("end-user", "x-request-id", "traceparent", "tracestate")

# One kept-alive connection per thread and service; a thread serves one caller's connection.
connections = threading.local()


def ask(service: str, headers: dict[str, str]) -> dict[str, object]:
    """The answer of another service, or what went wrong."""
    try:
        status, body = request(service, headers)
    except (OSError, http.client.HTTPException) as error:
        return {"name": service, "error": type(error).__name__}
    if status != 200:
        return {"name": service, "error": status}
    answer: dict[str, object] = json.loads(body)
    return answer


def request(service: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """GET / on a service.  A kept-alive connection may have been closed meanwhile: then once more."""
    kept = vars(connections)
    for fresh in (False, True):
        if fresh or service not in kept:
            prefix = service.upper().replace("-", "_")
            host = os.environ.get(f"{prefix}_SERVICE_HOST", service)
            port = int(os.environ.get(f"{prefix}_SERVICE_PORT", PORT))
            kept[service] = http.client.HTTPConnection(host, port, timeout=10)
        connection = kept[service]
        try:
            connection.request("GET", "/", headers={**headers, "Host": f"{service}:{PORT}"})
            response = connection.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, ConnectionError):
            connection.close()
            if fresh:
                raise
    raise AssertionError("the second attempt returns or raises")


class Handler(BaseHTTPRequestHandler):
    """GET / (or any path) plays the service; GET /healthz says that it runs."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    name = version = ""

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.reply({"status": "ok"})
            return
        started = time.monotonic()
        headers = {key: value for key in FORWARDED if (value := self.headers.get(key)) is not None}
        key = (self.name, self.version)
        hops = [ask(service, headers) for service in CALLS.get(key, ())]
        seconds = round(time.monotonic() - started, 4)
        found = re.findall(r"URI=([^;,]+)", self.headers.get("x-forwarded-client-cert", ""))
        # The sidecar adds to the end what it has seen itself.
        identity = {"name": self.name, "version": self.version, "caller": found[-1] if found else ""}
        identity |= {"seconds": seconds, "hops": hops}
        self.reply({**identity, **FACTS.get(key, {})})

    def reply(self, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        # Envoy's access log tells more; per-request lines would only drown errors.
        return


class Server(ThreadingMixIn, TCPServer):
    """One thread per connection, and room for a burst of new ones.

    Not http.server's own class: that one asks the DNS for the machine's name before it serves.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


def main() -> None:
    """Serve until killed."""
    Handler.name, Handler.version = sys.argv[1], sys.argv[2]
    Server(("0.0.0.0", int(sys.argv[3])), Handler).serve_forever()


if __name__ == "__main__":
    main()
