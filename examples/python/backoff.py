"""Pauses between attempts."""

import random

from refusal import Refusal

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0


class Backoff:
    """Pauses of up to 100 ms, 200 ms, … 5 s. Their length is left to chance, so that clients do not come together."""

    def __init__(self) -> None:
        self.failures = 0

    def reset(self) -> None:
        """Something went well: the next pause is a short one."""
        self.failures = 0

    def pause(self, refusal: Refusal) -> float:
        """Seconds until the next attempt: at least as many as the server asks for."""
        longest = min(FIRST_SECONDS * 2 ** min(self.failures, 10), LONGEST_SECONDS)
        self.failures += 1
        return (refusal.delay or 0) + random.uniform(0, longest)
