"""An application that tells what reached it, on several ports and whatever is spoken there.

GET is answered with its path and headers as JSON, anything else with itself after "echo ".

Usage: httpbin.py PORT...
"""

import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Bin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        if self.connection.recv(4, socket.MSG_PEEK) == b"GET ":
            super().handle()
            return
        while data := self.connection.recv(65536):
            self.connection.sendall(b"echo " + data)

    def do_GET(self) -> None:
        told = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


servers = [ThreadingHTTPServer(("0.0.0.0", int(port)), Bin) for port in sys.argv[1:]]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
