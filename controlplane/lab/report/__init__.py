"""What a run says, for people: plots, and one page with all of them.

    write(folder)              the report of one run, as report.html in its folder
    compare(folders, into)     several runs beside each other: two servers, or two versions of one
    sweep(folders, parameter)  latency and cost against a parameter that the runs differ in

Everything is computed from the files of the run folder, so a report can be made anew from a copy of it,
anywhere.  The page is one file without scripts, and opens without a network.

    data    the run folder, read
    style   colours, and figures that suit light and dark pages
    curves, bars, timeline, sweeps
            the pictures
    words   what the stages and the figures mean
    tables  the figures
    page    HTML
    compose the reports
"""

from controlplane.lab.report.compose import compare, sweep, write

__all__ = ["compare", "sweep", "write"]
