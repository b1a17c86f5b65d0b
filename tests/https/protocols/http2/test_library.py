"""The connection of h2 as the engine uses it, against h2 and hpack as they are."""

from __future__ import annotations

import random
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import DenialOfServiceError, H2Error, ProtocolError
from h2.settings import SettingCodes
from hpack import Decoder, Encoder, OversizedHeaderListError

from tlsio.https.protocols.http2.frames import MAX_FRAME, PREFACE
from tlsio.https.protocols.http2.library import make_connection

SEEDS = range(30)
MOST_DECODED = 2000  # bytes
SETTINGS = {SettingCodes.MAX_CONCURRENT_STREAMS: 100, SettingCodes.MAX_HEADER_LIST_SIZE: MOST_DECODED}
NAMES = [b"content-type", b"content-length", b"etag", b"x-one", b"x-two", b":path", b"date"]
REQUEST = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/")]

# Requests, and in the end trailers and what is refused.
BLOCKS = [*[REQUEST, [*REQUEST, (b"x", b"z")]] * 8, [(b"x", b"z")], REQUEST[1:], [*REQUEST, (b"X", b"z")], [*REQUEST, (b"te", b"gzip")]]


def random_block(chance: random.Random) -> list[tuple[bytes, bytes]]:
    """Return headers of which many come again."""
    return [(chance.choice(NAMES), b"v" * chance.choice((0, 1, 2, 3, 200))) for _ in range(chance.randint(1, 4))]


@pytest.mark.parametrize("seed", SEEDS)
def test_peer_reads_the_headers_that_were_compressed(seed: int) -> None:
    """Whatever was remembered, a decoder of hpack returns what was sent, while the table changes its size."""
    chance = random.Random(seed)  # noqa: S311 - a seeded choice
    encoder, decoder = make_connection(MAX_FRAME, MOST_DECODED, SETTINGS).encoder, Decoder()
    for _ in range(60):
        if chance.random() < 0.05:
            for _ in range(chance.randint(1, 3)):
                encoder.header_table_size = chance.choice((0, 100, 300, 4096))
        headers = random_block(chance)
        for _ in range(chance.randint(1, 3)):
            assert [tuple(header) for header in decoder.decode(encoder.encode(headers), raw=True)] == headers


@pytest.mark.parametrize("seed", SEEDS)
def test_compressed_headers_are_those_of_the_peer(seed: int) -> None:
    """Whatever was remembered, the headers are those that an encoder of hpack was given."""
    chance = random.Random(seed)  # noqa: S311 - a seeded choice
    encoder, decoder = Encoder(), make_connection(MAX_FRAME, MOST_DECODED, SETTINGS).decoder
    for _ in range(60):
        if chance.random() < 0.05:
            encoder.header_table_size = chance.choice((0, 100, 300, 4096))
        headers = [(name, value, chance.random() < 0.2) for name, value in random_block(chance)]
        for _ in range(chance.randint(1, 3)):
            assert [tuple(header) for header in decoder.decode(encoder.encode(headers), raw=True)] == [header[:2] for header in headers]


def test_new_size_of_the_table_is_signalled_once() -> None:
    """The signal is not remembered with the headers after it."""
    encoder = make_connection(MAX_FRAME, MOST_DECODED, SETTINGS).encoder
    encoder.header_table_size = 100
    first, second = encoder.encode(REQUEST[:2]), encoder.encode(REQUEST[:2])
    assert first.endswith(second)
    assert len(first) > len(second)


def test_remembered_headers_are_bounded() -> None:
    """Many heads, each of which comes again, are not all kept, and long ones never."""
    connection = make_connection(MAX_FRAME, 2**16, SETTINGS)
    encoder: Any = connection.encoder
    for length in range(200):
        headers = [(b":status", b"200")] * length
        assert encoder.encode(headers) == encoder.encode(headers)
    assert 0 < len(encoder.header_table.known) <= 8
    decoder: Any = connection.decoder
    for length in range(120, 200):
        decoder.decode(b"\x88" * length)
    assert all(len(block) <= 128 for block, *_ in decoder.header_table.known)


def test_limit_of_headers_holds_for_a_block_that_was_decoded_before() -> None:
    """A lower limit is obeyed at once."""
    decoder = make_connection(MAX_FRAME, MOST_DECODED, SETTINGS).decoder
    block = b"\x88" * 20
    assert len(list(decoder.decode(block))) == 20
    decoder.max_header_list_size = 100
    with pytest.raises(OversizedHeaderListError):
        decoder.decode(block)


def test_block_that_decodes_to_too_much_ends_the_connection() -> None:
    """The library's answer to a bomb is that of a plain connection."""
    connection = make_connection(MAX_FRAME, MOST_DECODED, SETTINGS)
    connection.initiate_connection()
    connection.receive_data(b"\0\0\0\4\0\0\0\0\0")
    bomb = b"\x88" * 1000
    with pytest.raises(DenialOfServiceError):
        connection.receive_data(headers_frame(bomb, 5, 1))


