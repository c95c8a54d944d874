"""The lists of kinds that are not read."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from controlplane.model.kinds import KINDS
from controlplane.store.foreign import IGNORED, UNSUPPORTED


@pytest.mark.parametrize("listed", [IGNORED, UNSUPPORTED])
def test_no_kind_that_is_read_is_in_a_list_of_others(listed: Mapping[str, frozenset[str]]) -> None:
    assert not {kind.name for kind in KINDS if kind.name in listed.get(kind.group, ())}


def test_the_lists_do_not_overlap() -> None:
    for group, kinds in IGNORED.items():
        assert not kinds & UNSUPPORTED.get(group, frozenset())
