"""What all objects have in common."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.keys import Key, Labels


@dataclass(frozen=True, slots=True)
class Meta:
    """The part of an object's metadata that can matter to a proxy.

    resourceVersion, generation, managedFields and bookkeeping annotations are left out, so that
    objects which mean the same are equal.  `namespace` is "" for objects of the whole cluster;
    `created` is the creation time in RFC 3339 (UTC, "" when unknown), which sorts by age as text.
    """

    namespace: str
    name: str
    labels: Labels = ()
    annotations: Labels = ()
    created: str = ""

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)
