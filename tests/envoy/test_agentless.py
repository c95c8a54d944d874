"""Stock Envoys without an agent: TLS, a token and the roots by files that others replace.

The control plane is reached as in a cluster: at an address, by TLS on 15012.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.commands import main
from controlplane.ca.keep import DirectoryKeeper
from controlplane.ca.keys import key_pem, new_key
from controlplane.ca.leaf import Names, leaf
from controlplane.ca.signer import pem
from controlplane.envoy.bootstrap_trust import Trust
from controlplane.inject.iptables import PROXY_UID
from controlplane.lab import fabric, netns, tools
from controlplane.lab.fetch import fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import Lab, Pod, PodError, PodSpec, Sidecar
from controlplane.lab.site import Command
from controlplane.lab.tokens import minter
from controlplane.lab.volumes import Account, Kubelet, project
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, laboratory

pytestmark = MARKS

PATIENCE = 40.0
CERTIFICATES = f"{fabric.CONTROL_PLANE}:15013"
"""Where the control plane asks for a certificate."""
SPIFFE = "spiffe://cluster.local/ns/prod/sa/web"


class Certifier:
    """Gives pods a certificate of the mesh's authority in place of a token."""

    def __init__(self, data: Path, lifetime: float) -> None:
        self._data, self._lifetime = data, lifetime

    def mount(self, directory: Path, account: Account) -> Trust:
        roots = DirectoryKeeper(self._data).load()
        assert roots is not None
        key, now = new_key("ec"), time.time()
        names = Names((f"spiffe://cluster.local/ns/{account.namespace}/sa/{account.service_account}",))
        certificate = leaf(roots.signer, key.public_key(), names, now - 60, now + self._lifetime)
        files = {"cert-chain.pem": pem(certificate), "key.pem": key_pem(key)}
        project(directory / "certs", files, PROXY_UID)
        project(directory / "roots", {"root.pem": pem(roots.signer.root)}, PROXY_UID)
        return Trust(
            str(directory),
            root=str(directory / "roots" / "root.pem"),
            certificate=str(directory / "certs" / "cert-chain.pem"),
            key=str(directory / "certs" / "key.pem"),
        )

    def unmount(self, directory: Path) -> None:
        """Its files are the test's, and stay until that is over."""


class Late:
    """Folders that are there, and empty."""

    def mount(self, directory: Path, account: Account) -> Trust:
        for folder in ("roots", "tokens"):
            (directory / folder).mkdir()
        return Trust(
            str(directory), root=f"{directory}/roots/root-cert.pem", token=f"{directory}/tokens/token"
        )

    def unmount(self, directory: Path) -> None:
        """Its files are the test's, and stay until that is over."""


class Mesh:
    """A control plane in the fabric, and pods that find it there."""

    def __init__(self, lab: Lab, *flags: str) -> None:
        self.lab = lab
        self._flags, self._house = flags, lab.house()
        self.plane: Plane = start_plane(lab.site, flags, self._house)
        self.plane.wait_ready()
        self._number = 0

    def kubelet(self, lifetime: float = 3600.0, renew_after: float = 3600.0) -> Kubelet:
        return self.lab.kubelet(self.plane.roots, minter(self.plane.data, lifetime), renew_after)

    def start(self, name: str, kubelet: Kubelet | Certifier | Late) -> Pod:
        """A pod of prod/web with nothing but an Envoy in it."""
        self._number += 1
        spec = PodSpec(name, "prod", f"10.244.0.{9 + self._number}", {"app": "web"}, "web")
        address = CERTIFICATES if isinstance(kubelet, Certifier) else self.plane.secure
        stats = ("control_plane", "listener", "sds")
        return self.lab.start(spec, Sidecar(address, "DELTA_GRPC", stats, kubelet))

    def wait_ready(self) -> None:
        """Return once all pods are ready; a failure tells what the control plane has to say of it."""
        try:
            self.lab.wait_ready(PATIENCE)
        except PodError as error:
            raise AssertionError(f"{error}\n{self.plane.log.read_text()[-3000:]}") from error

    def restart(self) -> None:
        """End the control plane and start it anew on what it keeps."""
        self.plane.process.terminate()
        self.plane.process.wait(20)
        self.plane.socket.unlink(missing_ok=True)
        self.plane = start_plane(self.lab.site, self._flags, self._house)
        self.plane.wait_ready()

    def log(self, *words: str) -> list[str]:
        """The lines of the control plane's log with all these words."""
        lines = self.plane.log.read_text().splitlines()
        return [line for line in lines if all(word in line for word in words)]

    def refusals(self, pod: Pod, *words: str) -> list[str]:
        """The lines that say that it was turned away, with these words."""
        return self.log("a caller was turned away", f"{pod.spec.ip}:", *words)

    def welcomes(self, pod: Pod) -> int:
        """How often it has been let in."""
        return len(self.log("a proxy connected", f"proxy={pod.spec.name}."))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with laboratory(tmp_path_factory.mktemp("agentless")) as lab:
        yield Mesh(lab, "--mtls-grpc-addr", CERTIFICATES)


