"""The command line of `mini-istioctl compose mesh`."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable
from pathlib import Path

from controlplane.base import parse
from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import document, options, project
from controlplane.ctl.compose.earlier import earlier
from controlplane.ctl.compose.extends import Project, Read
from controlplane.ctl.compose.farewell import farewell

_NAMES = ("compose", "docker-compose")
_ENDS = (".yaml", ".yml")
"""What Compose looks for, and NAME.override beside it, which it lays over the other."""
_STDIN = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `compose`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    mesh = commands.add_parser(
        "mesh",
        help="give the services of a Compose project their sidecars",
        description="Writes the Compose file with a sidecar for each service, and the control plane beside "
        "them.  Flags are kept in the result; a meshed file is meshed again without them.",
    )
    mesh.add_argument(
        "-f",
        "--file",
        action="append",
        metavar="FILE",
        help='a Compose file, or "-"; repeatable, as for Compose',
    )
    mesh.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write there (default: print), and keep the flags of an earlier run",
    )
    mesh.add_argument("--remove", action="store_true", help="take the mesh out of the file again")
    mesh.add_argument("--diff", action="store_true", help="print what would change, and write nothing")
    _choices(mesh)
    mesh.set_defaults(run=run)


def _choices(mesh: argparse.ArgumentParser) -> None:
    """What is kept in the file."""
    chosen = mesh.add_argument_group("kept in the result")
    chosen.add_argument(
        "--scale",
        action="append",
        type=parse.argument(options.scale),
        metavar="SERVICE=N",
        help="N pairs of service and sidecar; repeatable; SERVICE=1 for one again",
    )
    names = parse.argument(_services)
    chosen.add_argument(
        "--exclude",
        action="append",
        type=names,
        metavar="SERVICE",
        help='leave it out; repeatable; "" ends it',
    )
    chosen.add_argument(
        "--only",
        action="append",
        type=names,
        metavar="SERVICE",
        help='no other; repeatable; "" ends it',
    )
    chosen.add_argument(
        "--gateway",
        action=argparse.BooleanOptionalAction,
        help="an ingress gateway, on 127.0.0.1:${INGRESS_PORT:-8080}",
    )
    said = parse.argument(_said)
    chosen.add_argument(
        "--mesh-dir", type=said, metavar="DIR", help=f"Istio's YAML (default {options.MESH_DIR})"
    )
    chosen.add_argument("--image", type=said, help=f"the control plane's image (default {options.IMAGE})")
    chosen.add_argument(
        "--envoy-image", type=said, metavar="IMAGE", help=f"Envoy's (default {options.ENVOY_IMAGE})"
    )


def _said(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("something to read is wanted")
    return text


def _services(text: str) -> tuple[str, ...]:
    return tuple(one for one in text.split(",") if one)


def run(args: argparse.Namespace) -> int:
    """Mesh a file, or take the mesh out; MiniIstiodError says what is wrong with which part of it."""
    paths: list[str] = args.file or _found()
    path = paths[0]
    name, text = _read(path)
    if len(paths) > 1:
        text = project.overlaid([(name, text), *map(_read, paths[1:])])
    notes: list[str] = []
    if args.remove:
        result = project.plain(text, name)
    else:
        given = _given(args)
        before = earlier(args.output, (name, text), given) if args.output else None
        result, notes = project.meshed(text, name, before.flags if before else given, _extended(path))
        notes = [*(before.notes if before else ()), *notes]
        if not args.diff:
            notes += farewell(before.text if before else text, result, args.output or path)
    for note in notes:
        print(f"mini-istioctl: {name}: {note}", file=sys.stderr)
    if args.diff:
        sys.stdout.write(_difference(text, result, name))
    elif args.output:
        _write(Path(args.output), result)
    else:
        sys.stdout.write(result)
    return 0


def _given(args: argparse.Namespace) -> dict[str, object]:
    """The flags that were given."""
    return {
        "scale": dict(args.scale) if args.scale else None,
        "exclude": _flat(args.exclude),
        "only": _flat(args.only),
        "gateway": args.gateway,
        "mesh_dir": args.mesh_dir,
        "image": args.image,
        "envoy_image": args.envoy_image,
    }


def _flat(given: list[tuple[str, ...]] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(dict.fromkeys(one for names in given for one in names))


def _found() -> list[str]:
    """The file of this folder, and what its user lays over it."""
    for name in _NAMES:
        for end in _ENDS:
            if Path(name + end).is_file():
                over = [name + ".override" + one for one in _ENDS if Path(f"{name}.override{one}").is_file()]
                return [name + end, *over[:1]]
    raise MiniIstiodError("-f: there is no docker-compose.yml or compose.yaml here; name the file")


def _extended(path: str) -> Read:
    """Reads what is extended by the file of this path."""
    folder = Path() if path == _STDIN else Path(path).parent

    def read(other: str) -> Project:
        name, text = _read(str(folder / other))
        return project.project(document.parse(text, name))

    return read


def _read(path: str) -> tuple[str, str]:
    """(how messages call it, its text)."""
    if path == _STDIN:
        return "standard input", sys.stdin.read()
    try:
        return path, Path(path).read_bytes().decode()
    except OSError as error:
        raise MiniIstiodError(f"-f: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MiniIstiodError(f"-f: {path}: it is no text") from error


def _write(path: Path, text: str) -> None:
    """Replace the file as a whole: Compose never reads half of it.  A device or a pipe stays what it is."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(text.encode())
            return
        # A link goes on leading where it does.
        target = path.resolve()
        draft = target.with_name(f".{target.name}.draft")
        draft.write_bytes(text.encode())
        draft.replace(target)
    except OSError as error:
        raise MiniIstiodError(f"-o: {path}: {error.strerror}") from error


def _difference(before: str, after: str, name: str) -> str:
    lines: Iterable[str] = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (meshed)"
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
