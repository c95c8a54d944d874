"""The doors: one gRPC server per kind, so that every handler knows through which one its caller came.

Certificates are asked for at every handshake, so a renewed one is served and a new root is trusted from the
next connection on, and connections that are open stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import grpc

from controlplane.base.errors import EnvironmentUnfit
from controlplane.base.parse import Address
from controlplane.model.certificate import Certified, TrustBundle
from controlplane.xds.caller import Anonymous, Authenticator, Door
from controlplane.xds.listen import channel_options, opened, prepare
from controlplane.xds.options import XdsOptions

CERTIFICATE_AGE = 600.0
"""Seconds that a connection with a client certificate lives, give or take a tenth."""

Serving: TypeAlias = Callable[[], tuple[Certified, TrustBundle]]
"""The server's certificate and the roots that clients' certificates are judged by.  It is called from
gRPC's own threads, before each handshake: it answers from memory."""

Services: TypeAlias = Callable[[Door], Sequence[grpc.GenericRpcHandler]]
"""What else is served at a door."""

_Bound: TypeAlias = tuple[grpc.aio.Server, list[tuple[Address, int]]]


def _nothing(door: Door) -> Sequence[grpc.GenericRpcHandler]:
    del door
    return ()


def _unheard(door: Door) -> None:
    del door


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in, and by which doors besides the plaintext ones; those need `serving`."""

    authenticator: Authenticator = field(default_factory=Anonymous)
    token: tuple[Address, ...] = ()
    certificate: tuple[Address, ...] = ()
    serving: Serving | None = None
    services: Services = _nothing
    begun: Callable[[Door], None] = _unheard
    """Called when a TLS handshake begins, from gRPC's own threads."""


class Doors:
    """Listens at addresses of all kinds; `handlers` are asked for once per kind."""

    def __init__(
        self,
        plaintext: Sequence[Address],
        access: Access,
        options: XdsOptions,
        handlers: Services,
    ) -> None:
        self.addresses: Mapping[Door, tuple[Address, ...]] = {
            Door.PLAINTEXT: tuple(plaintext),
            Door.TOKEN: access.token,
            Door.CERTIFICATE: access.certificate,
        }
        """Where each kind listens; once they are started, with the ports that were chosen."""
        self._access = access
        self._options = options
        self._handlers = handlers
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> None:
        """Listen; EnvironmentUnfit when an address cannot be had."""
        made = {door: self._bind(door, addresses) for door, addresses in self.addresses.items() if addresses}
        for server, _ in made.values():
            await server.start()
            self._servers.append(server)
        bound = {
            door: tuple(opened(address, port) for address, port in listening)
            for door, (_, listening) in made.items()
        }
        self.addresses = {**self.addresses, **bound}

    async def stop(self, grace: float | None) -> None:
        """Take no new calls, wait so many seconds for those that are open, and close."""
        await asyncio.gather(*(server.stop(grace) for server in self._servers))

    def _bind(self, door: Door, addresses: Sequence[Address]) -> _Bound:
        server = grpc.aio.server(options=channel_options(_at(door, self._options)))
        server.add_generic_rpc_handlers((*self._handlers(door), *self._access.services(door)))
        credentials = self._credentials(door)
        bound = []
        for address in addresses:
            prepare(address)
            try:
                if credentials is None:
                    port = server.add_insecure_port(str(address))
                else:
                    port = server.add_secure_port(str(address), credentials)
            except RuntimeError as error:
                raise EnvironmentUnfit(f"cannot listen on {address}: {error}") from error
            bound.append((address, port))
        return server, bound

    def _credentials(self, door: Door) -> Any | None:
        if door is Door.PLAINTEXT:
            return None
        serving = self._access.serving
        if serving is None:
            raise EnvironmentUnfit(f"the {door} door has no certificate to show")
        begun = partial(self._access.begun, door)
        return tls_credentials(serving, begun, demand_client=door is Door.CERTIFICATE)


def _at(door: Door, options: XdsOptions) -> XdsOptions:
    """What holds at this door.  A client shows its certificate once per connection: one that has another
    by now must be made to come again, and one whose root is gone must not stay for ever."""
    if door is not Door.CERTIFICATE:
        return options
    age = min(options.max_connection_age or CERTIFICATE_AGE, CERTIFICATE_AGE)
    return replace(options, max_connection_age=age)


def tls_credentials(serving: Serving, begun: Callable[[], None], *, demand_client: bool) -> Any:
    """Server credentials that follow `serving`; with `demand_client` there is no handshake without a
    client certificate of one of its roots.  `begun` is called before each."""

    def configuration() -> Any:
        certified, bundle = serving()
        return grpc.ssl_server_certificate_configuration(
            [(certified.key, certified.chain)], b"".join(bundle.roots) if demand_client else None
        )

    last = serving()

    def fetch() -> Any | None:
        nonlocal last
        begun()
        now = serving()
        if now == last:
            return None
        last = now
        return configuration()

    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, demand_client)
