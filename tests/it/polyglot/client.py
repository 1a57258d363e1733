"""A client that knows the server by its protos alone.

usage: client.py ADDRESS publish TOPIC          reads a JSON array of events from standard input
       client.py ADDRESS subscribe TOPIC COUNT  prints a line when the stream has begun, then COUNT events

Prints one JSON object a line. The credential stands in CREDENTIAL.
"""

import json
import os
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from eventflow.v1 import consumer_service_pb2, consumer_service_pb2_grpc
from eventflow.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc

DEADLINE_SECONDS = 60


def say(**fields):
    print(json.dumps(fields), flush=True)


def metadata():
    return [("authorization", "Bearer " + os.environ["CREDENTIAL"])]


def publish(channel, topic):
    events = [event_pb2.NewEvent(**event) for event in json.load(sys.stdin)]
    request = event_service_pb2.PublishRequest(topic=topic, events=events)
    stub = event_service_pb2_grpc.EventServiceStub(channel)
    response = stub.Publish(request, metadata=metadata(), timeout=DEADLINE_SECONDS)
    for published in response.published:
        say(id=published.id, offset=published.offset, duplicate=published.duplicate)


def subscribe(channel, topic, count):
    request = consumer_service_pb2.SubscribeRequest(topic=topic, start_at=event_pb2.START_AT_EARLIEST)
    stub = consumer_service_pb2_grpc.ConsumerServiceStub(channel)
    stream = stub.Subscribe(request, metadata=metadata(), timeout=DEADLINE_SECONDS)
    for response in stream:
        frame = response.WhichOneof("frame")
        if frame == "started":
            say(frame=frame, offset=response.started.position.offset)
        if frame != "batch":
            continue
        for event in response.batch.events:
            payload = event.WhichOneof("payload")
            content = event.text if payload == "text" else event.data.hex()
            say(offset=event.offset, id=event.id, type=event.type, key=event.key, source=event.source,
                producer=event.producer, attributes=dict(event.attributes), payload=payload, content=content)
            count -= 1
        if count <= 0:
            stream.cancel()
            return


def tell(error):
    """Prints a refusal as a program would look at it: its details, and the trailer for those who see none."""
    trailers = dict(error.trailing_metadata())
    fields = {"code": error.code().name, "trailer": trailers.get("eventflow-reason")}
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        for kind in (error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RequestInfo()):
            if not detail.Unpack(kind):
                continue
            if kind.DESCRIPTOR.name == "ErrorInfo":
                fields.update(reason=kind.reason, domain=kind.domain)
            elif kind.DESCRIPTOR.name == "BadRequest":
                fields["violations"] = [violation.field for violation in kind.field_violations]
            else:
                fields["request_id"] = kind.request_id
    say(**fields)


def main(address, command, topic, *rest):
    with grpc.insecure_channel(address) as channel:
        try:
            if command == "publish":
                publish(channel, topic)
            else:
                subscribe(channel, topic, int(rest[0]))
        except grpc.RpcError as error:
            tell(error)


main(*sys.argv[1:])
