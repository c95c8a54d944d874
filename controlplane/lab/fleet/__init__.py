"""Many synthetic proxies in one process, light enough that the server is what is measured.

    http2     gRPC's side of HTTP/2, as much of it as a client needs
    peer      one synthetic proxy: what it has, what it asks for, what it answers
    process   a process of many peers on one epoll loop
"""
