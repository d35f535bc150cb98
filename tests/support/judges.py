"""Other people's validators as functions: files in, a list of errors out; an empty list means they have none.

Most of these programs end with exit code 0 whatever they find, so their words are read.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.peers.programs import path_of

_TIMEOUT_S = 120.0
_JAVA_FOLDER = Path("/usr/share/java")
# DicomSRValidator evaluates XPath expressions that are larger than what Java 17 allows by default.
_JAVA_LIMITS = ("jdk.xml.xpathExprGrpLimit", "jdk.xml.xpathExprOpLimit", "jdk.xml.xpathTotalOpLimit")
_JAVA_SHORT_RUN = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
_FAILURES = ("Exception", "unrecognized", "Unrecognized SOP Class")
_PIXELMED_DONE = "IOD validation complete"
_PIXELMED_TEMPLATE_DONE = "Root Template Validation Complete"


class UnreadableError(Exception):
    """A program that turns a file into text could not; the text says why, in its words."""


def dciodvfy(path: Path) -> list[str]:
    """Return what dicom3tools finds against the object's IOD, standard of today (`-new`)."""
    text = _dciodvfy_text(path)
    return _errors(text) or ([] if text.strip() else ["dciodvfy said nothing"])


def dciodvfy_warnings(path: Path) -> list[str]:
    """Return what dicom3tools only warns of."""
    return [line for line in _dciodvfy_text(path).splitlines() if line.startswith("Warning")]


def dcentvfy(paths: Sequence[Path]) -> list[str]:
    """Return where objects of one patient, study or series contradict one another."""
    return _errors(_run([path_of("dcentvfy"), *map(str, paths)])[1])


def pixelmed_sr(path: Path, *, root_template: bool = True) -> list[str]:
    """Return what PixelMed's DicomSRValidator finds; takes seconds.

    With `root_template`, an object whose root template it does not know (so that it checked no template) is an error.
    """
    jars = ":".join(str(_JAVA_FOLDER / name) for name in ("pixelmed.jar", "hsqldb.jar"))
    limits = [f"-D{name}=0" for name in _JAVA_LIMITS]
    command = [
        path_of("java"),
        *_JAVA_SHORT_RUN,
        *limits,
        "-cp",
        jars,
        "com.pixelmed.validate.DicomSRValidator",
        str(path),
    ]
    text = _run(command)[1]
    errors = _errors(text, needed=_PIXELMED_DONE)
    if root_template and _PIXELMED_TEMPLATE_DONE not in text:
        errors.append("DicomSRValidator recognised no root template")
    return errors


def dsrdump(path: Path) -> str:
    """Return the readable text of a structured report, in Unicode. Raises UnreadableError."""
    command = [path_of("dsrdump"), "+U8", "+Pl", str(path)]
    exit_code, text, told = _run_apart(command)
    wrong = [line for line in told.splitlines() if line.startswith(("E:", "F:"))]
    if exit_code != 0 or wrong:
        raise UnreadableError("\n".join(wrong) or f"dsrdump ends with exit code {exit_code}")
    return text


def pdftotext(path: Path) -> str:
    """Return the text of a PDF in reading order. Raises UnreadableError."""
    exit_code, text, told = _run_apart([path_of("pdftotext"), "-enc", "UTF-8", str(path), "-"])
    if exit_code != 0 or "Error" in told:
        raise UnreadableError(told.strip() or f"pdftotext ends with exit code {exit_code}")
    return text


def _dciodvfy_text(path: Path) -> str:
    return _run([path_of("dciodvfy"), "-new", str(path)])[1]


def _errors(text: str, needed: str = "") -> list[str]:
    """Return the lines that speak of an error. `needed`: what a validator says when it came to its end."""
    lines = text.splitlines()
    wrong = [line for line in lines if line.startswith(("Error", "Abort")) or any(word in line for word in _FAILURES)]
    if needed and needed not in text and not wrong:
        wrong = [f"the validator did not come to its end: {' '.join(lines[-3:])}"]
    return wrong


def _run(command: Sequence[str]) -> tuple[int, str]:
    exit_code, text, told = _run_apart(command)
    return exit_code, text + told


def _run_apart(command: Sequence[str]) -> tuple[int, str, str]:
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
        timeout=_TIMEOUT_S,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr
