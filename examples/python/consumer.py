"""Handles the events of a consumer in their order, and lets the server remember how far it has got.

usage: consumer.py NAME

Prints OFFSET KEY PAYLOAD for each event. After a crash only what was handled since the last commit comes again.
"""

import signal
import sys
import time

import grpc

import connect
from backoff import Backoff
from eventflow.v1 import consumer_service_pb2, consumer_service_pb2_grpc, event_pb2
from frames import Frames
from refusal import Refusal, Unavailable

COMMIT_SECONDS = 1
COMMIT_DEADLINE_SECONDS = 5
GOODBYE_SECONDS = 2
# Until Started tells the interval; that of the request.
HEARTBEAT_SECONDS = 10
GRACE_SECONDS = 2
# The status that follows says what there is to know.
TOLD_BY_STATUS = (
    event_pb2.Closing.REASON_TAKEN_OVER,
    event_pb2.Closing.REASON_CREDENTIAL_ENDED,
    event_pb2.Closing.REASON_DELETED,
)


def handle(event: event_pb2.Event) -> None:
    """What is done with an event. When it returns, the event counts as processed."""
    payload = event.text if event.WhichOneof("payload") == "text" else event.data.decode(errors="replace")
    print(event.offset, event.key, payload, flush=True)


class Consumer:
    """Follows one stream after the other, and knows what it has processed over all of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.processed: int | None = None
        self.committed = 0
        self.epoch = 0
        self.log_id = ""
        self.is_stopped = False
        self.backoff = Backoff()

    def run(self) -> int:
        """Until it is told to stop; returns the exit code."""
        while not self.is_stopped:
            # A new channel each time: the connection may be the trouble, also if nobody has noticed yet.
            with connect.channel() as channel:
                stub = consumer_service_pb2_grpc.ConsumerServiceStub(channel)
                try:
                    self.stream(stub)
                    continue
                except (grpc.RpcError, Unavailable) as error:
                    refusal = error.refusal if isinstance(error, Unavailable) else Refusal.of(error)
            print(f"the stream broke: {refusal}", file=sys.stderr)
            if not refusal.is_retryable and refusal.reason != "CONSUMER_FENCED":
                return 1
            self.wait(self.backoff.pause(refusal))
        return 0

    def stream(self, stub: consumer_service_pb2_grpc.ConsumerServiceStub) -> None:
        """Handles the events of one stream until it ends, or until it is told to stop."""
        request = consumer_service_pb2.SubscribeRequest(consumer=self.name, wait=True, log_id=self.log_id)
        request.heartbeat_interval.FromSeconds(HEARTBEAT_SECONDS)
        frames = Frames(stub.Subscribe(request, metadata=connect.metadata()))
        silence = 2 * HEARTBEAT_SECONDS + GRACE_SECONDS
        heard = last_commit = time.monotonic()
        try:
            while not self.is_stopped:
                response = frames.get(0.1)
                if response is not None:
                    frame = response.WhichOneof("frame")
                    if frame == "started":
                        self.start(response.started)
                        silence = 2 * response.started.heartbeat_interval.ToTimedelta().total_seconds() + GRACE_SECONDS
                    elif frame == "batch":
                        self.batch(response.batch, stub)
                    elif frame == "heartbeat" and not response.heartbeat.waiting:
                        self.advance(response.heartbeat.position.offset)
                    elif frame == "closing" and response.closing.reason not in TOLD_BY_STATUS:
                        self.commit(stub)
                        return
                    heard = time.monotonic()
                elif time.monotonic() - heard > silence:
                    raise Unavailable.because("the server has fallen silent")
                if time.monotonic() - last_commit >= COMMIT_SECONDS:
                    self.commit(stub)
                    last_commit = time.monotonic()
            # While the stream is open: with its end the consumer is free for others.
            self.commit(stub, GOODBYE_SECONDS)
        except EOFError:
            raise Unavailable.because("the stream is over") from None
        finally:
            frames.cancel()

    def start(self, started: consumer_service_pb2.Started) -> None:
        """The consumer is ours, from this position on."""
        offset = started.position.offset
        if self.processed is None or offset < self.committed:
            # The first stream; or somebody has moved the consumer back, so that events are handled again.
            self.processed = offset
        self.committed = offset
        self.epoch = started.epoch
        self.log_id = started.log_id
        self.backoff.reset()

    def batch(self, batch: consumer_service_pb2.EventBatch, stub) -> None:
        """Handles what was not processed before the stream broke."""
        for event in batch.events:
            if self.is_stopped:
                return
            if event.offset > self.processed:
                handle(event)
                self.processed = event.offset
        self.advance(batch.position.offset)

    def advance(self, offset: int) -> None:
        """Everything up to here was sent, and is processed, or was left out by the filter."""
        self.processed = max(self.processed, offset)

    def commit(self, stub: consumer_service_pb2_grpc.ConsumerServiceStub,
               deadline: float = COMMIT_DEADLINE_SECONDS) -> None:
        """Stores how far it has got, if that is new. What fails is left to the next commit."""
        if self.processed is None or self.processed <= self.committed:
            return
        request = consumer_service_pb2.CommitOffsetRequest(
            consumer=self.name, offset=self.processed, epoch=self.epoch)
        try:
            stub.CommitOffset(request, metadata=connect.metadata(), timeout=deadline)
            self.committed = request.offset
        except grpc.RpcError as error:
            refusal = Refusal.of(error)
            print(f"not committed: {refusal}", file=sys.stderr)
            if not refusal.is_retryable and refusal.code != "DEADLINE_EXCEEDED":
                raise

    def wait(self, seconds: float) -> None:
        """A pause, which ends early when it is told to stop."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.is_stopped:
            time.sleep(0.05)

    def stop(self, *_) -> None:
        """On a signal: commit, and end."""
        self.is_stopped = True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    consumer = Consumer(sys.argv[1])
    signal.signal(signal.SIGTERM, consumer.stop)
    signal.signal(signal.SIGINT, consumer.stop)
    sys.exit(consumer.run())
