"""How a patch's message is merged into one that is there.

As protobuf merges: scalars replace, messages merge, lists are appended to, entries of maps replace.  As in
Istio a duration replaces the other as a whole (merged by parts, 5 s and 0.5 s would be 5.5 s), and what is
packed in an Any is merged inside where it configures a filter or a transport socket.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb

_DURATION = "google.protobuf.Duration"


def merge(target: Any, change: Any, *, replace_lists: bool = False) -> None:
    """Merge `change` into `target`, a message of the same type.

    `replace_lists`: a list in `change` takes the place of the target's.
    """
    for field, value in change.ListFields():
        if field.is_repeated and not _is_map(field):
            there = getattr(target, field.name)
            if replace_lists:
                del there[:]
            there.extend(value)
        elif field.is_repeated:
            _merge_map(getattr(target, field.name), field, value)
        elif field.message_type is None:
            setattr(target, field.name, value)
        elif field.message_type.full_name == _DURATION or not target.HasField(field.name):
            there = getattr(target, field.name)
            there.Clear()
            there.SetInParent()
            there.MergeFrom(value)
        else:
            merge(getattr(target, field.name), value, replace_lists=replace_lists)


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _merge_map(target: Any, field: Any, entries: Any) -> None:
    messages = field.message_type.fields_by_name["value"].message_type is not None
    for key, value in entries.items():
        if messages:
            target[key].CopyFrom(value)
        else:
            target[key] = value


def merge_packed(target: Any, change: Any) -> None:
    """Merge what an Any holds into what another one holds.

    Of another type, or of one that nobody here knows, it takes the other's place.
    """
    if target.type_url.rpartition("/")[2] == change.type_url.rpartition("/")[2]:
        try:
            merged, more = pb.unpack(target), pb.unpack(change)
        except (KeyError, ValueError):
            target.CopyFrom(change)
            return
        merge(merged, more)
        target.CopyFrom(pb.pack(merged))
    else:
        target.CopyFrom(change)


def merge_extension(target: Any, change: Any) -> None:
    """Merge a named extension (a filter, a transport socket) whose configuration is packed.

    It is renamed where the change has a name; an empty Any empties nothing.
    """
    if change.HasField("typed_config") and target.HasField("typed_config"):
        merge_packed(target.typed_config, change.typed_config)
        change = _without_config(change)
    merge(target, change)


def _without_config(change: Any) -> Any:
    rest = type(change)()
    rest.CopyFrom(change)
    rest.ClearField("typed_config")
    return rest


def merge_holding_socket(target: Any, change: Any, *, replace_lists: bool) -> None:
    """Merge a cluster or filter chain: its transport socket, if it is of the same name, inside."""
    socket = _socket_of(target, change)
    if socket is not None:
        merge_extension(socket, change.transport_socket)
        rest = type(change)()
        rest.CopyFrom(change)
        rest.ClearField("transport_socket")
        change = rest
    merge(target, change, replace_lists=replace_lists)


def _socket_of(target: Any, change: Any) -> Any | None:
    """The transport socket that a change means: the one of its name, of several matches the first."""
    if not change.HasField("transport_socket"):
        return None
    name = change.transport_socket.name
    for match in getattr(target, "transport_socket_matches", ()):
        if match.transport_socket.name == name:
            return match.transport_socket
    if target.HasField("transport_socket") and target.transport_socket.name == name:
        return target.transport_socket
    return None
