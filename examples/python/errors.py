"""Makes calls that are refused, and shows what their errors say.

usage: errors.py TOPIC

Prints the code and the reason of each, and below them the fields that it complains of.
"""

import sys
from collections.abc import Callable

import grpc

import connect
from eventflow.v1 import auth_service_pb2, auth_service_pb2_grpc
from eventflow.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc
from refusal import Refusal

DEADLINE_SECONDS = 10
UNKNOWN_KEY = "efk_" + "a" * 16 + "_" + "b" * 43


def show(call: Callable[[], object]) -> None:
    """Makes a call and prints why it was refused. Programs decide by the reason; the message is for people."""
    try:
        call()
    except grpc.RpcError as error:
        refusal = Refusal.of(error)
        print(refusal.code, refusal.reason, flush=True)
        for field in refusal.fields:
            print(f"  {field}", flush=True)
        print(refusal, file=sys.stderr)
    else:
        print("OK", flush=True)


def main(topic: str) -> int:
    with connect.channel() as channel:
        events = event_service_pb2_grpc.EventServiceStub(channel)
        auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        with_key = {"metadata": connect.metadata(), "timeout": DEADLINE_SECONDS}
        unknown = {"metadata": connect.metadata(UNKNOWN_KEY), "timeout": DEADLINE_SECONDS}

        fine = event_pb2.NewEvent(type="order.placed", key="customer-1", text="{}")
        untyped = event_pb2.NewEvent(key="customer-1", text="{}")
        overlong = event_pb2.NewEvent(type="order.placed", key="k" * 1025, text="{}")
        three = event_service_pb2.PublishRequest(topic=topic, events=[fine, untyped, overlong])
        show(lambda: events.Publish(three, **with_key))

        missing = event_service_pb2.PublishRequest(topic="missing", events=[fine])
        show(lambda: events.Publish(missing, **with_key))

        far = event_service_pb2.GetEventRequest(topic=topic, offset=1 << 40)
        show(lambda: events.GetEvent(far, **with_key))

        show(lambda: auth.GetCaller(auth_service_pb2.GetCallerRequest(), **unknown))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
