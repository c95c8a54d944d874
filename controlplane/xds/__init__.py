"""The xDS server: what each Envoy is sent, when, in which order, and what it said to that.

Read it in the order of the data:

    feed        what the graph offers: resources by name, and what changed since a revision
    ledger      a feed's recent past, shared by all streams that read it
    layers      the same for a union of feeds, put together from its parts
    asking      types that are asked for name by name: who asked for what
    protocol    one stream's subscription to one type: what was asked for, what is owed
    verdict     ACK and NACK, and what stands in for a rejected resource
    plan        one response, and all that decides what is in it
    difference  how that follows from what a client has and what it should have
    codec       requests and responses as bytes; equal responses are the same bytes
    session     one stream's subscriptions together: order, echoes, make before break
    throttle, admission, stream, server    the same over gRPC
    status      what all this looks like at /debug

Everything down to `session` is synchronous, reads no clock and knows no transport.
"""
