"""A request inside an HTTP connection manager: what filters and routes see of it, and change."""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.sim.call import Http, fields_of
from controlplane.sim.chains import Connection


class Found(NamedTuple):
    """A route, its virtual host, and the route configuration that both are of."""

    configuration: Any
    virtual_host: Any
    route: Any


class Request:
    """One request; header names in lower case, pseudo-headers among them.

    `metadata` is what filters noted (plain values by the names of filters), `encrypted` says whether the
    client's connection is, `identity` the URI of its certificate, `remote` the address of the first client as
    far as proxies on the way are believed.
    """

    __slots__ = ("connection", "encrypted", "headers", "http", "identity", "metadata", "remote")

    def __init__(self, http: Http, connection: Connection) -> None:
        self.http = http
        self.connection = connection
        self.encrypted = False
        self.identity = ""
        self.remote = connection.source
        self.metadata: dict[str, Any] = {}
        self.headers: dict[str, tuple[str, ...]] = fields_of(http)
        self.headers[":method"] = (http.method,)
        self.headers[":authority"] = (http.authority,)
        self.headers[":path"] = (http.path,)

    @property
    def path(self) -> str:
        """With its query."""
        return self.headers[":path"][0]

    @path.setter
    def path(self, path: str) -> None:
        self.headers[":path"] = (path,)

    @property
    def authority(self) -> str:
        return self.headers[":authority"][0]

    @authority.setter
    def authority(self, authority: str) -> None:
        self.headers[":authority"] = (authority,)

    @property
    def scheme(self) -> str:
        """Of the client's connection; what an earlier proxy says of it counts where that is believed."""
        return self.headers["x-forwarded-proto"][0]

    def header(self, name: str) -> str:
        """The values of a header as one, "" without any."""
        return ",".join(self.headers.get(name, ()))
