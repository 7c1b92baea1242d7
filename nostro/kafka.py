"""The Kafka publisher: an optional extra (the package confluent-kafka), imported only when it is used.

Lives here: events to a topic, and the consumer position moved after the acknowledgement. Must not live here: what
an event is (`ledger.events`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol

from ledger import Connection, RefusedError, UnavailableError, take_events, transaction

_FLUSH_SECONDS = 30


class Producer(Protocol):
    """What is used of `confluent_kafka.Producer`."""

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        *,
        headers: list[tuple[str, bytes]],
        on_delivery: Callable[[object, object], None],
    ) -> None:
        """Queue a message."""

    def poll(self, timeout: float) -> int:
        """Serve delivery reports."""

    def flush(self, timeout: float) -> int:
        """Wait for delivery; messages left."""


def connect_producer(settings: Mapping[str, str | int]) -> Producer:
    """An idempotent producer that waits for all replicas: no gap and no change of order on a retry.

    Raises `RefusedError` when confluent-kafka is not installed or refuses the settings.
    """
    try:
        library = import_module("confluent_kafka")
    except ImportError:
        raise RefusedError("the package confluent-kafka is not installed; install the extra `nostro[kafka]`.") from None
    try:
        producer: Producer = library.Producer({"enable.idempotence": True, "acks": "all", "linger.ms": 5, **settings})
    except (library.KafkaException, ValueError, TypeError) as error:
        raise RefusedError(f"Kafka refuses these settings: {error}") from error
    return producer


def publish_to_kafka(conn: Connection, producer: Producer, *, topic: str, consumer: str, limit: int = 1000) -> int:
    """Send the consumer's next events and move it once every one is acknowledged; returns how many.

    The message key is the book, so a book's events stay in order, in one partition. At least once: after a crash
    between acknowledgement and commit the same events (same ``seq`` header) are sent again. Raises `UnavailableError`
    when they are not all acknowledged; the consumer has not moved then.
    """
    failed: list[str] = []

    def report(error: object, message: object) -> None:
        if error is not None:
            failed.append(str(error))

    with transaction(conn):
        taken = take_events(conn, consumer=consumer, limit=limit)
        for event in taken:
            producer.produce(
                topic,
                event.json().encode(),
                str(event.book_id).encode(),
                headers=[("seq", str(event.seq).encode())],
                on_delivery=report,
            )
            producer.poll(0)
        if taken and (producer.flush(_FLUSH_SECONDS) or failed):
            why = failed[0] if failed else f"no acknowledgement within {_FLUSH_SECONDS} seconds"
            raise UnavailableError(f"Kafka did not take the events: {why}; try again, nothing is skipped.")
    return len(taken)
