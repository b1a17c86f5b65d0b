"""Statistics as Prometheus reads them."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import pki
import tlsio
from sessions import greet, visit
from tlsio.connection.server import prometheus as metrics
from tlsio.model.statistics import ServerStats, StoreStats

if TYPE_CHECKING:
    from net import Net


def registry(**servers: tlsio.Server) -> CollectorRegistry:
    """Return a registry that knows these servers."""
    made = CollectorRegistry(auto_describe=True)
    made.register(tlsio.ServerCollector(servers))
    return made


async def test_counts_what_the_server_counts(net: Net) -> None:
    """Handshakes by kind and code, connections, bytes, sessions."""
    async with net.serve(greet, session_store=tlsio.MemorySessionStore()) as server:
        read = registry(web=server).get_sample_value
        first = await visit(net, server)
        await visit(net, server, session=first.session)
        await net.refused(server, ca=pki.ca2().cert_pem)
        (code,) = server.stats().handshakes_failed
        assert read("tlsio_handshakes_total", {"server": "web", "kind": "full"}) == 1
        assert read("tlsio_handshakes_total", {"server": "web", "kind": "resumed"}) == 1
        assert read("tlsio_handshakes_failed_total", {"server": "web", "code": code}) == 1
        assert read("tlsio_session_lookups_total", {"server": "web", "result": "hit"}) == 1
        assert read("tlsio_sent_bytes_total", {"server": "web"}) == 2 * len(b"hello")
        assert read("tlsio_store_entries", {"server": "web"}) == server.stats().sessions_stored


def test_one_collector_tells_of_several_servers() -> None:
    """By a label; those without a store have no numbers of one."""
    web, mail = tlsio.create_server(session_store=tlsio.MemorySessionStore()), tlsio.create_server()
    made = registry(web=web, mail=mail)
    for name in ("web", "mail"):
        assert made.get_sample_value("tlsio_connections_open", {"server": name}) == 0
    assert made.get_sample_value("tlsio_store_entries", {"server": "web"}) == 0
    assert made.get_sample_value("tlsio_store_entries", {"server": "mail"}) is None


def test_others_can_read_it() -> None:
    """In both formats; the names are those of the reference."""
    made = registry(web=tlsio.create_server(session_store=tlsio.MemorySessionStore()))
    assert b"# TYPE tlsio_handshakes_total counter" in generate_latest(made)
    names = {family.name for family in text_string_to_metric_families(generate_openmetrics(made).decode())}
    assert len(names) == 18
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}" not in reference] == []


@pytest.mark.parametrize("stats", [ServerStats, StoreStats])
def test_nothing_is_forgotten(stats: type) -> None:
    """What is counted is told, but for what a server counts of its store already."""
    source = Path(metrics.__file__).read_text(encoding="utf-8")
    untold = {field.name for field in fields(stats) if f'"{field.name}"' not in source and f".{field.name}" not in source}
    assert untold == ({"hits", "misses", "puts"} if stats is StoreStats else set())


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else works without it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(tlsio.ConfigError) as caught:
        tlsio.ServerCollector({})
    assert (caught.value.code, caught.value.hint) == ("ERR_TLS_MISSING_EXTRA", "pip install 'tlsio[prometheus]'")
