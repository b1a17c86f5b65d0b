"""What the h2 library alone costs for a request of the hello: no TLS, no sockets, no tasks, no application.

    python bench/http2_alone.py           prints microseconds of CPU for each request

A client of h2 makes the bytes that h2load sends: ten requests in one write, and a WINDOW_UPDATE after each ten responses.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

from command_line import count, finish
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

STREAMS = 10
WARM_UP = 100  # writes
REQUEST = [
    (b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"127.0.0.1:41234"), (b":path", b"/"), (b"user-agent", b"h2load nghttp2/1.52.0"),
]  # fmt: skip
RESPONSE = [
    (b":status", b"200"), (b"date", b"Mon, 30 Nov 2026 00:00:00 GMT"), (b"content-type", b"text/plain"), (b"content-length", b"100"),
]  # fmt: skip
BODY = b"x" * 100


def main() -> None:
    """Measure, and print the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", type=partial(count, least=STREAMS), nargs="?", default=20_000, help="how many (20000)")
    writes = parser.parse_args().requests // STREAMS
    client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    server.receive_data(client.data_to_send())
    chunks = [_record(client, number) for number in range(WARM_UP + writes)]
    for chunk in chunks[:WARM_UP]:
        _serve(server, chunk)
    before = time.process_time()
    for chunk in chunks[WARM_UP:]:
        _serve(server, chunk)
    print((time.process_time() - before) / (writes * STREAMS) * 1e6)


def _record(client: H2Connection, number: int) -> bytes:
    """Return the bytes of ten requests, and of what the client gives back for the ten before."""
    if number:
        client.increment_flow_control_window(STREAMS * len(BODY))
    for place in range(STREAMS):
        client.streams.clear()  # nothing answers them: the client would count them as open
        client.send_headers(2 * (number * STREAMS + place) + 1, REQUEST, end_stream=True)
    return client.data_to_send()


def _serve(server: H2Connection, chunk: bytes) -> None:
    for event in server.receive_data(chunk):
        if isinstance(event, RequestReceived) and event.stream_id is not None:
            server.send_headers(event.stream_id, RESPONSE)
            server.send_data(event.stream_id, BODY, end_stream=True)
    server.data_to_send()


if __name__ == "__main__":
    finish(main)
