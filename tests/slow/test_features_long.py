"""Every row of the table of features that names a golden case is shown by it: all of them, one by one."""

from __future__ import annotations

import pytest

from tests.features.rows import KINDS
from tests.features.without import proofs, shows

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_cases_depend_on_the_fields_that_they_show(kind: str) -> None:
    claimed = [proof for proof in proofs() if proof[1] == kind]
    assert [proof for proof in claimed if not shows(*proof)] == []
