"""Substitutions in headers and logs: what Envoy 1.40 takes is taken, what it refuses is refused.

tests/envoy/test_refused_texts.py holds the same lists against a real Envoy.
"""

from __future__ import annotations

import pytest

from controlplane.model.substitution import substitution_fault
from tests.support.texts import NOT_SUBSTITUTED, SUBSTITUTED


@pytest.mark.parametrize("text", SUBSTITUTED)
def test_what_envoy_takes(text: str) -> None:
    assert substitution_fault(text) is None


@pytest.mark.parametrize("text", NOT_SUBSTITUTED)
def test_what_envoy_refuses(text: str) -> None:
    assert substitution_fault(text)


@pytest.mark.parametrize("text", ["%CEL(request.path)%", '%COALESCE({"operators": ["HOSTNAME"]})%'])
def test_what_cannot_be_checked_is_not_known(text: str) -> None:
    assert "no substitution that is known" in str(substitution_fault(text))
