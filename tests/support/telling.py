"""An application that answers every request with one text.

Usage: telling.py TEXT PORT
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = sys.argv[1].encode()


class Telling(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(TEXT)))
        self.end_headers()
        self.wfile.write(TEXT)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Telling).serve_forever()
