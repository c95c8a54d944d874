"""How a service is named."""

from __future__ import annotations

from typing import NamedTuple


class ServiceId(NamedTuple):
    """A host (FQDN; a ServiceEntry's may be a wildcard) and the namespace of the object that defines it."""

    host: str
    namespace: str
