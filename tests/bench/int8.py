"""A bundle and films enter; what int8 costs in accuracy and saves in time leaves. Needs requirements-train.txt.

    .venv-train/bin/python -m tests.bench.int8 --bundle BUNDLE --data DATA --out OUT

The encoder's graph is quantised in two ways: statically (ranges of activations from films that the bundle was trained
on) and dynamically (ranges at run time). Each bundle is then judged on the same films, which it has not seen, by the
code of `make evaluate`. Nothing of this is offered; figures stand in deploy/docs/benchmarks.md.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from models.encoder.bundle import open_bundle
from models.encoder.engine import Encoder
from models.encoder.evaluate.judging import FilmReadings, judge, leave_out_seen, read_films_with
from models.encoder.films import Film, read_films
from models.encoder.model import BundleModel
from models.shared.bundle_files import write_sums
from models.shared.pixels import model_input, read_image_file
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from tests.bench.workload import FILM, THREADS

_CALIBRATION_FILMS = 64
_ROUNDS = 30
Images = NDArray[np.float32]


class Films(CalibrationDataReader):
    """Films one by one, as the quantiser asks for them."""

    def __init__(self, images: Iterator[Images]) -> None:
        self._images = images

    def get_next(self) -> dict[str, Images] | None:
        image = next(self._images, None)
        return None if image is None else {"images": image[None]}


def quantised_bundles(bundle: Path, calibration: Callable[[], Iterator[Images]], out: Path) -> dict[str, Path]:
    """Write copies of the bundle whose encoder is quantised; return their folders by the way it was done."""
    prepared = out / "prepared.onnx"
    graph = open_bundle(bundle).family(FILM).encoder_path
    quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)

    def static(target: Path) -> None:
        quantize_static(
            str(prepared),
            str(target),
            Films(calibration()),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,  # without VNNI instructions pairs of 8-bit products would saturate
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )

    def dynamic(target: Path) -> None:
        quantize_dynamic(str(prepared), str(target), per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)

    found = {}
    for name, write in {"static": static, "dynamic": dynamic}.items():
        found[name] = out / name
        shutil.copytree(bundle, found[name], dirs_exist_ok=True)
        write(found[name] / graph.relative_to(bundle))
        write_sums(found[name])
    return found


def encode_s(encoders: Mapping[str, Encoder], image: Images) -> dict[str, float]:
    """Median seconds of one encode each; they take turns, so that what disturbs one disturbs all."""
    found: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(_ROUNDS):
        for name, encoder in encoders.items():
            started_s = time.perf_counter()
            encoder.encode(image[None])
            found[name].append(time.perf_counter() - started_s)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def least_cosines(first: FilmReadings, second: FilmReadings) -> dict[str, float]:
    """Mean and least cosine of the embeddings of the same films and entities."""
    cosine = (first.readings.embeddings * second.readings.embeddings).sum(axis=-1)
    return {"cosine_mean": float(cosine.mean()), "cosine_least": float(cosine.min())}


def macro_figures(encoder: Encoder, films: Sequence[Film], read: FilmReadings) -> dict[str, float | None]:
    """Figures over all entities, as `make evaluate` gives them."""
    figures = judge(encoder.info.entities, films, read)
    return {f"{row.task}_{row.metric}": row.value for row in figures if row.entity == "macro"}


def main(arguments: list[str]) -> int:
    """Quantise, time and judge; print one line of JSON for each way."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.int8", description=__doc__)
    for name in ("bundle", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    subject = open_bundle(chosen.bundle)
    side_px = subject.family(FILM).info.input_side_px
    films = read_films(chosen.data)
    unseen = leave_out_seen(films, subject.manifest_path).films
    held_out = {film.sha256 for film in unseen}
    known = [film for film in films if film.sha256 not in held_out][:_CALIBRATION_FILMS]

    def calibration() -> Iterator[Images]:
        return (model_input(read_image_file(chosen.data / film.image), side_px) for film in known)

    folders = {"float32": chosen.bundle, **quantised_bundles(chosen.bundle, calibration, chosen.out)}
    runtime = OnnxRuntime(threads=THREADS)
    encoders = {name: BundleModel(open_bundle(folder), runtime).family(FILM) for name, folder in folders.items()}
    seconds = encode_s(encoders, next(calibration()))
    read = {name: read_films_with(encoder, chosen.data, unseen) for name, encoder in encoders.items()}
    for name, encoder in encoders.items():
        said = {"encoder": name, "films": len(unseen), "encode_s": seconds[name]}
        print(
            json.dumps(said | least_cosines(read["float32"], read[name]) | macro_figures(encoder, unseen, read[name]))
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
