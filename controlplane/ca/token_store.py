"""The folder of the tokens in the data directory: the signing keys, what was issued, what is revoked.

The tokens themselves are not in it.  The command line and a running control plane share the folder: files
are replaced as a whole, and whoever changes one holds the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from controlplane.base.errors import EnvironmentUnfit, Unauthenticated
from controlplane.ca import jws, keep
from controlplane.ca.keys import PrivateKey, key_pem, new_key
from controlplane.ca.pem import private_key
from controlplane.ca.revoked import Revoked, RevokedFile
from controlplane.ca.tokens import Account, Issuer, Retired, Wish

FOLDER = "tokens"
_KEY = "key.pem"
_ISSUED = "issued.json"
_PROVISIONED = "provisioned.json"
_RETIRED = "retired.json"
_LOCK = ".lock"


class TokenStore:
    """Tokens of one data directory; what cannot be read or written is `EnvironmentUnfit`."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._list = RevokedFile(self._folder)
        try:
            keep.private_folder(self._folder)
        except OSError as error:
            raise EnvironmentUnfit(f"{self._folder}: cannot be made: {error.strerror}") from error
        with self._locked():
            self.is_new = not (self._folder / _KEY).exists()
            """Whether there was no key, and one was made: nobody can have known it before."""
            if self.is_new:
                self._inherit_lock()
                self._write_key(new_key("ec"))
        self._print: tuple[float, ...] = ()
        self._issuer = self.issuer

    @property
    def issuer(self) -> Issuer:
        """Who signs and judges now: the key on disk, which somebody may have replaced."""
        found = (*_print(self._folder / _KEY), *_print(self._folder / _RETIRED))
        if found != self._print:
            self._issuer = Issuer(self._key(), self._retired())
            self._print = found
        return self._issuer

    def revoked(self) -> Revoked:
        """What is revoked now."""
        return self._list.now()

    def issue(self, wish: Wish, now: float) -> tuple[str, Account]:
        """A new token, noted in the list of those that were issued.  ValueError as in `Issuer.issue`."""
        with self._locked():
            # What was revoked in this very second holds until its end.
            least = self.revoked().accounts.get(f"{wish.namespace}/{wish.name}", 0.0)
            token, account = self.issuer.issue(wish, max(now, least))
            self._note([*self.issued(now), account])
        return token, account

    def provide(self, wish: Wish, held: str, now: float) -> tuple[str, Account]:
        """A token for a proxy that is provisioned: the one that it has held, or a new one.

        What it has held is kept while it is as good as a new one: of this store and its present key, for this
        pod and account, as long-lived as is wished, not revoked, and with more than half of its life before
        it.  ValueError as in `Issuer.issue`.
        """
        account = self._as_good(held, wish, now)
        token = held
        if account is None:
            token, account = self.issue(wish, now)
        with self._locked():
            self._note_provisioned({*self._provisioned(now), account.id})
        return token, account

    def take_back(self, pods: Collection[str], now: float) -> tuple[Account, ...]:
        """Revoke what was provided to any but these pods ("namespace/name"); what it was, oldest first."""
        with self._locked():
            provisioned = self._provisioned(now)
            gone = [
                one
                for one in self.issued(now)
                if one.id in provisioned and f"{one.namespace}/{one.pod}" not in pods
            ]
            revoked = self.revoked()
            for one in gone:
                revoked = revoked.without(one.id, one.expires, now)
            if gone:
                self._list.write(revoked)
                self._note_provisioned(provisioned - {one.id for one in gone})
        return tuple(gone)

    def issued(self, now: float) -> tuple[Account, ...]:
        """Tokens that were issued here and have not expired, oldest first."""
        path = self._folder / _ISSUED
        try:
            rows = json.loads(path.read_text())
            accounts = tuple(Account(*row) for row in rows)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise EnvironmentUnfit(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError):
            raise EnvironmentUnfit(f"{path}: it is damaged; remove it, and the list begins anew") from None
        return tuple(account for account in accounts if account.expires > now)

    def revoke(self, id: str, now: float) -> bool:
        """Revoke one token; False when none of that id was issued here and is valid."""
        with self._locked():
            found = next((account for account in self.issued(now) if account.id == id), None)
            if found is None:
                return False
            self._list.write(self.revoked().without(id, found.expires, now))
        return True

    def revoke_account(self, path: str, now: float) -> None:
        """Revoke all that "namespace/name" was given until now."""
        with self._locked():
            self._list.write(self.revoked().until(path, now))

    def rotate(self, now: float) -> tuple[Account, ...]:
        """Sign with a new key from now on; tokens of the old ones, returned, hold until they end."""
        with self._locked():
            issuer = self.issuer
            held = self.issued(now)
            kept = [(one.key, _alive(one.tokens, now)) for one in issuer.retired]
            before = {one.id for _, tokens in kept for one in tokens}
            kept.append((issuer.key.public_key(), [one for one in held if one.id not in before]))
            rows = [{"key": public_pem(key), "tokens": tokens} for key, tokens in kept if tokens]
            # First who is still believed, then who signs: in between both are.
            keep.replace(self._folder / _RETIRED, json.dumps(rows, indent=1).encode(), 0o600)
            self._write_key(new_key("ec"))
        return held

    def _as_good(self, token: str, wish: Wish, now: float) -> Account | None:
        try:
            found = self.issuer.judge(token, wish.audience, now)
            if jws.named_key(token) != self.issuer.kid:
                return None
        except (Unauthenticated, jws.NotSigned):
            return None
        same = (found.namespace, found.name, found.pod) == (wish.namespace, wish.name, wish.pod)
        lifetime = found.expires - found.issued
        lasts = lifetime == max(int(wish.lifetime), 1) and found.expires - now > lifetime / 2
        # What is not in the list could not be revoked by its id.
        if not same or not lasts or found not in self.issued(now):
            return None
        return None if self.revoked().reason(found.id, found.path, found.issued) else found

    def _provisioned(self, now: float) -> set[str]:
        """The ids of tokens that were provided and have not expired."""
        path = self._folder / _PROVISIONED
        try:
            ids = json.loads(path.read_text())
            known = {str(id) for id in ids}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise EnvironmentUnfit(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError):
            raise EnvironmentUnfit(f"{path}: it is damaged; remove it, and the list begins anew") from None
        return known & {one.id for one in self.issued(now)}

    def _note_provisioned(self, ids: Iterable[str]) -> None:
        keep.replace(self._folder / _PROVISIONED, json.dumps(sorted(ids)).encode(), 0o600)

    def _retired(self) -> tuple[Retired, ...]:
        path = self._folder / _RETIRED
        try:
            return tuple(_row(one) for one in json.loads(path.read_text()))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise EnvironmentUnfit(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError):
            raise EnvironmentUnfit(f"{path}: it is damaged; remove it, and old tokens hold no more") from None

    def _write_key(self, key: PrivateKey) -> None:
        keep.replace(self._folder / _KEY, key_pem(key), 0o600)

    def _note(self, accounts: list[Account]) -> None:
        keep.replace(self._folder / _ISSUED, json.dumps([list(one) for one in accounts]).encode(), 0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time."""
        lock = self._folder / _LOCK
        try:
            handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise EnvironmentUnfit(f"{lock}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _inherit_lock(self) -> None:
        """Whoever is first makes the lock, and may be root while the control plane is not."""
        try:
            keep.inherit(self._folder / _LOCK)
        except OSError as error:
            raise EnvironmentUnfit(
                f"{self._folder / _LOCK}: cannot be given away: {error.strerror}"
            ) from error

    def _key(self) -> ec.EllipticCurvePrivateKey:
        path = self._folder / _KEY
        try:
            key = private_key(path.read_bytes(), str(path))
        except OSError as error:
            raise EnvironmentUnfit(f"{path}: {error.strerror}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise EnvironmentUnfit(f"{path}: tokens are signed with a key on P-256")
        return key


def public_pem(key: ec.EllipticCurvePublicKey) -> str:
    """A public key as it stands in the file of retired ones."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _row(row: Mapping[str, Any]) -> Retired:
    key = load_pem_public_key(str(row["key"]).encode())
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError
    return Retired(key, {one.id: one for one in (Account(*fields) for fields in row["tokens"])})


def _alive(tokens: Mapping[str, Account], now: float) -> list[Account]:
    return [one for one in tokens.values() if one.expires > now]


def _print(path: Path) -> tuple[float, ...]:
    """What changes when a file is replaced; empty where there is none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return (0.0,)
    except OSError as error:
        raise EnvironmentUnfit(f"{path}: {error.strerror}") from error
    return (state.st_mtime_ns, state.st_ino, state.st_size)