def stat(pod: Pod, name: str) -> int:
    """0 while its Envoy does not answer yet."""
    try:
        return pod.admin.stats(f"^{name}$").get(name, 0)
    except OSError:
        return 0


def connected(pod: Pod) -> bool:
    return stat(pod, "control_plane.connected_state") == 1


def certificates(pod: Pod) -> list[dict[str, Any]]:
    """The certificates that its Envoy has, as it tells them."""
    found: list[dict[str, Any]] = fetch(pod.admin.target, "/certs").json()["certificates"]
    return found


def names(pod: Pod) -> set[str]:
    """Whom its own certificates name."""
    chains = [one for entry in certificates(pod) for one in entry.get("cert_chain", [])]
    return {name["uri"] for one in chains for name in one["subject_alt_names"] if "uri" in name}


def serials(pod: Pod) -> set[str]:
    """The roots that it trusts, those of the control plane among them."""
    return {one["serial_number"] for entry in certificates(pod) for one in entry.get("ca_cert", [])}


def swap(pod: Pod, volume: str, name: str, content: bytes) -> None:
    """What a kubelet does when a Secret or a ConfigMap has changed."""
    project(pod.directory / volume, {name: content}, PROXY_UID)


def foreign_root(folder: Path) -> bytes:
    """The certificate of a root that nobody here has anything to do with."""
    out = folder / "foreign.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", "/dev/null", "-out", str(out), "-subj", "/CN=somebody else", "-days", "1"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return out.read_bytes()


def test_it_is_known_certified_and_alone_in_its_pod(mesh: Mesh) -> None:
    pod = mesh.start("web-1", mesh.kubelet())
    mesh.wait_ready()
    assert connected(pod)
    assert names(pod) == {SPIFFE}
    assert stat(pod, "cluster.xds-grpc.ssl.versions.TLSv1.3") == 1
    # Stock, and nothing beside it: one process, with the command line of an Envoy.
    (only,) = netns.processes((pod.netns,))
    assert only == pod.processes["envoy"].pid
    assert b"--config-path" in Path(f"/proc/{only}/cmdline").read_bytes()
    assert pod.rejected() == {}
    # What is secret is for Envoy alone, and there is nothing of the workload's key on any disk.
    token = pod.directory / "tokens" / "token"
    assert (token.stat().st_uid, token.stat().st_mode & 0o777) == (PROXY_UID, 0o400)
    files = [path for path in pod.directory.rglob("*") if path.is_file()]
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in files)
    assert token.read_text() not in mesh.plane.log.read_text()


