"""Floor 2: whether a peer is accepted.

Reads certificates, compares names, checks pins and roots, and combines the results into one
verdict. No sockets, no asyncio, no clock: bytes and times are arguments.
"""
