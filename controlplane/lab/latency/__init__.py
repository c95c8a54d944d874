"""What is concluded from a run: which change reached which proxy when, and whether the clocks agree.

    dataset      the run folder's tables: changes, receipts, samples, latencies (CSV)
    pushlog      the server's own account of a run (JSON lines)
    objects      which change of the server is which change of the schedule
    streams      which receipt is which response, and what a proxy was sent for a revision
    join         one row per (change, proxy), with the moment of every stage
    lateness     how late a process may have looked at its clock
    agreement    the server's stages against the clock outside of it
    statistics   distributions, intervals over repeats, ratios of pairs
    summary      what is said about a whole run

Everything here is pure: logs in, rows out.
"""
