"""Floor 2: who may be talked to.

Certificates read, names compared, pins, roots, and the one verdict over all of it. No sockets, no asyncio, no clock:
bytes and times come as arguments.
"""
