"""`python -m models.encoder.evaluate --data DIR --bundle DIR --out DIR`: judge a bundle on patients it has not seen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from models.encoder.bundle import open_bundle
from models.encoder.engine import EngineError
from models.encoder.evaluate.judging import judge, leave_out_seen, read_films_with
from models.encoder.figures import Figure
from models.encoder.films import DataError, DataErrorCode, read_films
from models.encoder.model import BundleModel
from models.encoder.result import ExitCode, log_progress, write_metrics_csv, write_result
from models.shared.bundle_files import BundleError
from models.shared.pixels import PixelError
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime

FILMS = "2D-CXR"


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.encoder.evaluate", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with metadata.csv and images")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for result.json, metrics.csv, report.html")
    options = parser.parse_args(arguments)
    log_progress()
    try:
        return _evaluate(options.data, options.bundle, options.out)
    except DataError as exc:
        print(exc, file=sys.stderr)
        missing = exc.code is DataErrorCode.NO_METADATA
        return ExitCode.MISSING_PREREQUISITE if missing else ExitCode.REFUSED_INPUT
    except (BundleError, EngineError, PixelError, OSError) as exc:
        print(exc, file=sys.stderr)
        return ExitCode.REFUSED_INPUT


def _evaluate(data: Path, bundle_folder: Path, out: Path) -> int:
    bundle = open_bundle(bundle_folder)
    unseen = leave_out_seen(read_films(data), bundle.manifest_path)
    if bundle.manifest_path is None:
        print("the bundle does not say what it was trained on: it may have seen these films", file=sys.stderr)
    print(f"{unseen.left_out} films left out: the bundle has seen the patient or the image", file=sys.stderr)
    if not unseen.films:
        print("no film is left to judge the bundle on", file=sys.stderr)
        return ExitCode.MISSING_PREREQUISITE
    encoder = BundleModel(bundle, OnnxRuntime()).family(FILMS)
    figures = judge(encoder.info.entities, unseen.films, read_films_with(encoder, data, unseen.films))
    out.mkdir(parents=True, exist_ok=True)
    write_metrics_csv(out / "metrics.csv", figures)
    (out / "report.html").write_text(_html(bundle.info.bundle_id, figures, unseen.left_out), encoding="utf-8")
    aurocs = [figure for figure in figures if figure.metric == "auroc" and figure.entity != "macro"]
    ok = bool(aurocs) and all(figure.lo > figure.chance for figure in aurocs)
    artifacts = {"metrics": str(out / "metrics.csv"), "report": str(out / "report.html")}
    print(write_result(out, command="evaluate", ok=ok, figures=figures, artifacts=artifacts))
    return ExitCode.PASSED if ok else ExitCode.CRITERION_FAILED


def _html(bundle_id: str, figures: Sequence[Figure], left_out: int) -> str:
    names = list(Figure.__dataclass_fields__)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(value))}</td>" for value in figure.as_row().values()) + "</tr>\n"
        for figure in figures
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation of {escape(bundle_id)}</title>'
        "<style>body{font:14px sans-serif}td,th{padding:2px 8px;text-align:left}</style>"
        f"<h1>Evaluation of {escape(bundle_id)}</h1><p>{left_out} films of known patients left out. Intervals: 95 %, "
        f"patients resampled 1,000 times.</p><table><tr>{head}</tr>\n{body}</table></html>\n"
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
