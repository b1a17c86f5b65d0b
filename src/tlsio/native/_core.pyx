# distutils: language = c
# The engine's binding: contexts, connections and reactors as Python objects. Logic only: libssl.pxd
# and engine.pxd declare.

cimport cython
from libc.errno cimport errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from tlsio.native.engine cimport *
from tlsio.native.libssl cimport *

import asyncio
import atexit
import collections
import contextvars
import os
import socket
import sys
import weakref

from tlsio.model.explanations import error_from_fault
from tlsio.model.faults import Fault

include "border.pxi"
include "context.pxi"
include "proofs.pxi"
include "dh.pxi"
include "lists.pxi"
include "facts.pxi"
include "plaintext.pxi"
include "connection.pxi"
include "psk.pxi"
include "gate.pxi"
include "reactor.pxi"
