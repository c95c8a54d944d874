"""certs/: the scripts make a CA that this program and openssl accept, and tell what is wrong with others."""

from __future__ import annotations

import stat
import subprocess
import time
from pathlib import Path

import pytest

from controlplane.base.clock import SystemClock
from controlplane.ca.authority import Authority
from controlplane.ca.plugged import load
from tests.support.cas import needs_openssl, verified

CERTS = Path(__file__).parents[3] / "certs"

pytestmark = needs_openssl


def script(name: str, *args: str | Path, status: int = 0, **variables: str) -> str:
    done = subprocess.run(
        [CERTS / name, *args],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **variables},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ca")
    script("make-ca", "root", folder)
    for name in ("east", "west"):
        script("make-ca", "cluster", folder, name)
    return folder


def test_clusters_under_one_root_trust_each_other(made: Path, tmp_path: Path) -> None:
    for name, other in (("east", "west"), ("west", "east")):
        found = load(made / name, time.time())
        leaf = Authority(found.signer, found.roots, clock=SystemClock()).issue(("spiffe://td/ns/a/sa/b",))
        assert "OK" in verified(tmp_path, leaf.chain, (made / other / "root-cert.pem").read_bytes())


def test_keys_are_for_their_owner_only(made: Path) -> None:
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in made.glob("**/*.pem") if "key" in path.name
    }
    assert modes == {"root-key.pem": 0o600, "ca-key.pem": 0o600}


def test_inspect_says_that_it_holds_together(made: Path) -> None:
    said = script("inspect", made / "east")
    assert "CN = east" in said
    assert "CA:TRUE, pathlen:0" in said
    assert said.count(": OK") == 2


def test_inspect_says_what_does_not(made: Path, tmp_path: Path) -> None:
    for name in ("ca-cert.pem", "root-cert.pem", "cert-chain.pem"):
        (tmp_path / name).write_bytes((made / "east" / name).read_bytes())
    (tmp_path / "ca-key.pem").write_bytes((made / "west/ca-key.pem").read_bytes())
    assert "not the key of ca-cert.pem" in script("inspect", tmp_path, status=1)
    (tmp_path / "ca-key.pem").write_bytes((made / "east/ca-key.pem").read_bytes())
    script("make-ca", "root", tmp_path / "other")
    (tmp_path / "root-cert.pem").write_bytes((tmp_path / "other/root-cert.pem").read_bytes())
    assert "verification failed" in script("inspect", tmp_path, status=2)


def test_nothing_is_overwritten(made: Path) -> None:
    before = (made / "root-cert.pem").read_bytes()
    assert "is there already" in script("make-ca", "root", made, status=1)
    assert "is there already" in script("make-ca", "cluster", made, "east", status=1)
    assert (made / "root-cert.pem").read_bytes() == before


@pytest.mark.parametrize(
    "args", [(), ("root",), ("cluster", "x"), ("cluster", "x", "../y"), ("cluster", "x", "")]
)
def test_mistakes_are_told_and_nothing_is_made(tmp_path: Path, args: tuple[str, ...]) -> None:
    script("make-ca", *(tmp_path / "x" if one == "x" else one for one in args), status=2)
    assert list(tmp_path.iterdir()) == []
