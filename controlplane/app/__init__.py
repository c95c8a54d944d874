"""The composition root: the one place where the parts are made and handed to each other.

compose   build(settings) -> App; reads like a wiring list
serve     an App's life: start, sources synced, drain, stop
commands  the command line
observe   the xDS server's events become traces, metrics and log lines
debug     what /debug shows
"""
