"""The tokens' folder: what is in it, who may read it, and how revocations become known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit, Unauthenticated
from controlplane.ca import jws
from controlplane.ca.revoked import Revoked
from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import AUDIENCE, Wish

NOW = 1_700_000_000.5
WEB = Wish("default", "web", 3600.0)


def test_the_key_outlives_a_restart(tmp_path: Path) -> None:
    token, account = TokenStore(tmp_path).issue(WEB, NOW)
    assert TokenStore(tmp_path).issuer.judge(token, AUDIENCE, NOW) == account


def test_the_folder_is_its_owners_alone_and_holds_no_token(tmp_path: Path) -> None:
    token, _ = TokenStore(tmp_path).issue(WEB, NOW)
    folder = tmp_path / "tokens"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [".lock", "issued.json", "key.pem"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    signature = token.rpartition(".")[2]
    assert all(signature not in file.read_text() for file in files)


def test_a_revocation_is_seen_by_who_has_it_open(tmp_path: Path) -> None:
    here, there = TokenStore(tmp_path), TokenStore(tmp_path)
    _, account = there.issue(WEB, NOW)
    _, other = there.issue(WEB, NOW)
    assert here.revoked().reason(account.id, account.path, account.issued) == ""
    assert there.revoke(account.id, NOW)
    assert here.revoked().reason(account.id, account.path, account.issued) == "the token is revoked"
    assert here.revoked().reason(other.id, other.path, other.issued) == ""


def test_an_account_loses_what_it_was_given_and_can_be_given_more(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    _, before = store.issue(WEB, NOW)
    store.revoke_account("default/web", NOW + 0.3)
    _, after = store.issue(WEB, NOW + 0.4)  # within the same second
    _, another = store.issue(WEB._replace(name="db"), NOW)
    found = store.revoked()
    assert found.reason(before.id, before.path, before.issued) != ""
    assert found.reason(after.id, after.path, after.issued) == ""
    assert found.reason(another.id, another.path, another.issued) == ""
    assert after.issued == 1_700_000_001


def test_only_what_was_issued_here_can_be_revoked_by_its_id(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    assert not store.revoke("nothing", NOW)
    _, account = store.issue(WEB, NOW)
    assert not store.revoke(account.id, account.expires)
    assert store.revoke(account.id, account.expires - 1)


def test_lists_do_not_grow_with_what_has_expired(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    _, old = store.issue(WEB, NOW)
    store.revoke(old.id, NOW)
    later = old.expires + 1
    _, new = store.issue(WEB, later)
    assert [one.id for one in store.issued(later)] == [new.id]
    store.revoke(new.id, later)
    assert list(store.revoked().tokens) == [new.id]


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    def work(_: int) -> str:
        store = TokenStore(tmp_path)
        _, account = store.issue(WEB, NOW)
        store.revoke(account.id, NOW)
        return account.id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(work, range(24)))
    assert len(ids) == 24
    assert {one.id for one in TokenStore(tmp_path).issued(NOW)} == ids
    assert set(TokenStore(tmp_path).revoked().tokens) == ids


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"tokens": 1, "accounts": {}}', "\xff"])
def test_a_damaged_list_is_not_taken_for_an_empty_one(tmp_path: Path, text: str) -> None:
    store = TokenStore(tmp_path)
    assert store.revoked() == Revoked()
    (tmp_path / "tokens" / "revoked.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(EnvironmentUnfit, match="damaged"):
        store.revoked()


def test_a_list_that_vanishes_is_noticed(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    store.revoke_account("default/web", NOW)
    assert store.revoked().accounts
    (tmp_path / "tokens" / "revoked.json").unlink()
    with pytest.raises(EnvironmentUnfit, match="is gone"):
        store.revoked()


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    TokenStore(tmp_path)
    (tmp_path / "tokens" / "key.pem").write_text("nothing")
    with pytest.raises(EnvironmentUnfit, match="no private key"):
        TokenStore(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentUnfit, match="tokens: cannot be made"):
        TokenStore(tmp_path / "file")


def test_a_new_key_signs_and_tokens_of_the_old_one_hold_until_they_end(tmp_path: Path) -> None:
    here, there = TokenStore(tmp_path), TokenStore(tmp_path)
    old, account = here.issue(WEB, NOW)
    leaked = here.issuer
    assert there.rotate(NOW) == (account,)
    # The other process, which was running all the time, sees it.
    assert here.issuer.kid == there.issuer.kid != leaked.kid
    assert here.issuer.judge(old, AUDIENCE, NOW) == account
    new, another = here.issue(WEB, NOW)
    assert there.issuer.judge(new, AUDIENCE, NOW) == another
    with pytest.raises(Unauthenticated, match="expired"):
        here.issuer.judge(old, AUDIENCE, account.expires)
    # Once more, and both are of old keys; what has ended is forgotten.
    assert there.rotate(NOW) == (account, another)
    assert here.issuer.judge(old, AUDIENCE, NOW) == account
    assert here.issuer.judge(new, AUDIENCE, NOW) == another
    there.rotate(account.expires + 1)
    assert there.issuer.retired == ()


def test_who_has_an_old_key_signs_nothing_new_with_it(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    own, account = store.issue(WEB, NOW)
    leaked = store.issuer
    store.rotate(NOW)
    forged, _ = leaked.issue(WEB, NOW)
    claims = jws.unverified(own)
    raised = jws.signed({**claims, "sub": "system:serviceaccount:kube-system:admin"}, leaked.key)
    longer = jws.signed({**claims, "exp": claims["exp"] + 3600}, leaked.key)
    for text in (forged, raised, longer):
        with pytest.raises(Unauthenticated, match="before its key was retired") as caught:
            store.issuer.judge(text, AUDIENCE, NOW)
        assert caught.value.cause == "forged"
    store.revoke(account.id, NOW)
    assert store.revoked().reason(account.id, account.path, account.issued)


def test_no_private_key_is_kept_of_an_old_one(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    store.issue(WEB, NOW)
    store.rotate(NOW)
    text = (tmp_path / "tokens" / "retired.json").read_text()
    assert "PUBLIC KEY" in text and "PRIVATE" not in text
    (tmp_path / "tokens" / "retired.json").write_text("{}[")
    with pytest.raises(EnvironmentUnfit, match="damaged"):
        _ = store.issuer


YEAR = 8760 * 3600.0
POD = Wish("default", "web", YEAR, pod="web-1")


def test_what_was_provided_is_kept_for_half_of_its_life(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    token, account = store.provide(POD, "", NOW)
    assert store.provide(POD, token, NOW + YEAR / 2 - 2) == (token, account)
    later, renewed = store.provide(POD, token, NOW + YEAR / 2)
    assert later != token
    assert renewed.pod == "web-1"
    assert len(store.issued(NOW + YEAR / 2)) == 2


@pytest.mark.parametrize(
    "wish",
    [
        POD._replace(pod="web-2"),
        POD._replace(name="db"),
        POD._replace(namespace="shop"),
        POD._replace(lifetime=3600.0),
        POD._replace(audience="another"),
    ],
)
def test_a_token_for_something_else_is_not_kept(tmp_path: Path, wish: Wish) -> None:
    store = TokenStore(tmp_path)
    token, _ = store.provide(POD, "", NOW)
    other, account = store.provide(wish, token, NOW)
    assert other != token
    assert (account.namespace, account.name, account.pod) == (wish.namespace, wish.name, wish.pod)


def test_a_token_that_is_revoked_or_of_an_old_key_or_not_of_the_list_is_not_kept(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    token, account = store.provide(POD, "", NOW)
    assert store.revoke(account.id, NOW)
    second, _ = store.provide(POD, token, NOW)
    store.revoke_account("default/web", NOW)
    third, _ = store.provide(POD, second, NOW)
    assert third not in (token, second)
    assert store.provide(POD, third, NOW + 2)[0] == third
    store.rotate(NOW + 2)
    fourth, _ = store.provide(POD, third, NOW + 2)
    assert fourth != third
    (tmp_path / "tokens/issued.json").unlink()
    assert store.provide(POD, fourth, NOW + 2)[0] != fourth


def test_only_what_was_provided_is_taken_back(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    _, first = store.provide(POD, "", NOW)
    _, second = store.provide(POD._replace(pod="web-2"), "", NOW)
    _, made_by_hand = store.issue(POD._replace(pod="web-3"), NOW)
    assert store.take_back({"default/web-1"}, NOW) == (second,)
    assert store.revoked() == Revoked({second.id: second.expires})
    assert store.take_back({"default/web-1"}, NOW) == ()
    assert store.take_back({"other/web-1"}, NOW) == (first,)
    assert made_by_hand.id not in store.revoked().tokens


def test_a_damaged_list_of_what_was_provided_is_told_of(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    store.provide(POD, "", NOW)
    (tmp_path / "tokens/provisioned.json").write_text("{")
    with pytest.raises(EnvironmentUnfit, match=r"provisioned\.json: it is damaged"):
        store.provide(POD, "", NOW)
