"""Floor 0: the words of the library.

Every exception, every option checked and frozen, and the values that pass between floors.
Nothing here knows OpenSSL, files, sockets, asyncio or the time of day.
"""
