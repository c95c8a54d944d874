"""Pods without a cluster: a network namespace, redirect rules, a stock Envoy and an application.

A pod here differs from one in Kubernetes in what starts it, not in what it is: its Envoy runs as user
1337 behind the rules that Istio's init container sets, its application as another user that knows of
no proxy, and the two share one network namespace with one address.  (In a user namespace with a single
user the rules know Envoy by a mark: controlplane.lab.users.)
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from controlplane.base.errors import EnvironmentUnfit, MiniIstiodError
from controlplane.envoy.bootstrap import ControlPlane, bootstrap
from controlplane.envoy.bootstrap_trust import Json, secret_files
from controlplane.lab import fabric, ledger, netns, tools, users
from controlplane.lab.fetch import Admin, Target, answers, opens
from controlplane.lab.plane import House
from controlplane.lab.pod_spec import App, PodSpec, Sidecar
from controlplane.lab.site import DEFAULT_PLACE, Command, Place, Site, claim, require_root
from controlplane.lab.volumes import Account, Kubelet, Mint
from controlplane.lab.waiting import wait_until

_FABRIC = "fabric"

_ENVOY_FLAGS = (
    *("--concurrency", "1"),
    "--disable-hot-restart",
    # Access logs are read while Envoy runs; its default keeps lines back for 10 s.
    *("--file-flush-interval-msec", "100"),
    # A replaced inbound listener lets go of its connections at once, not over ten minutes.
    *("--drain-strategy", "immediate"),
    *("--drain-time-s", "45"),
    *("--log-level", "info"),
)


class PodError(MiniIstiodError):
    """A pod ended or did not become ready in time; the message holds the end of the log that tells why."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A running pod; `netns` is the name of its network namespace, `directory` holds its logs."""

    spec: PodSpec
    netns: str
    directory: Path
    processes: Mapping[str, subprocess.Popen[str]]
    sidecar: Sidecar | None = None

    @property
    def admin(self) -> Admin:
        return Admin(self.netns)

    def ready(self) -> bool:
        """Whether Envoy and the application answer; PodError when one of them has ended."""
        for name, process in self.processes.items():
            status = process.poll()
            if status is not None:
                raise PodError(f"{name} of pod {self.spec.name} ended ({status}):\n{self._tail(name)}")
        if "envoy" in self.processes and not self.admin.live():
            return False
        app = self.spec.app
        if app is None:
            return True
        if app.port is not None and not answers(Target(self.netns, "127.0.0.1", app.port), "/healthz"):
            return False
        return app.opens is None or opens(Target(self.netns, "127.0.0.1", app.opens))

    def rejected(self) -> dict[str, int]:
        """The updates that its Envoy refused, by statistic; PodError when Envoy does not answer."""
        try:
            return self.admin.rejected()
        except (OSError, http.client.HTTPException) as error:
            raise PodError(f"Envoy of pod {self.spec.name}: {error}:\n{self._tail('envoy')}") from error

    def _tail(self, name: str) -> str:
        lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
        # An Envoy that gives up says why before a long list of addresses.
        reasons = [line for line in lines[:-15] if "assert failure" in line]
        return "\n".join((*reasons[-1:], *lines[-15:]))


