"""What only a folder of files has.

Spec: transports#3.1, transports#3.3
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kombu import connection as kombu_connection
from kombu import messaging

from celeriac.brokers.kombu import KombuBroker
from tests.compat.brokers.conftest import Site
from tests.compat.brokers.driving import (
    a_queue,
    ids,
    nothing_comes,
    receive,
    send,
    tags,
    wait_for,
)

Connection: Any = kombu_connection.Connection
Producer: Any = messaging.Producer


@pytest.fixture
def site(make_site: Callable[[str], Site]) -> Site:
    return make_site("filesystem")


@pytest.fixture
def folder(site: Site) -> Path:
    return Path(site.options["data_folder_in"])


def test_folders_are_created(site: Site, folder: Path) -> None:
    site.consuming(a_queue())
    assert folder.is_dir()
    assert Path(site.options["control_folder"]).is_dir()


def test_kombu_reads_our_files_and_we_read_kombus(site: Site, folder: Path) -> None:
    queue = a_queue()
    send(site.publisher(), queue, 1)
    (path,) = folder.glob("*.msg")
    milliseconds, _, rest = path.name.partition("_")
    assert milliseconds.isdigit()
    identifier, _, end = rest.partition(".")
    assert str(uuid.UUID(identifier)) == identifier
    assert end == f"{queue.name}.msg"
    with Connection(site.url, transport_options=site.options) as connection:
        message = queue(connection.channel()).get()
        assert message.headers["id"] == "1"
        message.ack()
        Producer(connection).publish({}, routing_key=queue.name, headers={"id": "2"})
    broker = site.consuming(queue)
    got = receive(broker, 1)
    assert ids(got) == ["2"]
    broker.ack(tags(got))
    assert list(folder.glob("*.msg*")) == []


def test_a_taken_file_stays_until_it_is_acked(site: Site, folder: Path) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    (delivery,) = receive(broker, 1)
    assert len(list(folder.glob("*.processing"))) == 1
    broker.ack([delivery.tag])
    assert list(folder.glob("*.processing")) == []


def test_files_of_a_killed_worker_are_given_back(site: Site, folder: Path) -> None:
    queue = a_queue()
    send(site.publisher(), queue, 1, 2)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            broker = KombuBroker(site.url, transport_options=site.options)
            broker.connect()
            broker.consume([queue], 10)
            receive(broker, 2)
            os.write(writer, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.read(reader, 1)
    early = site.consuming(queue)
    nothing_comes(early)
    early.disconnect()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    late = site.consuming(queue)
    got = receive(late, 2)
    assert ids(got) == ["1", "2"]
    assert all(d.message.delivery_info.redelivered for d in got)
    late.ack(tags(got))
    late.disconnect()
    assert [p.name for p in folder.iterdir()] == []


def test_a_file_is_left_alone_until_its_writer_is_done(site: Site, folder: Path) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    (whole,) = folder.glob("*.msg")
    raw = whole.read_bytes()
    whole.unlink()
    path = folder / f"1_{uuid.uuid4()}.{queue.name}.msg"
    with path.open("wb", buffering=0) as file:
        nothing_comes(broker, turns=2)
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(raw[:50])
        nothing_comes(broker, turns=2)
        fcntl.flock(file, fcntl.LOCK_UN)
        nothing_comes(broker, turns=2)
        file.write(raw[50:])
    (delivery,) = receive(broker, 1)
    assert delivery.broken is None
    broker.ack([delivery.tag])


def test_an_old_half_file_is_a_broken_delivery(site: Site, folder: Path) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    path = folder / f"1_{uuid.uuid4()}.{queue.name}.msg"
    path.write_bytes(b'{"body": ')
    os.utime(path, (time.time() - 60, time.time() - 60))
    (delivery,) = receive(broker, 1)
    assert delivery.broken is not None
    assert delivery.message.body == b'{"body": '
    broker.reject([delivery.tag], requeue=False)
    assert list(folder.glob(f"*{queue.name}*")) == []


def test_nobody_ever_sees_half_a_file_of_ours(site: Site, folder: Path) -> None:
    queue = a_queue()
    publisher = site.publisher()
    send(publisher, queue, *range(100))
    files = sorted(folder.glob("*.msg"))
    assert [json.loads(p.read_bytes())["headers"]["id"] for p in files] == [
        str(n) for n in range(100)
    ]
    assert list(folder.glob("*.tmp")) == []


def test_two_workers_and_one_queue_share_every_message(site: Site) -> None:
    queue = a_queue()
    brokers = [site.consuming(queue, prefetch=0) for _ in range(2)]
    publisher = site.publisher()
    got: list[Any] = []
    for number in range(60):
        send(publisher, queue, number)
        for broker in brokers:
            fetched = broker.fetch(5)
            broker.ack(tags(fetched))
            got += fetched
    wait_for(brokers[0], lambda: len(got) >= 60, got)
    assert sorted(map(int, ids(got))) == list(range(60))


def test_processed_files_are_kept_where_asked(site: Site, tmp_path: Path) -> None:
    site.options |= {"store_processed": True, "processed_folder": str(tmp_path / "done")}
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    broker.ack(tags(receive(broker, 1)))
    (kept,) = (tmp_path / "done").iterdir()
    assert kept.name.endswith(f".{queue.name}.msg")


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"null"])
def test_a_broken_binding_table_hurts_nobody(site: Site, content: bytes) -> None:
    queue = a_queue()
    folder = Path(site.options["control_folder"])
    folder.mkdir(parents=True)
    (folder / f"{queue.name}.exchange").write_bytes(content)
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    broker.ack(tags(receive(broker, 1)))
    table = json.loads((folder / f"{queue.name}.exchange").read_bytes())
    assert table == [[queue.name, "", queue.name]]
