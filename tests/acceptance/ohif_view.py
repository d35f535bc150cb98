"""Look at a draft as a hospital's web viewer shows it: OHIF, served here, on the PACS's DICOMweb; screenshots leave.

    .venv/bin/python -m deploy.demo --keep          # in another terminal; it tells the PACS's DICOMweb and the study
    .venv/bin/python -m tests.acceptance.ohif_view --url http://127.0.0.1:PORT/dicom-web --study UID

OHIF comes from the npm package @ohif/app, whose tarball holds the built viewer; `npm pack` fetches it once, into
--cache. chromium is driven over its debugging pipe, so that nothing else is needed. In --out lie: viewer.png, the
study as it opens; sr.png, the structured report opened from its thumbnail, each finding's region drawn; pdf.png, the
companion. Look at them. The last line on standard output counts what was seen; the exit code is 1 where the report
drew no region or the companion did not open.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import threading
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.postgres.ports import LOOPBACK
from tests.acceptance.ohif_browser import Browser
from tests.support.peers.programs import require_or_exit

PACKAGE = "@ohif/app@3.12.10"
_OPEN_S = 60.0
_THUMBNAIL = '[data-cy^="study-browser-thumbnail"]'
_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "pacs",
    "configuration": {
        "friendlyName": "PACS",
        "name": "pacs",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "wadoUriRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "singlepart": "bulkdata,video",
        "bulkDataURI": {"enabled": True},
        "omitQuotationForMultipartRequest": True,
    },
}
_CONFIG = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "pacs",
    "dataSources": [_SOURCE],
}


class Viewer(SimpleHTTPRequestHandler):
    """The built viewer as files, and the PACS's DICOMweb below /dicom-web, so that both have one origin."""

    dicom_web = ""

    def do_GET(self) -> None:
        """Answer with the PACS's answer, our configuration, a file, or the viewer's start page."""
        path = urlsplit(self.path).path
        if path.startswith("/dicom-web/"):
            self._forward()
        elif path == "/app-config.js":
            self._answer(HTTPStatus.OK, "text/javascript", f"window.config = {json.dumps(_CONFIG)};".encode())
        else:
            if not Path(self.translate_path(path)).is_file():
                self.path = "/index.html"
            super().do_GET()

    def end_headers(self) -> None:
        """Isolate the origin: the viewer shares memory between its threads."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""

    def _forward(self) -> None:
        asked = {"Accept": self.headers.get("Accept", "*/*")}
        url = self.dicom_web + self.path.removeprefix("/dicom-web")
        found = httpx.get(url, headers=asked, timeout=60.0, trust_env=False)
        kind = found.headers.get("content-type", "application/octet-stream")
        content = found.content
        if "json" in kind:
            content = content.replace(self.dicom_web.encode(), f"http://{self.headers['Host']}/dicom-web".encode())
        self._answer(found.status_code, kind, content)

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> int:
    """Serve, look, print what was seen; return the exit code."""
    chosen = _arguments()
    require_or_exit("chromium")
    out = Path(chosen.out)
    out.mkdir(parents=True, exist_ok=True)
    served = fetched(Path(chosen.cache))
    handler = type("Served", (Viewer,), {"dicom_web": chosen.url.rstrip("/")})

    def make(*args: Any) -> SimpleHTTPRequestHandler:
        return handler(*args, directory=str(served))  # type: ignore[no-any-return] # type() makes the class

    with ThreadingHTTPServer((LOOPBACK, 0), make) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Browser(width_px=1600, height_px=1000) as browser:
            seen = look(browser, f"http://{LOOPBACK}:{server.server_port}", chosen.study, out)
        server.shutdown()
    print(json.dumps(seen))
    return 0 if all(seen.values()) else 1


def look(browser: Browser, root: str, study_uid: str, out: Path) -> dict[str, int]:
    """Open the study, its report and its companion; return how many images, regions and documents were shown."""
    browser.go(f"{root}/viewer?StudyInstanceUIDs={study_uid}")
    images = browser.wait_for("document.querySelectorAll('canvas.cornerstone-canvas').length", _OPEN_S)
    browser.wait_quiet()
    browser.click_text("button", "Skip all")  # the viewer's tour lies over everything
    browser.screenshot(out / "viewer.png")
    browser.double_click_text(_THUMBNAIL, "SR")
    regions = browser.wait_for("document.querySelectorAll('svg.svg-layer polyline').length", _OPEN_S)
    browser.click_text("button", "No")  # whether to take the regions over as one's own measurements
    browser.wait_quiet()
    browser.screenshot(out / "sr.png")
    browser.double_click_text(_THUMBNAIL, "DOC")
    documents = browser.wait_for("document.querySelectorAll('object[type=\"application/pdf\"]').length", _OPEN_S)
    browser.wait_quiet()
    browser.screenshot(out / "pdf.png")
    return {"images": images, "regions": regions, "documents": documents}


def fetched(cache: Path) -> Path:
    """Return the folder of the built viewer; npm fetches it when the cache is empty. Exits with 3 without npm."""
    dist = cache / "package" / "dist"
    if not dist.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=cache, check=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{PACKAGE} could not be fetched with npm pack ({type(error).__name__}).", file=sys.stderr)
            sys.exit(3)
        with tarfile.open(next(cache.glob("*.tgz"))) as packed:
            packed.extractall(cache, filter="data")
    return dist


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.ohif_view")
    parser.add_argument("--url", required=True, help="DICOMweb root of the PACS")
    parser.add_argument("--study", required=True, metavar="UID", help="Study Instance UID")
    parser.add_argument("--cache", default="build/ohif", metavar="DIR", help="where the viewer is kept (build/ohif)")
    parser.add_argument("--out", default="build/ohif/shots", metavar="DIR", help="where the screenshots go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
