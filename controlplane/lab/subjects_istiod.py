"""istiod as a server under test: an unmodified build, without a cluster.

Since release 1.30 istiod does not start without a Kubernetes client, whatever its configuration comes from.
So it is given a stand-in for the API, a read-only one (bench/peers/standin).  As `istiod-files` it finds
nothing there and reads the directory itself; as `istiod-api` the stand-in shows it the directory's objects by
watches, as a cluster would.  The second is the way that istiod is meant to be fed, and the faster one:
the file source waits and then reads every file again.

What it would do beside xDS (injection, certificates, elections, analysis, status) is switched off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controlplane.lab.subjects_options import Options, milliseconds
from controlplane.lab.subjects_programs import find
from controlplane.lab.subjects_running import Line, Running, free_ports

FILE_WAIT = 0.25
"""Seconds from the first event to the reload in istiod's file source; it has no setting."""

_OFF = (
    "ENABLE_CA_SERVER",
    "ENABLE_LEADER_ELECTION",
    "INJECT_ENABLED",
    "PILOT_ENABLE_ANALYSIS",
    "PILOT_ENABLE_GATEWAY_API",
    "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER",
    "PILOT_ENABLE_GATEWAY_API_STATUS",
    "PILOT_ENABLE_IP_AUTOALLOCATE",
    "PILOT_ENABLE_STATUS",
)


@dataclass(frozen=True, slots=True)
class IstiodApi:
    """istiod, fed by watches."""

    name: str = "istiod-api"
    fixed_wait: float = 0.0
    silent_when_current: bool = False

    def start(self, config_dir: Path, options: Options) -> Running:
        return _start(options, options.folder_for(config_dir, self.name), shown=config_dir.resolve())


@dataclass(frozen=True, slots=True)
class IstiodFiles:
    """istiod, reading the directory."""

    name: str = "istiod-files"
    fixed_wait: float = FILE_WAIT
    silent_when_current: bool = False

    def start(self, config_dir: Path, options: Options) -> Running:
        return _start(options, options.folder_for(config_dir, self.name), read=config_dir.resolve())


def _start(options: Options, folder: Path, shown: Path | None = None, read: Path | None = None) -> Running:
    program, standin = find("pilot-discovery", options.env), find("standin", options.env)
    xds, ready, monitoring, api = free_ports(4)
    kubeconfig, mesh = folder / "kubeconfig", folder / "mesh.yaml"
    kubeconfig.write_text(_KUBECONFIG.format(port=api))
    mesh.write_text("{}\n")
    argv = (
        *(str(program), "discovery", "--registries", "Kubernetes", "--kubeconfig", str(kubeconfig)),
        *("--meshConfig", str(mesh), "--domain", "cluster.local", "--clusterID", "Kubernetes"),
        *("--grpcAddr", f"127.0.0.1:{xds}", "--secureGRPCAddr", ""),
        *("--httpAddr", f"127.0.0.1:{ready}", "--httpsAddr", ""),
        *("--monitoringAddr", f"127.0.0.1:{monitoring}", "--ctrlz_port", "0"),
        *("--shutdownDuration", "0s", "--log_output_level", "default:warn"),
        *(("--configDir", str(read)) if read is not None else ()),
        *options.arguments,
    )
    aid = (str(standin), "-addr", f"127.0.0.1:{api}", *(("-config-dir", str(shown)) if shown else ()))
    # Its defaults are relative paths: in a folder of its own it finds nothing that it should not.
    line = Line("istiod", argv, environment(options), folder)
    return Running(
        folder, line, xds, monitoring, ready, aid=Line("standin", aid, options.env), aid_port=api
    ).start()


def environment(options: Options) -> dict[str, str]:
    """istiod's settings as its environment; None leaves the default."""
    throttle, admitted = options.push_throttle, options.max_requests_per_second
    return {
        **options.env,
        **dict.fromkeys(_OFF, "false"),
        "PILOT_CERT_PROVIDER": "none",
        "POD_NAME": "istiod-0",
        "POD_NAMESPACE": "istio-system",
        "PILOT_DEBOUNCE_AFTER": milliseconds(options.debounce_after),
        "PILOT_DEBOUNCE_MAX": milliseconds(options.debounce_max),
        "PILOT_ENABLE_EDS_DEBOUNCE": str(options.eds_debounce).lower(),
        **({} if throttle is None else {"PILOT_PUSH_THROTTLE": str(throttle)}),
        **({} if admitted is None else {"PILOT_MAX_REQUESTS_PER_SECOND": f"{admitted:g}"}),
    }


_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: standin, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: standin, context: {{cluster: standin, user: nobody}}}}]
current-context: standin
users: [{{name: nobody, user: {{}}}}]
"""
