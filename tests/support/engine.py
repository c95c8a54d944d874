"""A Docker that is played: containers in memory, told of as Docker 20.10 tells of them.

Every method that changes something makes the events that Docker makes, in its order, a millisecond apart.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from controlplane.sources.docker.api import Daemon, DockerFailed

BEGIN = 1_795_189_200.0
REMEMBERED = 256
NEVER = "0001-01-01T00:00:00Z"


def id_of(name: str) -> str:
    """The id of the container that was first called so."""
    return hashlib.sha256(name.encode()).hexdigest()


def container(
    name: str,
    *,
    project: str = "shop",
    service: str = "",
    networks: Sequence[str] = ("shop_default",),
    labels: Mapping[str, str] | None = None,
    stop_signal: str = "",
    health: str = "",
) -> dict[str, Any]:
    """The long answer about a container that was created and not started."""
    compose = {"com.docker.compose.project": project, "com.docker.compose.service": service or name}
    config: dict[str, Any] = {
        "Hostname": id_of(name)[:12],
        "Env": ["PASSWORD=secret"],
        "ExposedPorts": {"9080/tcp": {}},
        "Labels": {**(compose if project else {}), **(labels or {})},
    }
    if stop_signal:
        config["StopSignal"] = stop_signal
    attached = {one: _endpoint(id_of(name), service or name) for one in networks}
    return {
        "Id": id_of(name),
        "Created": stamp(BEGIN),
        "Name": f"/{name}",
        "State": {
            "Status": "created",
            "Running": False,
            "StartedAt": NEVER,
            **({"Health": {"Status": health, "FailingStreak": 0, "Log": []}} if health else {}),
        },
        "Config": config,
        "HostConfig": {"NetworkMode": next(iter(networks), "none"), "PortBindings": {}},
        "NetworkSettings": {"Networks": attached, "IPAddress": ""},
        "Mounts": [],
    }


def _endpoint(id: str, alias: str) -> dict[str, Any]:
    return {"Aliases": [id[:12], alias], "IPAddress": "", "GlobalIPv6Address": "", "NetworkID": "n" * 64}


def stamp(moment: float) -> str:
    """A time as Docker writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")


