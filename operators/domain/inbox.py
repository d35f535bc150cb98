"""The way into a long-lived graph: threads put items, the source operator takes them, closing it drains the graph."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Waker(Protocol):
    """What tells the scheduler that the source has something, has nothing, or will never have anything again."""

    def ready(self) -> None:
        """There is something to take."""

    def waiting(self) -> None:
        """There is nothing to take now."""

    def never(self) -> None:
        """Nothing will come any more."""


class Inbox(Generic[T]):
    """An unbounded queue with an end. `put` and `close` may be called from any thread."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._waker: Waker | None = None

    def bind(self, waker: Waker) -> None:
        """Connect the source operator's condition; what was put before counts."""
        with self._lock:
            self._waker = waker
            self._wake()

    def put(self, item: T) -> bool:
        """Add an item; False when the inbox is closed and the item was not taken."""
        with self._lock:
            if self._closed:
                return False
            self._items.append(item)
            self._wake()
            return True

    def close(self) -> None:
        """Take no more items; what is inside is still given out.

        The waker is called a last time though there is nothing: a scheduler that sleeps does not notice `never`.
        """
        with self._lock:
            self._closed = True
            self._wake()

    def take(self, emit: Callable[[T], None]) -> None:
        """Hand the oldest item, if there is one, to `emit`; the source's operator calls this when it was woken."""
        with self._lock:
            item = self._items.popleft() if self._items else None
        if item is not None:
            emit(item)
        with self._lock:
            self._say_what_comes()

    def __len__(self) -> int:
        with self._lock:
            return len(self._items)

    def _wake(self) -> None:
        """Have the source called when there is a reason to: an item, or the end."""
        if self._waker is None:
            return
        if self._items or self._closed:
            self._waker.ready()
        else:
            self._waker.waiting()

    def _say_what_comes(self) -> None:
        """Tell after a turn of the source whether there will be another."""
        if self._waker is not None and self._closed and not self._items:
            self._waker.never()
        else:
            self._wake()
