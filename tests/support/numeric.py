"""An application behind a gateway: GET /increment/N answers N+1, GET / and /healthz answer with its name.

Usage: numeric.py NAME PORT [PEM]; the answer to /seen is the request's headers as JSON.  With a file of a
certificate and its key it speaks TLS.
"""

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, PORT = sys.argv[1], int(sys.argv[2])


class Numeric(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, text = 200, NAME
        if self.path.startswith("/increment/"):
            text = str(int(self.path.rpartition("/")[2]) + 1)
        elif self.path == "/seen":
            text = json.dumps({name.lower(): value for name, value in self.headers.items()})
        elif self.path not in ("/", "/healthz"):
            status, text = 404, "no such page"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        del format, args


server = ThreadingHTTPServer(("0.0.0.0", PORT), Numeric)
if sys.argv[3:]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
