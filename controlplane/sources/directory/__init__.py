"""A directory tree of YAML and JSON files as a source of objects.

The story of one change, in the order of the files here:

    watch       the operating system says that something moved below the root
    tree        what is there now: which files, by their signature; what cannot be looked at
    text, yaml_value, json_value, documents    one file's bytes become objects and broken pieces
    hold        a broken piece keeps the objects that stood there before
    follow      what changed since the last look, and what has to be seen twice to be believed
    source      the loop that drives it and delivers

Everything but `watch` and `source` is synchronous and runs in one worker thread; nothing there
knows the event loop.
"""

from controlplane.sources.directory.source import DirectorySource

__all__ = ["DirectorySource"]
