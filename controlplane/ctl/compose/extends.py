"""`extends` taken at its word: the service as it is with what it extends.

Compose refuses to extend a service that joins another's network or that depends on others, and every meshed
service does both.  So whoever extends gets its keys written out.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose.document import Value
from controlplane.ctl.compose.merge import merged
from controlplane.ctl.compose.service import Service, listed

Project = Mapping[str, Service]
Read = Callable[[str], Project]
"""The services of another file, by its path as written, from the folder of the project."""

_HERE = ""
_LONGEST = 100
"""Services one behind the other, of which each extends the next."""


def resolved(project: Project, read: Read) -> dict[str, dict[str, Value]]:
    """The project without `extends`; MiniIstiodError names the service whose base is not there."""
    files: dict[str, Project] = {_HERE: project}

    def follow(path: str, name: str, seen: tuple[tuple[str, str], ...]) -> dict[str, Value]:
        if (path, name) in seen:
            raise MiniIstiodError(f"services.{name}.extends: it extends itself")
        if len(seen) > _LONGEST:
            raise MiniIstiodError(f"services.{seen[0][1]}.extends: more than {_LONGEST} services in a row")
        service = files[path].get(name)
        if service is None:
            where = f" of {path}" if path else ""
            raise MiniIstiodError(f"services.{seen[-1][1]}.extends: there is no service {name!r}{where}")
        extends = service.get("extends")
        if extends is None:
            return dict(service)
        file, base = _target(name, extends)
        other = path
        if file:
            other = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
            if other not in files:
                files[other] = read(other)
        found = follow(other, base, (*seen, (path, name)))
        if other != path:
            found = _moved(found, _between(posixpath.dirname(path), posixpath.dirname(other)))
        own = {key: given for key, given in service.items() if key != "extends"}
        return merged(found, own)

    return {name: follow(_HERE, name, ()) for name in project}


def _target(name: str, extends: Value) -> tuple[str, str]:
    """(file or "", service)."""
    if isinstance(extends, str):
        return "", extends
    if isinstance(extends, dict) and isinstance(extends.get("service"), str):
        return str(extends.get("file") or ""), str(extends["service"])
    raise MiniIstiodError(f"services.{name}.extends: a service's name, or 'file' and 'service', is wanted")


def _between(start: str, end: str) -> str:
    """The way from one folder to another."""
    return end if posixpath.isabs(end) else posixpath.relpath(end or ".", start or ".")


def _moved(service: Service, folder: str) -> dict[str, Value]:
    """A service of a file in another folder: its paths begin there."""
    found = dict(service)
    if folder == ".":
        return found
    build = service.get("build")
    if isinstance(build, str):
        found["build"] = _path(build, folder)
    elif isinstance(build, dict) and isinstance(build.get("context"), str):
        found["build"] = {**build, "context": _path(str(build["context"]), folder)}
    if "env_file" in service:
        files = [_path(one, folder) if isinstance(one, str) else one for one in listed(service["env_file"])]
        found["env_file"] = list(files)
    if "volumes" in service:
        found["volumes"] = [_mount(one, folder) for one in listed(service["volumes"])]
    return found


def _mount(mount: Value, folder: str) -> Value:
    if isinstance(mount, dict) and mount.get("type") == "bind" and isinstance(mount.get("source"), str):
        return {**mount, "source": _path(str(mount["source"]), folder)}
    if isinstance(mount, str) and mount.startswith("."):
        source, colon, rest = mount.partition(":")
        return _path(source, folder) + colon + rest
    return mount


def _path(path: str, folder: str) -> str:
    """A relative path seen from the project's folder; addresses, variables and absolute ones stay."""
    if path.startswith(("/", "~", "$", "git@")) or "://" in path:
        return path
    found = posixpath.normpath(posixpath.join(folder, path))
    return found if found.startswith(".") else f"./{found}"
