"""A drawn mesh that is edited, compared after every edit, emptied and let go."""

from __future__ import annotations

from tests.support.drawn_mesh import Drawn


def edited(mesh: Drawn, seed: int, edits: int) -> Drawn:
    """Edit and compare; AssertionError names the seed and the last edits."""
    try:
        mesh.compare()
        for _ in range(edits):
            mesh.edit()
            mesh.settle()
            mesh.compare()
        mesh.clear()
        assert mesh.graph.size() == mesh.baseline(), "something is left of what was deleted"
        mesh.release()
    except Exception as error:
        last = "\n  ".join(mesh.history[-3:])
        raise AssertionError(
            f"seed {seed}, after {len(mesh.history)} edits: {error}\nthe last:\n  {last}"
        ) from error
    return mesh
