"""A headless chromium driven over its debugging pipe (DevTools protocol, NUL-separated JSON on descriptors 3 and 4)."""

import base64
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.peers.programs import path_of

_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-dev-shm-usage",
    "--remote-debugging-pipe", "--no-proxy-server",
)  # fmt: skip
_FIND = """
(selector, text) => {
  const found = [...document.querySelectorAll(selector)].filter(e => e.textContent.includes(text));
  const element = found[found.length - 1];
  if (!element) return null;
  element.scrollIntoView({block: "center"});
  const box = element.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""


class Browser:
    """One page of one browser with a profile of its own; use as a context manager."""

    def __init__(self, *, width_px: int, height_px: int) -> None:
        self._size = f"--window-size={width_px},{height_px}"
        self._number = 0
        self._rest = b""

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        words = [path_of("chromium"), *_OPTIONS, self._size, f"--user-data-dir={self._profile.name}", "about:blank"]
        wired = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", wired, "bash", *words],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._session = self._attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)
        self._profile.cleanup()

    def go(self, url: str) -> None:
        """Open an address."""
        self._call("Page.navigate", url=url)

    def wait_for(self, count: str, timeout_s: float) -> int:
        """Return what a JavaScript expression counts once that is not 0; 0 when it stays so."""
        ends_s = time.monotonic() + timeout_s
        found = 0
        while not found and time.monotonic() < ends_s:
            found = int(self.evaluate(count) or 0)
            time.sleep(0.2)
        return found

    def wait_quiet(self, quiet_s: float = 4.0, timeout_s: float = 40.0) -> None:
        """Wait until the page has asked for nothing new for a while."""
        ends_s = time.monotonic() + timeout_s
        asked, since_s = -1, time.monotonic()
        while time.monotonic() < ends_s and time.monotonic() - since_s < quiet_s:
            now = int(self.evaluate("performance.getEntriesByType('resource').length"))
            if now != asked:
                asked, since_s = now, time.monotonic()
            time.sleep(0.2)

    def click_text(self, selector: str, text: str) -> bool:
        """Click the last element of the selector that holds the text; whether there was one."""
        return self._click(selector, text, count=1)

    def double_click_text(self, selector: str, text: str) -> bool:
        """Double-click the last element of the selector that holds the text; whether there was one."""
        return self._click(selector, text, count=1) and self._click(selector, text, count=2)

    def screenshot(self, path: Path) -> None:
        """Save what the page shows as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        told = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return told["result"].get("value")

    def _click(self, selector: str, text: str, *, count: int) -> bool:
        spot = self.evaluate(f"({_FIND})({json.dumps(selector)}, {json.dumps(text)})")
        if spot is None:
            return False
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=spot[0], y=spot[1], button="left", clickCount=count)
        return True

    def _attach(self) -> str:
        self._session = ""
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        session: str = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        return session

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        while True:
            told = self._receive()
            if told.get("id") == self._number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']['message']}")
                result: dict[str, Any] = told["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(line)
        return told
