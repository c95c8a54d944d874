"""What was published before binds the next start: who may sign, and what is said of those who are gone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.keep import ROOT_FILE, write_bundle
from controlplane.ca.published import check_start
from controlplane.ca.signer import Signer, fingerprint, pem, self_signed
from controlplane.model.certificate import TrustBundle
from tests.support.cas import NOW


def published(folder: Path, *signers: Signer) -> Path:
    write_bundle(folder, TrustBundle(tuple(pem(one.root) for one in signers)))
    return folder / ROOT_FILE


@pytest.fixture
def old() -> Signer:
    return self_signed(NOW, 1e6)


@pytest.fixture
def new() -> Signer:
    return self_signed(NOW, 1e8)


def test_the_first_start_and_every_other_with_the_same_root(
    tmp_path: Path, old: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    check_start(tmp_path / "none", old, (old.root,), NOW)
    published(tmp_path, old)
    check_start(tmp_path, old, (old.root,), NOW)
    assert caplog.text == ""


def test_another_root_is_refused_with_both_names_and_the_way_out(
    tmp_path: Path, old: Signer, new: Signer
) -> None:
    path = published(tmp_path, old)
    before = path.read_bytes()
    with pytest.raises(EnvironmentUnfit) as caught:
        check_start(tmp_path, new, (new.root,), NOW)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert fingerprint(old.root)[:16] in said and fingerprint(new.root)[:16] in said
    assert "step by step (docs/certificates.md), or remove the file" in said
    assert path.read_bytes() == before


def test_to_trust_the_old_root_too_is_not_enough_for_those_who_know_it_alone(
    tmp_path: Path, old: Signer, new: Signer
) -> None:
    published(tmp_path, old)
    with pytest.raises(EnvironmentUnfit):
        check_start(tmp_path, new, (old.root, new.root), NOW)
    check_start(tmp_path, old, (old.root, new.root), NOW)
    published(tmp_path, old, new)
    check_start(tmp_path, new, (old.root, new.root), NOW)


def test_who_is_trusted_no_more_is_said(
    tmp_path: Path, old: Signer, new: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    published(tmp_path, old, new)
    check_start(tmp_path, new, (new.root,), NOW)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert fingerprint(old.root)[:16] in record.__dict__["roots"]
    assert fingerprint(new.root)[:16] not in record.__dict__["roots"]


def test_roots_at_their_end_bind_nobody(tmp_path: Path, old: Signer, new: Signer) -> None:
    published(tmp_path, old)
    with pytest.raises(EnvironmentUnfit):
        check_start(tmp_path, new, (new.root,), NOW + 1e6 - 1)
    check_start(tmp_path, new, (new.root,), NOW + 1e6)


def test_a_damaged_file_is_said_and_made_anew(
    tmp_path: Path, new: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ROOT_FILE).write_text("half of a certif")
    check_start(tmp_path, new, (new.root,), NOW)
    assert "the published roots are damaged" in caplog.text


def test_a_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path, new: Signer) -> None:
    (tmp_path / ROOT_FILE).mkdir()
    with pytest.raises(EnvironmentUnfit, match="cannot be read"):
        check_start(tmp_path, new, (new.root,), NOW)