@pytest.mark.alone
def test_a_token_that_is_renewed_in_time_is_used_when_the_old_one_expires(mesh: Mesh) -> None:
    renewed = mesh.start("renewed", mesh.kubelet(lifetime=4.0, renew_after=1.5))
    # It has to be let in before that ends, on a busy machine, too.
    forgotten = mesh.start("forgotten", mesh.kubelet(lifetime=12.0))
    mesh.wait_ready()
    before = names(renewed)
    # Two streams have ended with their tokens, and each was followed by one with a token of its own.
    assert wait_until(lambda: mesh.welcomes(renewed) >= 3, PATIENCE)
    assert wait_until(lambda: connected(renewed), PATIENCE)
    assert before == names(renewed) == {SPIFFE}
    assert renewed.rejected() == {}
    # Who has only an old one is not let in again, and goes on with what it has.
    assert wait_until(lambda: not connected(forgotten), PATIENCE)
    assert wait_until(lambda: mesh.refusals(forgotten, "expired"), PATIENCE)
    assert mesh.welcomes(forgotten) == 1
    assert names(forgotten) == {SPIFFE}
    mesh.lab.delete(forgotten)


def test_a_wrong_token_is_refused_and_the_log_says_so(mesh: Mesh, tmp_path: Path) -> None:
    # All that it says is right, and its key is another's.
    account = Account("prod", "web", "forger")
    forged = minter(tmp_path)(account)
    pod = mesh.start("forger", mesh.lab.kubelet(mesh.plane.roots, lambda _: forged))
    assert wait_until(lambda: mesh.refusals(pod, "cause=forged"), PATIENCE)
    assert wait_until(lambda: stat(pod, "cluster.xds-grpc.ssl.handshake") >= 1, PATIENCE)
    assert not connected(pod)
    assert not pod.admin.live()
    assert mesh.welcomes(pod) == 0
    assert forged not in mesh.plane.log.read_text()
    # A good token comes by the same way, and it is let in: nothing was restarted.
    swap(pod, "tokens", "token", minter(mesh.plane.data)(account).encode())
    assert wait_until(lambda: connected(pod) and pod.admin.live(), 40)
    assert names(pod) == {SPIFFE}
    mesh.lab.delete(pod)


@pytest.mark.parametrize(
    "owner, cause",
    [
        (Account("prod", "ledger", "thief"), "service_account"),
        (Account("vault", "web", "thief"), "namespace"),
        (Account("prod", "web", "web-1"), "pod"),
    ],
)
def test_the_token_of_another_is_refused(mesh: Mesh, owner: Account, cause: str) -> None:
    stolen = minter(mesh.plane.data)(owner)
    pod = mesh.start("thief", mesh.lab.kubelet(mesh.plane.roots, lambda _: stolen))
    assert wait_until(lambda: mesh.refusals(pod, f"cause={cause}"), PATIENCE)
    assert not connected(pod)
    assert mesh.welcomes(pod) == 0
    mesh.lab.delete(pod)