class Engine:
    """The daemon.  `now` is its clock; `log` all events ever, oldest first; `asked` the paths asked for.

    `down` is why it does not answer, "" when it does; `stuck` are containers that it does not answer about,
    as if it were `away` or not.
    """

    def __init__(self, now: float = BEGIN) -> None:
        self.now = now
        self.containers: dict[str, dict[str, Any]] = {}
        self.log: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.down = ""
        self.stuck: set[str] = set()
        self.away = False
        self._addresses = 1
        self._news = asyncio.Condition()
        self._streams: list[asyncio.Queue[Sequence[Mapping[str, Any]] | None]] = []

    # -- what users do --------------------------------------------------------------------------

    def run(self, name: str, **kwargs: Any) -> str:
        """Create and start a container, and wait for its `health`; its id."""
        raw = container(name, **kwargs)
        self.containers[raw["Id"]] = raw
        self._tell(raw, "create")
        self.start(raw["Id"])
        if kwargs.get("health", "starting") not in ("", "starting"):
            self.health(raw["Id"], kwargs["health"])
        return str(raw["Id"])

    def start(self, id: str) -> None:
        raw = self.containers[id]
        for network in raw["NetworkSettings"]["Networks"]:
            self._address(raw, network)
            self._tell_network(network, "connect", id)
        self.now += 0.001
        raw["State"] |= {"Status": "running", "Running": True, "StartedAt": stamp(self.now)}
        if "Health" in raw["State"]:
            raw["State"]["Health"]["Status"] = "starting"
        self._tell(raw, "start")

    def signal(self, id: str, number: int) -> None:
        self._tell(self.containers[id], "kill", signal=str(number))

    def die(self, id: str, code: int = 137) -> None:
        raw = self.containers[id]
        raw["State"] |= {"Status": "exited", "Running": False}
        self._tell(raw, "die", exitCode=str(code))
        for network, one in raw["NetworkSettings"]["Networks"].items():
            one["IPAddress"] = ""
            self._tell_network(network, "disconnect", id)

    def stop(self, id: str) -> None:
        self.signal(id, 15)
        self.die(id, 143)
        self._tell(self.containers[id], "stop")

    def restart(self, id: str) -> None:
        self.stop(id)
        self.start(id)
        self._tell(self.containers[id], "restart")

    def pause(self, id: str) -> None:
        self.containers[id]["State"]["Status"] = "paused"
        self._tell(self.containers[id], "pause")

    def unpause(self, id: str) -> None:
        self.containers[id]["State"]["Status"] = "running"
        self._tell(self.containers[id], "unpause")

    def health(self, id: str, status: str) -> None:
        self.containers[id]["State"].setdefault("Health", {})["Status"] = status
        self._tell(self.containers[id], f"health_status: {status}")

    def rename(self, id: str, name: str) -> None:
        raw = self.containers[id]
        old, raw["Name"] = raw["Name"], f"/{name}"
        self._tell(raw, "rename", oldName=old)

    def remove(self, id: str) -> None:
        self._tell(self.containers.pop(id), "destroy")

    def connect(self, id: str, network: str) -> None:
        raw = self.containers[id]
        raw["NetworkSettings"]["Networks"][network] = _endpoint(id, raw["Name"].strip("/"))
        if raw["State"]["Running"]:
            self._address(raw, network)
        self._tell_network(network, "connect", id)

    def disconnect(self, id: str, network: str) -> None:
        del self.containers[id]["NetworkSettings"]["Networks"][network]
        self._tell_network(network, "disconnect", id)

    # -- what it answers ------------------------------------------------------------------------

    def list(self) -> list[dict[str, Any]]:
        """The answer to GET /containers/json?all=1."""
        return [_short(raw) for raw in self.containers.values()]

    async def ping(self) -> Daemon:
        self._answer("/_ping")
        return Daemon("/v1.41")

    async def containers_json(self) -> Sequence[Mapping[str, Any]]:
        self._answer("/containers/json")
        return copy.deepcopy(self.list())

    async def inspect(self, container: str) -> Mapping[str, Any] | None:
        self._answer(f"/containers/{container}/json")
        if container in self.stuck:
            raise DockerFailed("did not answer within 10 s", away=self.away)
        return copy.deepcopy(self.containers.get(container))

    async def events(self, since: float, until: float) -> AsyncGenerator[Sequence[Mapping[str, Any]], None]:
        self._answer("/events")
        queue: asyncio.Queue[Sequence[Mapping[str, Any]] | None] = asyncio.Queue()
        self._streams.append(queue)
        past = [one for one in self.log[-REMEMBERED:] if one["timeNano"] / 1e9 >= since]
        try:
            yield ()
            if past:
                yield past
            while (batch := await queue.get()) is not None:
                yield batch
                if self.now >= until:
                    return
            if self.down:
                raise DockerFailed(self.down)
        finally:
            self._streams.remove(queue)

    async def close(self) -> None:
        self.asked.append("close")

    def leave(self, reason: str) -> None:
        """Go away: streams break, questions fail, until `down` is "" again."""
        self.down = reason
        self.end_streams()

    def end_streams(self) -> None:
        """End the streams of events, as if their time had come."""
        for queue in self._streams:
            queue.put_nowait(None)

    def _answer(self, path: str) -> None:
        self.asked.append(path)
        if self.down:
            raise DockerFailed(self.down)

    # -- inside ---------------------------------------------------------------------------------

    def _address(self, raw: dict[str, Any], network: str) -> None:
        self._addresses += 1
        raw["NetworkSettings"]["Networks"][network]["IPAddress"] = f"172.18.0.{self._addresses}"

    def _tell(self, raw: Mapping[str, Any], action: str, **attributes: str) -> None:
        named = {**raw["Config"]["Labels"], "image": "app", "name": raw["Name"].strip("/"), **attributes}
        short = {"status": action, "id": raw["Id"], "from": "app"}
        self._append(
            {**short, "Type": "container", "Action": action, "Actor": {"ID": raw["Id"], "Attributes": named}}
        )

    def _tell_network(self, network: str, action: str, id: str) -> None:
        attributes = {"container": id, "name": network, "type": "bridge"}
        self._append(
            {"Type": "network", "Action": action, "Actor": {"ID": "n" * 64, "Attributes": attributes}}
        )

    def _append(self, event: dict[str, Any]) -> None:
        self.now += 0.001
        event |= {"scope": "local", "time": int(self.now), "timeNano": int(self.now * 1e9)}
        self.log.append(event)
        for queue in self._streams:
            queue.put_nowait((event,))


def _short(raw: Mapping[str, Any]) -> dict[str, Any]:
    state = raw["State"]
    health = state.get("Health", {}).get("Status", "")
    shown = {"": "", "starting": " (health: starting)"}.get(health, f" ({health})")
    if state["Status"] == "paused":
        shown = " (Paused)"
    networks = {name: {**one, "Aliases": None} for name, one in raw["NetworkSettings"]["Networks"].items()}
    return {
        "Id": raw["Id"],
        "Names": ["/other/link", raw["Name"]],
        "Image": "app",
        "Created": 1795189200,
        "Labels": raw["Config"]["Labels"],
        "State": state["Status"],
        "Status": f"Up 2 minutes{shown}" if state["Running"] else "Exited (137) 2 minutes ago",
        "NetworkSettings": {"Networks": networks},
        "Mounts": [],
    }


class Played:
    """The engine as what the source asks."""

    def __init__(self, engine: Engine) -> None:
        self.ping = engine.ping
        self.containers = engine.containers_json
        self.inspect = engine.inspect
        self.events = engine.events
        self.close = engine.close
