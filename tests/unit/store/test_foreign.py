"""The lists of kinds that are not read."""

from __future__ import annotations

from controlplane.model.kinds import KINDS
from controlplane.store.foreign import IGNORED, UNSUPPORTED


def test_no_kind_that_is_read_is_called_ignored() -> None:
    assert not {kind.name for kind in KINDS if kind.name in IGNORED.get(kind.group, ())}


def test_the_lists_do_not_overlap() -> None:
    for group, kinds in IGNORED.items():
        assert not kinds & UNSUPPORTED.get(group, frozenset())
