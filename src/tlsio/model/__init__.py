"""Floor 0: the vocabulary of the library.

Exceptions, options with their checks, and the values that pass between floors. Nothing here uses
OpenSSL, sockets, asyncio or the clock.
"""
