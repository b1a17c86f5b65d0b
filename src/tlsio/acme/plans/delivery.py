"""Writes a certificate into the files that a plan names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.certs.files import PRIVATE, PUBLIC, NewFile, write_files

if TYPE_CHECKING:
    from tlsio.acme.manager.certificate import Certificate
    from tlsio.acme.plans.plan import Plan

__all__ = ["deliver", "is_delivered"]


async def deliver(plan: Plan, certificate: Certificate) -> None:
    """Write the files that a plan names, both or neither; their folder is made if it is missing.

    A cancelled call returns when they are written.

    Raises:
        OSError: they cannot be written.
    """
    if plan.cert is None:
        return
    if plan.key is None or plan.key == plan.cert:
        files = [NewFile(plan.cert, certificate.pem, PRIVATE)]
    else:
        files = [NewFile(plan.cert, certificate.chain_pem, PUBLIC), NewFile(plan.key, certificate.key, PRIVATE)]
    await asyncio.to_thread(_write, files)


async def is_delivered(plan: Plan, certificate: Certificate) -> bool:
    """Tell whether the file of the chain, if the plan has one, begins with this certificate.

    Raises:
        OSError: it cannot be read.
    """
    return plan.cert is None or await asyncio.to_thread(_has, Path(plan.cert), certificate)


def _has(path: Path, certificate: Certificate) -> bool:
    try:
        return certificate.chain_pem in path.read_bytes()
    except FileNotFoundError:
        return False


def _write(files: list[NewFile]) -> None:
    for one in files:
        Path(one.path).parent.mkdir(parents=True, exist_ok=True)
    write_files(*files, overwrite=True)