class Lab:
    """A claimed site with a fabric and pods.  A context manager; leaving it removes everything."""

    def __init__(self, place: Place = DEFAULT_PLACE, env: Mapping[str, str] = os.environ) -> None:
        """Clears what crashed labs left behind first.  EnvironmentUnfit when something is missing."""
        require_root()
        self._iptables = tools.find_iptables_restore(env)
        self._envoy = tools.find_envoy(env)
        self.site: Site = claim(place)
        self.pods: dict[str, Pod] = {}
        self._users = users.present()
        self._kubelets: list[Kubelet] = []
        try:
            fabric.create(self.site.namespace(_FABRIC))
            self._interpreter, self._app_uid = self._find_interpreter()
        except BaseException:
            self.site.close()
            raise

    @property
    def directory(self) -> Path:
        """A folder for this lab's files that goes with the lab."""
        return self.site.directory

    def start(self, spec: PodSpec, sidecar: Sidecar | None) -> Pod:
        """Start a pod, with an Envoy unless `sidecar` is None.  Does not wait: see `wait_ready`."""
        space = self.site.namespace(spec.name)
        directory = self.directory / "pods" / spec.name
        directory.mkdir(mode=0o755, parents=True)
        fabric.attach(self.site.namespace(_FABRIC), space, spec.ip)
        processes = {}
        if sidecar is not None:
            if spec.kind == "router":
                netns.inside(space, _open_low_ports)
            elif spec.metadata.get("INTERCEPTION_MODE") != "NONE":
                self.intercept(space, dns=spec.metadata.get("DNS_CAPTURE") == "true")
            processes["envoy"] = self._start_envoy(spec, sidecar, space)
        if spec.app is not None:
            processes["app"] = self.site.start(self._script(spec, spec.app, space, directory / "app.log"))
        pod = Pod(spec, space, directory, processes, sidecar)
        self.pods[spec.name] = pod
        return pod

    def lead(self, pod: Pod, networks: tuple[str, ...]) -> None:
        """Let a pod answer for every address of these networks ("11.0.0.0/8")."""
        fabric.lead(self.site.namespace(_FABRIC), pod.netns, pod.spec.ip, networks)

    def switch(self, pod: Pod, on: bool) -> None:
        """Cut a pod off the network, or join it again.  It goes on running and knows nothing of it."""
        fabric.switch(self.site.namespace(_FABRIC), pod.spec.ip, on)

    def run_in(self, pod: Pod, app: App) -> subprocess.Popen[str]:
        """Run a script in a running pod as its application's user, like `kubectl exec`; stdout is a pipe."""
        return self.site.start(self._script(pod.spec, app, pod.netns, None))

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return once all pods are ready; PodError after `timeout` seconds or when one has ended."""
        waiting = list(self.pods.values())

        def done() -> bool:
            waiting[:] = [pod for pod in waiting if not pod.ready()]
            return not waiting

        if not wait_until(done, timeout):
            names = ", ".join(pod.spec.name for pod in waiting)
            raise PodError(f"not ready after {timeout:.0f} s: {names}; logs are in {waiting[0].directory}")

    def delete(self, pod: Pod) -> None:
        """End a pod: its processes get SIGTERM, then its namespace goes."""
        del self.pods[pod.spec.name]
        entries = (ledger.entry_of(process.pid, name) for name, process in pod.processes.items())
        ledger.end(filter(None, entries), grace=3.0)
        for process in pod.processes.values():
            process.wait()
        fabric.detach(self.site.namespace(_FABRIC), pod.netns, pod.spec.ip)
        if pod.sidecar is not None and pod.sidecar.kubelet is not None:
            pod.sidecar.kubelet.unmount(pod.directory)
        shutil.rmtree(pod.directory)

    def house(self) -> House:
        """A place in the fabric for a control plane, with an address that pods reach."""
        space = self.site.namespace("istiod")
        fabric.attach(self.site.namespace(_FABRIC), space, fabric.CONTROL_PLANE)
        return House(space, fabric.CONTROL_PLANE)

    def kubelet(self, roots: Path, mint: Mint, renew_after: float = 3600.0) -> Kubelet:
        """Gives pods the roots in this file, and tokens; ends with the lab."""
        found = Kubelet(roots, mint, self._users.proxy, renew_after)
        self._kubelets.append(found)
        return found

    def close(self, keep_files: bool = False) -> None:
        """End everything; with `keep_files` the directory stays until the next lab is opened."""
        for kubelet in self._kubelets:
            kubelet.close()
        self._kubelets.clear()
        self.pods.clear()
        self.site.close(keep_files)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find_interpreter(self) -> tuple[Path, int]:
        found = tools.find_interpreter(self._users.app, self.directory)
        if found is not None:
            return found, self._users.app
        # Only root may run our own Python.  The redirect rules care about 1337 alone, so it will do.
        own = tools.find_interpreter(0, self.directory)
        if own is None:
            raise EnvironmentUnfit("no Python interpreter runs in the lab's folder")
        return own, 0

    def _script(self, spec: PodSpec, app: App, space: str, log: Path | None) -> Command:
        # Copied, because the application's user may not be able to enter the folder it comes from.
        script = self.directory / app.script.name
        if not script.exists():
            shutil.copyfile(app.script, script)
            script.chmod(0o644)
        argv, uid = ("-u", str(script), *app.args), self._app_uid
        if app.libraries:
            argv, uid = (sys.executable, "-I", *argv), os.geteuid()
        else:
            argv = (str(self._interpreter), "-I", "-S", *argv)
        name = f"{spec.name}/{'exec' if log is None else 'app'}"
        return Command(name, argv, space, uid, log, app.env, self._resolver(spec))

    def _resolver(self, spec: PodSpec) -> Path | None:
        if not spec.nameservers:
            return None
        file = self.directory / "pods" / spec.name / "resolv.conf"
        if not file.exists():
            domain = spec.node.domain
            ways = (f"{spec.namespace}.svc.{domain}", f"svc.{domain}", domain)
            lines = (
                f"search {' '.join(ways)}",
                "options ndots:5",
                *(f"nameserver {one}" for one in spec.nameservers),
            )
            file.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        return file

    def _start_envoy(self, spec: PodSpec, sidecar: Sidecar, space: str) -> subprocess.Popen[str]:
        directory = self.directory / "pods" / spec.name
        trust = None
        if sidecar.kubelet is not None:
            trust = sidecar.kubelet.mount(directory, Account(spec.namespace, spec.service_account, spec.name))
            _write(directory, secret_files(trust))
        plane = ControlPlane(sidecar.address, sidecar.protocol, trust)
        config = directory / "bootstrap.json"
        content = bootstrap(spec.node, plane, stats_prefixes=sidecar.stats)
        _write(directory, {config.name: users.marked(content, self._users)})
        argv = (str(self._envoy), "--config-path", str(config), *_ENVOY_FLAGS)
        log = directory / "envoy.log"
        uid, resolver = self._users.proxy, self._resolver(spec)
        name = f"{spec.name}/envoy"
        return self.site.start(Command(name, argv, space, uid, log, resolver=resolver))

    def intercept(self, space: str, *, dns: bool = False) -> None:
        """Load the redirect rules into a network namespace.  EnvironmentUnfit when the kernel refuses."""
        rules = users.redirect_rules(self._users, dns=dns)
        command = [str(self._iptables), "--wait", "5"]
        result = netns.inside(
            space, lambda: subprocess.run(command, input=rules, capture_output=True, text=True, timeout=30)
        )
        if result.returncode != 0:
            raise EnvironmentUnfit(f"the kernel refuses the redirect rules: {result.stderr.strip()}")


def _open_low_ports() -> None:
    """Let programs that are not root listen on port 80, as container runtimes do."""
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0", encoding="ascii")


def _write(directory: Path, files: Mapping[str, Json]) -> None:
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