def test_headers_that_were_valid_as_trailers_are_checked_as_a_request() -> None:
    """What was remembered of a check holds for the same kind of block only."""
    connection, encoder = make_connection(MAX_FRAME, MOST_DECODED, SETTINGS), Encoder()
    connection.initiate_connection()
    connection.receive_data(b"\0\0\0\4\0\0\0\0\0")
    trailers = [(b"x", b"z", True)]  # never indexed: the table stays as it is
    connection.receive_data(headers_frame(encoder.encode(REQUEST), 4, 1))
    connection.receive_data(headers_frame(encoder.encode(trailers), 5, 1))
    with pytest.raises(ProtocolError, match="mandatory"):
        connection.receive_data(headers_frame(encoder.encode(trailers), 5, 3))


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_have_the_effect_that_the_library_gives_them(seed: int) -> None:
    """Valid frames and others lead to the events, errors and bytes of a plain connection."""
    chance = random.Random(seed)  # noqa: S311 - a seeded choice
    assert sum(play_frames(chance) for _ in range(8)) > 0


def play_frames(chance: random.Random) -> int:
    """Send frames to both connections until one ends them; return the number of responses."""
    connections = ours, plain = make_connection(MAX_FRAME, MOST_DECODED, SETTINGS), make_plain()
    for connection in connections:
        connection.initiate_connection()
    encoder, answered = Encoder(), 0
    for step in range(40):
        frame = random_frame(chance, encoder, step) if step else b"\0\0\0\4\0\0\0\0\0"
        effects = [effect_of(connection, frame) for connection in connections]
        assert effects[0] == effects[1]
        if isinstance(effects[0][0], str):
            break
        for stream_id in [one for one, stream in plain.streams.items() if stream.open and not stream.state_machine.headers_sent]:
            is_ended = chance.random() < 0.7
            for connection in connections:
                connection.send_headers(stream_id, [(b":status", b"200"), (b"x", b"y")], end_stream=is_ended)
            answered += 1
        assert ours.data_to_send() == plain.data_to_send()
    return answered


def make_plain() -> H2Connection:
    """Return a connection of the library with the engine's settings."""
    plain = H2Connection(
        H2Configuration(client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    for setting, value in SETTINGS.items():
        plain.local_settings[setting] = value
    plain.local_settings.acknowledge()
    plain.decoder.max_header_list_size = MOST_DECODED
    plain.max_inbound_frame_size = MAX_FRAME
    plain.incoming_buffer.add_data(PREFACE)
    return plain


def random_frame(chance: random.Random, encoder: Encoder, step: int) -> bytes:
    """Return a frame: a request of a new stream, of an old one, or something else.

    CONTINUATION is left out: the code of its error depends on when the library forgets the stream.
    """
    stream_id = 2 * step + 1 if chance.random() < 0.7 else 2 * chance.randint(0, step) + 1
    kind = 1 if step == 1 else chance.choice((*[1] * 20, 0, 2, 2, 3, 4, 4, 6, 6, 8, 8, 0xEE))
    flags = chance.choice((*[5] * 15, 4, 4, 0x25, 0x25, 0x0D, 1)) if kind == 1 else chance.choice((0, 0, 1, 8))
    payload = {
        0: lambda: b"\0" * chance.randint(0, 30),
        1: lambda: encoder.encode(chance.choice(BLOCKS)),
        2: lambda: b"\0\0\0\0\7",
        3: lambda: b"\0\0\0\x08",
        4: lambda: b"\0\4\0\1\0\0" * chance.randint(0, 1),
        6: lambda: b"12345678",
        8: lambda: chance.randint(0, 3).to_bytes(4, "big"),
    }.get(kind, lambda: b"abc")()
    if kind == 1 and flags & 0x08:
        payload = bytes([3]) + payload + b"\0\0\0"
    if kind == 1 and flags & 0x20:
        payload = b"\0\0\0\0\7" + payload
    if chance.random() < 0.03:
        payload = payload[:-1]
    if kind in {4, 6} or (kind == 8 and chance.random() < 0.5):
        stream_id = 0
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def headers_frame(block: bytes, flags: int, stream_id: int) -> bytes:
    """Return a HEADERS frame."""
    return len(block).to_bytes(3, "big") + bytes([1, flags]) + stream_id.to_bytes(4, "big") + block


def effect_of(connection: H2Connection, frame: bytes) -> tuple[Any, bytes]:
    """Return the events of a frame, or its error, and the bytes that answer it."""
    effect: Any
    try:
        effect = [repr(event) for event in connection.receive_data(frame)]
    except H2Error as error:
        effect = f"{type(error).__name__}: {error}"
    return effect, connection.data_to_send()
