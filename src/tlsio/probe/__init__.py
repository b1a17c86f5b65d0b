"""Looking at TLS from outside: what a server really does, what is wrong with it, how fast it is.

A library without printing: every function returns plain data. It sends bytes only to the host that
the caller names, unless `fetch=` is given.
"""

from tlsio.probe.connect import Look, connect
from tlsio.probe.examine import Examination, examine
from tlsio.probe.files import examine_files
from tlsio.probe.findings import FINDINGS, Finding
from tlsio.probe.listen import Arrival, listen
from tlsio.probe.measure import Measurement, measure
from tlsio.probe.plain import as_json
from tlsio.probe.pump import pump
from tlsio.probe.starttls import PROTOCOLS

__all__ = [
    "FINDINGS",
    "PROTOCOLS",
    "Arrival",
    "Examination",
    "Finding",
    "Look",
    "Measurement",
    "as_json",
    "connect",
    "examine",
    "examine_files",
    "listen",
    "measure",
    "pump",
]
