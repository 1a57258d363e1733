"""The responses of a stream, for a loop that has other things to do while none comes."""

import queue
import threading

import grpc

# Responses that are read ahead. When they wait to be handled, flow control lets the server wait too.
AHEAD = 16


class Frames:
    """Reads a stream in a thread of its own."""

    def __init__(self, call) -> None:
        self._call = call
        self._frames = queue.Queue(AHEAD)
        self._cancelled = False
        threading.Thread(target=self._read, daemon=True).start()

    def get(self, seconds: float):
        """The next response; None if none comes in this time.

        Raises EOFError when the stream has ended well, and grpc.RpcError when it has not.
        """
        try:
            frame = self._frames.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(frame, Exception):
            raise frame
        return frame

    def cancel(self) -> None:
        """Ends the stream, if it has not ended yet."""
        self._cancelled = True
        self._call.cancel()

    def _read(self) -> None:
        try:
            for frame in self._call:
                self._put(frame)
            self._put(EOFError("the stream is over"))
        except grpc.RpcError as error:
            self._put(error)

    def _put(self, frame) -> None:
        """Waits for room, but not for a loop that has gone."""
        while not self._cancelled:
            try:
                return self._frames.put(frame, timeout=0.5)
            except queue.Full:
                continue
