"""Publishes one order for each line of standard input, and prints where it is recorded.

usage: producer.py TOPIC

A line is a JSON object with `order` and `customer`. Each order gets an id when it is read and keeps it through all
retries, so that it is stored once, whatever breaks. Prints OFFSET ID for each, in the order of the lines.
"""

import collections
import json
import signal
import sys
import threading
import time

import grpc

import connect
from backoff import Backoff
from eventflow.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc
from frames import Frames
from ids import uuid7
from refusal import Refusal, Unavailable

# Requests that are sent ahead of their answers.
AHEAD = 256
# Without any answer for so long, it gives up.
PATIENCE_SECONDS = 60
GOODBYE_SECONDS = 2


class Producer:
    """A request is kept until it is answered, so that it can be sent again on the next stream."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.unanswered: collections.deque[event_service_pb2.PublishRequest] = collections.deque()
        self.first = 1  # the sequence of the oldest unanswered request
        self.changed = threading.Condition()
        self.is_over = False  # nothing more is read
        self.has_failed = False
        self.is_stopped = False
        self.progress = time.monotonic()
        self.backoff = Backoff()

    def run(self) -> int:
        """Publishes everything; returns the exit code."""
        threading.Thread(target=self.read, daemon=True).start()
        with connect.channel() as channel:
            stub = event_service_pb2_grpc.EventServiceStub(channel)
            while not self.is_done():
                try:
                    self.stream(stub)
                except (grpc.RpcError, Unavailable) as error:
                    refusal = error.refusal if isinstance(error, Unavailable) else Refusal.of(error)
                    print(f"the stream broke: {refusal}", file=sys.stderr)
                    if not refusal.is_retryable or self.is_stuck():
                        return 1
                    self.wait(self.backoff.pause(refusal))
        return 1 if self.has_failed else 0

    def read(self) -> None:
        """Takes lines in, as many as may be unanswered at once."""
        for line in sys.stdin.buffer:
            try:
                text = line.decode().rstrip("\r\n")
                customer = str(json.loads(text)["customer"])
            except (ValueError, LookupError, TypeError) as error:
                print(f"not an order: {line!r}: {error}", file=sys.stderr)
                self.has_failed = True
                continue
            event = event_pb2.NewEvent(type="order.placed", key=customer, id=uuid7(), text=text,
                                       content_type="application/json")
            with self.changed:
                self.changed.wait_for(lambda: self.is_over or len(self.unanswered) < AHEAD)
                if self.is_over:
                    return
                if not self.unanswered:
                    self.progress = time.monotonic()
                self.unanswered.append(event_service_pb2.PublishRequest(topic=self.topic, events=[event]))
                self.changed.notify_all()
        self.finish()

    def finish(self) -> None:
        """Nothing more is read."""
        with self.changed:
            self.is_over = True
            self.changed.notify_all()

    def stream(self, stub: event_service_pb2_grpc.EventServiceStub) -> None:
        """Publishes over one stream until it ends."""
        closed = threading.Event()
        frames = Frames(stub.PublishStream(self.requests(closed), metadata=connect.metadata()))
        goodbye = None
        try:
            while True:
                response = frames.get(0.1)
                if response is not None:
                    self.answer(response, closed)
                elif self.is_stuck():
                    raise Unavailable.because(f"no answer for {PATIENCE_SECONDS} s")
                if self.is_stopped:
                    self.finish()
                if self.is_done():
                    # The end of the requests was told to the server, which ends the stream.
                    goodbye = goodbye or time.monotonic() + GOODBYE_SECONDS
                    if time.monotonic() > goodbye:
                        return
        except EOFError:
            return
        finally:
            self.close(closed)
            frames.cancel()

    def requests(self, closed: threading.Event):
        """What one stream sends: first all that is unanswered, then what is read. gRPC runs it in a thread."""
        sequence = self.first
        while True:
            with self.changed:
                self.changed.wait_for(lambda: closed.is_set() or self.is_over or sequence < self.end())
                if closed.is_set() or sequence >= self.end():
                    return
                request = self.unanswered[sequence - self.first]
            yield event_service_pb2.PublishStreamRequest(sequence=sequence, publish=request)
            sequence += 1

    def end(self) -> int:
        """The sequence after the newest request."""
        return self.first + len(self.unanswered)

    def close(self, closed: threading.Event) -> None:
        """Lets a stream send nothing more."""
        with self.changed:
            closed.set()
            self.changed.notify_all()

    def answer(self, response: event_service_pb2.PublishStreamResponse, closed: threading.Event) -> None:
        """Takes in the answer to the oldest request."""
        kind = response.WhichOneof("result")
        if kind == "closing":
            # What was sent is answered still; the rest goes over the next stream.
            self.close(closed)
            return
        if kind not in ("published", "error"):
            return
        if response.sequence != self.first:
            raise RuntimeError(f"the server answered {response.sequence} in the place of {self.first}")
        if kind == "published":
            published = response.published.published[0]
            print(published.offset, published.id, flush=True)
        else:
            refusal = Refusal.of_request(response.error)
            if refusal.is_retryable:
                # The server refuses what follows on this stream too, so that the order is kept.
                raise Unavailable(refusal)
            event_id = self.unanswered[0].events[0].id
            print(f"refused: {event_id}: {refusal}", file=sys.stderr)
            self.has_failed = True
        with self.changed:
            self.unanswered.popleft()
            self.first += 1
            self.changed.notify_all()
        self.progress = time.monotonic()
        self.backoff.reset()

    def is_done(self) -> bool:
        """Whether all there is to publish is answered."""
        return self.is_over and not self.unanswered

    def is_stuck(self) -> bool:
        """Whether something has waited for too long."""
        return bool(self.unanswered) and time.monotonic() - self.progress > PATIENCE_SECONDS

    def wait(self, seconds: float) -> None:
        """A pause, which ends early when nothing is left to do."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.is_done():
            time.sleep(0.05)
            if self.is_stopped:
                self.finish()

    def stop(self, *_) -> None:
        """On a signal: publish what was read, and end."""
        self.is_stopped = True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    producer = Producer(sys.argv[1])
    signal.signal(signal.SIGTERM, producer.stop)
    signal.signal(signal.SIGINT, producer.stop)
    sys.exit(producer.run())
