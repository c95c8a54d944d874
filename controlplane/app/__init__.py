"""The composition root: the one place where the parts are made and handed to each other.

compose   build(settings) -> App; reads like a wiring list
spine     ingest, debouncer, graph and views: what a replay has, too
serve     an App's life: start, sources synced, drain, stop
commands  the command line
observe   the xDS server's events become traces, metrics and log lines
watchers  how the push log and the recording hear of the same
replay    a recording, played in virtual time
debug     what /debug shows
"""
