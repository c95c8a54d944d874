"""Containers as a source: what runs in Docker, as Kubernetes would have it.

What containers are, pure:

    container      one container, as Docker tells of it; shape: parts that may have any shape
    labels, names, ports
                   what its labels say, what it is called, what it serves
    workloads      containers that share a network are one; stranded: those whose network is gone
    services       a service for each name, with its endpoints
    objects        all of it as Pods, Services and EndpointSlices
    mistakes       what can be wrong, in words

How they are followed:

    own            which container this program runs in
    api            four questions to Docker (aiohttp's door)
    summary        the list of containers, and whether it shows what is known
    event          what Docker tells as it happens
    stopping       which signals mean that a container is about to end
    follow         what is known, from lists, events and answers in any order; no I/O
    told           how what is so now differs from what was delivered
    source         the tasks around it

Without Docker's API:

    compose_services, compose_file
                   Compose files say what there is, DNS says where it runs
"""
