"""Where something stands: region, zone and subzone."""

from __future__ import annotations

from typing import NamedTuple


class Locality(NamedTuple):
    """A place; parts that are not known are ""."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""

    def __str__(self) -> str:
        """The notation of Istio's objects: region/zone/subzone, cut where nothing more is known."""
        return "/".join(self).rstrip("/")


def parse_locality(text: str) -> Locality:
    """A locality in Istio's notation; a fourth part and further ones belong to the subzone."""
    region, _, rest = text.partition("/")
    zone, _, sub_zone = rest.partition("/")
    return Locality(region, zone, sub_zone)
