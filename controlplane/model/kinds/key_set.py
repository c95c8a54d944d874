"""The FetchedKeySet: what an issuer answered when it was asked for its keys.

Nobody writes one; the source that fetches key sets delivers them like any other object, so that they are
kept, recorded and replayed like any other.  It is not among KINDS, which are those of the API.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.jwks import read_key_set
from controlplane.model.keys import Key
from controlplane.model.kinds.kind import Kind
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

GROUP = "fetched.mini-istiod"


@dataclass(frozen=True, slots=True)
class FetchedKeySet:
    """`keys` is a canonical key set, "" as long as none was fetched.

    `fault` is why the last attempt failed, "" after a success; it goes on from "the key set …" and is equal
    for equal causes, so that it is told once.
    """

    meta: Meta
    uri: str
    keys: str = ""
    fault: str = ""


key_sets = Table("key_sets")


def key_set_key(uri: str) -> Key:
    """The name of what is fetched from a URI, which itself could not be one."""
    return Key("", hashlib.sha256(uri.encode()).hexdigest()[:40])


def key_set_object(uri: str, keys: str, fault: str) -> dict[str, object]:
    """The raw object."""
    return {
        "apiVersion": KEY_SET.api_versions[0],
        "kind": KEY_SET.name,
        "metadata": {"name": key_set_key(uri).name},
        "spec": {"uri": uri, "keys": keys, "fault": fault},
    }


def _read(r: Reader, meta: Meta) -> FetchedKeySet:
    keys = r.text("keys")
    return FetchedKeySet(meta, r.required("uri"), keys and read_key_set(keys).text, r.text("fault"))


KEY_SET = Kind(
    name="FetchedKeySet",
    group=GROUP,
    versions=("v1",),
    plural="fetchedkeysets",
    namespaced=False,
    table=key_sets,
    read=_read,
)
