"""How a call is written: headers with one value or several."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.sim import Http
from controlplane.sim.call import fields_of


def test_a_header_has_a_value_or_several() -> None:
    http = Http("/", "reviews", headers={"End-User": "jason", "accept": ("a", "b")})
    assert fields_of(http) == {"end-user": ("jason",), "accept": ("a", "b")}


@pytest.mark.parametrize("headers", [(("end-user", "jason"),), {"end-user": 1}, {"end-user": None}])
def test_headers_of_another_shape_are_told(headers: Any) -> None:
    with pytest.raises(TypeError, match="map names to values"):
        Http("/", "reviews", headers=headers)
