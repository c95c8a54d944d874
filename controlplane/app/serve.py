"""An App's life: start everything, say when it is ready, drain on the first signal, end on the second."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable

from controlplane import __version__
from controlplane.app.compose import App, build
from controlplane.base.errors import EnvironmentUnfit
from controlplane.model.caller import Door
from controlplane.settings import Settings, ignored_variables
from controlplane.telemetry import logs

_log = logging.getLogger(__name__)

_DOORS = {Door.PLAINTEXT: "xds", Door.TOKEN: "secure_xds", Door.CERTIFICATE: "mtls_xds"}


def run(settings: Settings) -> int:
    """Serve until a signal; returns the exit status."""
    logs.configure(settings.log_level, settings.log_format)
    collect_rarely()
    for name in ignored_variables(os.environ):
        _log.warning("a variable of istiod's has no meaning here", extra={"variable": name})
    unfit: list[str] = []
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(serve(settings))
        except* EnvironmentUnfit as errors:
            unfit = _texts(errors)
    for text in unfit:
        print(f"mini-istiod: {text}", file=sys.stderr)
    return 2 if unfit else 0


def collect_rarely() -> None:
    """Let the garbage collector look thirty times less often than by default, and hardly ever at everything.

    A push to a thousand proxies allocates a hundred thousand objects, and nearly all go by counting
    references; collecting meanwhile took an eighth of the time and found nothing.
    """
    gc.set_threshold(20_000, 20, 20)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    new: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new


def _texts(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [text for inner in error.exceptions for text in _texts(inner)]
    return [str(error)]


async def serve(settings: Settings) -> None:
    """Build an App and run it until SIGTERM or SIGINT."""
    app = build(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    try:
        await live(app, stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        raise SystemExit(130)  # asked twice: no more patience
    stop.set()


async def live(app: App, stop: asyncio.Event) -> None:
    """Run the App's tasks until `stop`; a task that fails takes the process down, loudly."""
    for journal in app.journals:
        journal.open()
    try:
        await _live(app, stop)
    finally:
        for journal in app.journals:
            journal.close()


async def _live(app: App, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(app.settler.run(), name="settler"),
            tasks.create_task(app.debouncer.run(), name="debouncer"),
            tasks.create_task(app.watch_loop(), name="loop watch"),
            *(tasks.create_task(source.run(app.sink(source)), name=source.name) for source in app.sources),
            *(tasks.create_task(journal.run(), name=journal.name) for journal in app.journals),
            *(tasks.create_task(work, name=name) for name, work in app.trust.tasks().items()),
        ]
        try:
            await _until_stopped(app, stop)
        finally:
            for task in running:
                task.cancel()
            app.close()


async def _until_stopped(app: App, stop: asyncio.Event) -> None:
    app.gc_pauses.start()
    try:
        host, port = await app.monitoring.start(
            app.settings.monitoring_addr.host, app.settings.monitoring_addr.port
        )
        await app.entrance.open()
        await app.xds.start()
        doors = {door: ", ".join(map(str, found)) for door, found in app.xds.doors.addresses.items() if found}
        bound = {_DOORS[door]: addresses for door, addresses in doors.items()}
        _log.info("listening", extra={**bound, "monitoring": f"{host}:{port}", "version": __version__})
        ready = asyncio.create_task(_become_ready(app), name="readiness")
        try:
            await stop.wait()
        finally:
            ready.cancel()
        _log.info("draining", extra={"seconds": app.settings.drain_duration})
        app.draining = True
        await app.xds.stop(app.settings.drain_duration)
    finally:
        await app.monitoring.stop()
        await app.entrance.close()
        app.gc_pauses.stop()


async def _become_ready(app: App) -> None:
    """Proxies are served once the first batch, the whole of what the sources had, is settled."""
    await app.ingest.wait_synced()
    await app.debouncer.settled()
    await app.key_sets.tried()
    await app.addresses.given()
    await app.debouncer.settled()
    app.views.ready = True
    objects = sum(len(rows.values) for rows in app.graph.tables().values())
    _log.info("ready", extra={"objects": objects, "revision": app.graph.revision})
