"""Settings of the work role."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkConfig:
    """How the work role takes jobs. `concurrency` studies at once; waits grow from the first to the longest."""

    concurrency: int = 2
    max_attempts: int = 5
    first_wait_s: float = 2.0
    longest_wait_s: float = 60.0
    worker_threads: int = 4

    def wait_s(self, attempts: int) -> float:
        """Seconds before the attempt that follows `attempts` failed ones: doubling, up to the longest."""
        return float(min(self.first_wait_s * 2.0 ** max(attempts - 1, 0), self.longest_wait_s))
