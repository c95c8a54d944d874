"""A server of lines, for what is no HTTP: each line comes back with a word before it.

    $ printf 'hello\n' | nc SERVER 9000
    one hello

With --greet it speaks first, as databases do: "WORD ready" comes before anything is asked.

Usage: tcp.py WORD PORT... [--greet]
"""

from __future__ import annotations

import sys
import threading
from socketserver import StreamRequestHandler, TCPServer, ThreadingMixIn


class Lines(StreamRequestHandler):
    """One connection."""

    word, greets = b"", False

    def handle(self) -> None:
        """Until the other side has said all."""
        try:
            if self.greets:
                self.wfile.write(self.word + b" ready\n")
            for line in self.rfile:
                self.wfile.write(self.word + b" " + line)
        except ConnectionError:
            # Whoever asked has gone, in the middle of it: there is nobody to tell.
            return


class Server(ThreadingMixIn, TCPServer):
    """One thread per connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


def main() -> None:
    """Serve until killed."""
    Lines.word, Lines.greets = sys.argv[1].encode(), "--greet" in sys.argv
    servers = [Server(("0.0.0.0", int(found)), Lines) for found in sys.argv[2:] if found.isdigit()]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
