"""Challenges as an authority makes them, and requests as it sends them."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets

from tlsio.acme import Challenge


def challenge(type_: str, identifier: str, token: str | None = None, *, is_wildcard: bool = False) -> Challenge:
    """Make one; each has a token of its own unless told."""
    token = token or secrets.token_urlsafe(32)
    try:
        ipaddress.ip_address(identifier)
        is_ip = True
    except ValueError:
        is_ip = False
    return Challenge(type_, token, identifier, is_ip, is_wildcard, f"{token}.thumbprint")


async def get(port: int, path: str, host: str = "a.example.test", method: str = "GET") -> bytes:
    """Send one request of HTTP/1.1; returns all that comes back."""
    return await say(port, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


async def say(port: int, data: bytes) -> bytes:
    """Send bytes to a port; returns all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def fetch(port: int, asked: Challenge, host: str | None = None) -> bytes | None:
    """Fetch the answer of http-01 as an authority does; None: there is none."""
    answer = await get(port, f"/.well-known/acme-challenge/{asked.token}", host or asked.identifier)
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if head.startswith(b"HTTP/1.1 200 ") else None
