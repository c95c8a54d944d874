"""Ports on the host's loopback that lead into a pod, as `kubectl port-forward` makes them.

The lab's fabric cannot be reached from the host; a connection accepted here is carried on by one that
is opened inside the pod, where the redirect rules treat it like any of the application's.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from controlplane.lab.fetch import Target, connect

_CHUNK = 1 << 16


class Forward:
    """Listens on 127.0.0.1:`port` until closed; every connection is carried to `target`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, name=f"forward-{self.port}", daemon=True).start()

    def close(self) -> None:
        """Accept no more; connections under way last until one side ends them."""
        # shutdown wakes the thread that waits in accept, close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Forward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._carry, args=(accepted,), daemon=True).start()

    def _carry(self, accepted: socket.socket) -> None:
        with accepted:
            try:
                onward = connect(self._target, 5.0)
            except OSError:
                return  # the caller sees its connection end, as if it had knocked at the pod itself
            onward.settimeout(None)
            with onward:
                back = threading.Thread(target=_pump, args=(onward, accepted), daemon=True)
                back.start()
                _pump(accepted, onward)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either side may end the connection at any time
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
