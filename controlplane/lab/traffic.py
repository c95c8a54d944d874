"""A visitor: asks one URL over and over on kept-alive connections, and tells what came back.

Runs inside a pod, as its application's user, so that every request takes the way that an application's
would.  Like the bookstore it is a script for whatever Python the pod has: standard library only.

Usage: traffic.py '{"host", "port", "path", "authority", "headers", "requests", "workers", "pause",
"timeout"}' (pause: seconds that each worker rests after an answer)

One JSON object per line, as they happen: {"status": 200 or null, "seconds", "overloaded": bool, "body":
parsed JSON or text, "error": text or null}.
"""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import sys
import threading
import time
from typing import Any

_END = None


def visit(order: dict[str, Any], connection: http.client.HTTPConnection) -> dict[str, Any]:
    """One request and what became of it."""
    started = time.monotonic()
    try:
        connection.request("GET", order["path"], headers={"Host": order["authority"], **order["headers"]})
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        seconds = time.monotonic() - started
        failure = f"{type(error).__name__}: {error}"
        return {"status": None, "seconds": seconds, "overloaded": False, "body": None, "error": failure}
    return {
        "status": response.status,
        "seconds": round(time.monotonic() - started, 5),
        # Envoy's own word for a request that a circuit breaker turned away.
        "overloaded": response.getheader("x-envoy-overloaded") is not None,
        "body": json.loads(body) if body.startswith("{") else body,
        "error": None,
    }


def work(
    order: dict[str, Any], numbers: itertools.count[int], out: queue.Queue[dict[str, Any] | None]
) -> None:
    """Visit until the requests that all workers share are used up."""
    connection = http.client.HTTPConnection(order["host"], order["port"], timeout=order["timeout"])
    # next() on a count is one step for the interpreter: no two workers draw the same number.
    while next(numbers) < order["requests"]:
        out.put(visit(order, connection))
        time.sleep(order["pause"])
    connection.close()
    out.put(_END)


def main() -> None:
    """Read the order from the arguments, write results to standard output."""
    order = json.loads(sys.argv[1])
    results: queue.Queue[dict[str, Any] | None] = queue.Queue()
    numbers = itertools.count()
    for _ in range(order["workers"]):
        threading.Thread(target=work, args=(order, numbers, results), daemon=True).start()
    running = order["workers"]
    while running:
        result = results.get()
        if result is _END:
            running -= 1
        else:
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
