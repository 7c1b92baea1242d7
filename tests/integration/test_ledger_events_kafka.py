"""The Kafka publisher against the broker that librdkafka carries for tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import confluent_kafka as kafka
import pytest

from ledger import UnavailableError, consumer_offset, post_batch, publish
from nostro.database import Database
from nostro.kafka import Producer, connect_producer, publish_to_kafka
from tests.ledger_books import entry, open_books


def _books(db: Database, count: int) -> None:
    books = open_books(db)
    with db.app() as conn:
        for number in range(count):
            post_batch(conn, book_id=books.book, entries=[entry(f"k{number}", "assets:cash", "income:sales", 100)])
        publish(conn)


@pytest.fixture
def producer() -> Iterator[Producer]:
    """A producer with a cluster of one broker of its own."""
    yield connect_producer({"bootstrap.servers": "unused:1", "test.mock.num.brokers": 1})


def _received(producer: Any, count: int) -> list[Any]:
    brokers = producer.list_topics(timeout=10).brokers.values()
    reader = kafka.Consumer(
        {
            "bootstrap.servers": ",".join(f"{b.host}:{b.port}" for b in brokers),
            "group.id": "test",
            "auto.offset.reset": "earliest",
        }
    )
    partitions = producer.list_topics("ledger", timeout=10).topics["ledger"].partitions
    reader.assign([kafka.TopicPartition("ledger", number, 0) for number in partitions])
    got: list[Any] = []
    for _ in range(100):
        message = reader.poll(0.2)
        if message is not None and message.error() is None:
            got.append(message)
        if len(got) == count:
            break
    reader.close()
    return got


def test_every_event_is_acknowledged_once_in_order_of_its_number(db: Database, producer: Producer) -> None:
    _books(db, 25)
    with db.app() as conn:
        sent = [publish_to_kafka(conn, producer, topic="ledger", consumer="kafka", limit=10) for _ in range(4)]
        assert sent == [10, 10, 5, 0]
        assert consumer_offset(conn, consumer="kafka") == 25
    messages = _received(producer, 25)
    assert [int(dict(message.headers())["seq"]) for message in messages] == list(range(1, 26))
    assert [json.loads(message.value())["key"] for message in messages] == [f"k{number}" for number in range(25)]


def test_without_acknowledgement_the_position_stays(db: Database) -> None:
    _books(db, 1)
    nobody = connect_producer({"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 300, "log_level": 0})
    with db.app() as conn:
        with pytest.raises(UnavailableError, match="nothing is skipped"):
            publish_to_kafka(conn, nobody, topic="ledger", consumer="kafka")
        assert consumer_offset(conn, consumer="kafka") == 0
