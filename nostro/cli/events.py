"""Commands on the events of the books: read them in order, hand them to Kafka."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from ledger import Event, events, format_amount, publish, take_events, transaction
from nostro.cli.common import JsonOption, console, emit, session
from nostro.kafka import connect_producer, publish_to_kafka

events_app = typer.Typer(no_args_is_help=True, help="Every committed entry, once, in order.")
_PAUSE = 0.5  # seconds between two looks of --follow

ConsumerOption = Annotated[
    str | None, typer.Option("--consumer", help="Remember under this name how far it read, and go on from there.")
]
FollowOption = Annotated[bool, typer.Option("--follow", help="Wait for more, until stopped.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(events_app, name="events")


@events_app.command("tail")
def tail_command(
    consumer: ConsumerOption = None,
    after: Annotated[int | None, typer.Option("--after", min=0, help="Begin after this number (default: 0).")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Print at most so many.")] = None,
    follow: FollowOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print entries of all books in the order of their numbers.

    Example: `nostro events tail --consumer warehouse --json`
    """
    if consumer is not None and after is not None:
        raise typer.BadParameter(
            "--after is where a read without --consumer begins; a consumer goes on where it stands"
        )
    with session() as s:
        position, left = after or 0, limit
        while left is None or left > 0:
            publish(s.conn)
            wanted = 1000 if left is None else min(1000, left)
            if consumer is None:
                page: Sequence[Event] = tuple(events(s.conn, after_seq=position, limit=wanted))
                _print_events(page, as_json)
                s.conn.rollback()
            else:
                with transaction(s.conn):  # printed, then moved: a broken pipe leaves the consumer where it was
                    page = take_events(s.conn, consumer=consumer, limit=wanted)
                    _print_events(page, as_json)
            position = page[-1].seq if page else position
            left = None if left is None else left - len(page)
            if len(page) < wanted:
                if not follow:
                    return
                time.sleep(_PAUSE)


def _print_events(page: Sequence[Event], as_json: bool) -> None:
    for event in page:
        if as_json:
            sys.stdout.write(event.json() + "\n")
            continue
        legs = ", ".join(
            f"{p.account} {format_amount(p.amount_minor, p.exponent)} {p.currency}" for p in event.postings
        )
        console.print(f"{event.seq} {event.effective_date} {event.key}: {legs}")
    sys.stdout.flush()


@events_app.command("kafka")
def kafka_command(
    brokers: Annotated[str, typer.Option("--brokers", help="Bootstrap servers, e.g. kafka-1:9092,kafka-2:9092.")],
    topic: Annotated[str, typer.Option("--topic", help="Where the events go.")],
    consumer: Annotated[str, typer.Option("--consumer", help="Name of this publisher's position.")] = "kafka",
    follow: FollowOption = False,
    as_json: JsonOption = False,
) -> None:
    """Publish events to a Kafka topic, in order, acknowledged before the position moves (at least once; key: the book).

    Needs the optional package confluent-kafka.

    Example: `nostro events kafka --brokers localhost:9092 --topic ledger`
    """
    producer = connect_producer({"bootstrap.servers": brokers})
    total = 0
    with session() as s:
        while True:
            publish(s.conn)
            sent = publish_to_kafka(s.conn, producer, topic=topic, consumer=consumer)
            total += sent
            if sent and not as_json:
                console.print(f"{sent:,} events acknowledged by {topic}")
            if not sent and not follow:
                break
            if not sent:
                time.sleep(_PAUSE)
    emit({"topic": topic, "published": total}, lambda: None, as_json=as_json)