def test_a_control_plane_of_another_root_is_not_spoken_to(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(foreign_root(tmp_path))
    pod = mesh.start("stranger", mesh.lab.kubelet(tmp_path / "root.pem", minter(mesh.plane.data)))
    assert wait_until(lambda: stat(pod, "cluster.xds-grpc.ssl.fail_verify_error") >= 2, PATIENCE)
    assert not connected(pod)
    assert mesh.welcomes(pod) == 0
    # The right root is moved in: the next attempt is a good one.
    swap(pod, "roots", "root-cert.pem", mesh.plane.roots.read_bytes())
    assert wait_until(lambda: connected(pod) and pod.admin.live(), 40)
    mesh.lab.delete(pod)


@pytest.mark.alone
def test_a_certificate_proves_as_much_and_is_read_again(mesh: Mesh) -> None:
    pod = mesh.start("certified", Certifier(mesh.plane.data, lifetime=12.0))
    assert wait_until(lambda: connected(pod) and pod.admin.live(), PATIENCE)
    assert names(pod) == {SPIFFE}
    Certifier(mesh.plane.data, lifetime=3600.0).mount(pod.directory, Account("prod", "web", "certified"))
    # The stream ends with the certificate that it began with; the next one has a connection of its own.
    assert wait_until(lambda: mesh.welcomes(pod) == 2, PATIENCE)
    assert wait_until(lambda: connected(pod), PATIENCE)
    assert stat(pod, "cluster.xds-grpc.ssl.handshake") == 2
    mesh.lab.delete(pod)


def test_it_may_start_before_its_files_are_there(mesh: Mesh) -> None:
    pod = mesh.start("early", Late())
    assert wait_until(lambda: stat(pod, "sds.xdsroot.update_rejected") == 1, PATIENCE)
    assert not connected(pod)
    token = minter(mesh.plane.data)(Account("prod", "web", "early"))
    late = (("roots/root-cert.pem", mesh.plane.roots.read_bytes()), ("tokens/token", token.encode()))
    for name, content in late:
        # Moved in from beside, as a job does it that makes them for somebody else.
        draft = pod.directory / "draft"
        draft.write_bytes(content)
        draft.rename(pod.directory / name)
    assert wait_until(lambda: connected(pod) and pod.admin.live(), 40)
    assert names(pod) == {SPIFFE}
    mesh.lab.delete(pod)


def test_what_the_commands_write_is_all_it_takes(mesh: Mesh) -> None:
    lab, plane = mesh.lab, mesh.plane
    folder = lab.directory / "by-hand"
    folder.mkdir()
    token, root = folder / "token", folder / "root-cert.pem"
    issuer = ["--data-dir", str(plane.data)]
    assert main(["token", "create", *issuer, "--sa", "prod/web", "--out", str(token)]) == 0
    os.chown(token, PROXY_UID, PROXY_UID)
    shutil.copyfile(plane.roots, root)
    pod = lab.start(PodSpec("by-hand", "prod", "10.244.0.99"), None)
    files = ["--root-file", str(root), "--token-file", str(token), "--out", str(folder / "envoy")]
    who = ["--ip", "10.244.0.99", "--name", "by-hand", "--namespace", "prod", "--sa", "web"]
    assert main(["bootstrap", "--control-plane", plane.secure, *who, *files]) == 0
    command = (str(tools.find_envoy(os.environ)), "-c", str(folder / "envoy" / "envoy.json"))
    envoy = Command("by-hand", (*command, "--disable-hot-restart"), pod.netns, PROXY_UID, folder / "log")
    lab.site.start(envoy)
    assert wait_until(lambda: mesh.welcomes(pod) == 1 and pod.admin.live(), PATIENCE)
    assert names(pod) == {SPIFFE}


def test_a_change_of_root_leaves_it_connected(tmp_path: Path) -> None:
    with laboratory(tmp_path) as lab:
        mesh = Mesh(lab, "--root-rotation-pause", "1s")
        follows = mesh.start("follows", mesh.kubelet())
        # Its files are what they were, as where nobody spreads the new root.
        shutil.copyfile(mesh.plane.roots, tmp_path / "copy.pem")
        stuck = mesh.start("stuck", lab.kubelet(tmp_path / "copy.pem", minter(mesh.plane.data)))
        mesh.wait_ready()
        old = mesh.plane.roots.read_bytes()
        assert len(serials(follows)) == 1
        seen: set[int] = set()

        def over() -> bool:
            seen.add(mesh.plane.roots.read_bytes().count(b"BEGIN CERTIFICATE"))
            state = fetch(mesh.plane.monitoring, "/debug/ca").json()
            return state["stage"] == "idle" and mesh.plane.roots.read_bytes() != old

        began = fetch(mesh.plane.monitoring, "/debug/ca?do=rotate", method="POST")
        assert began.status == 200, began
        assert wait_until(over, 40), fetch(mesh.plane.monitoring, "/debug/ca").body
        # First both roots, then the new one alone; and what is there now is another.
        assert seen == {1, 2}
        assert connected(follows)
        assert (follows.directory / "roots" / "root-cert.pem").read_bytes() == mesh.plane.roots.read_bytes()
        # Whoever has to connect anew finds a control plane that proves itself by the new root.
        mesh.restart()
        assert wait_until(lambda: connected(follows), 40)
        assert wait_until(lambda: stat(stuck, "cluster.xds-grpc.ssl.fail_verify_error") >= 1, 40)
        assert not connected(stuck)
        assert follows.rejected() == {}
        assert names(follows) == {SPIFFE}
