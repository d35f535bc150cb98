"""The staging for MONAI Deploy's packager: complete, importable on its own, and what the packager asks for.

The image itself is not built here: that needs Docker and downloads.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from holoscan_cli.packager.config_reader import ApplicationConfiguration
from holoscan_cli.packager.parameters import PackageBuildParameters

from app.settings import SOFTWARE_VERSION
from deploy.map.stage import PACKAGES, stage
from tests.docs.pages import ROOT

_PROBE = """
import json, sys
import app.cli.main, app.pipeline, operators.domain.stage, models.encoder.onnx_engine
print(json.dumps([sys.modules[name].__file__ for name in ("app", "operators", "models")]))
"""


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the packager."""
    return stage(tmp_path_factory.mktemp("map") / "out")


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python elsewhere, without the repository on its path."""
    environment = {"PATH": "/usr/bin:/bin", "HOLOSCAN_LOG_LEVEL": "ERROR", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_packages_are_imported_from_the_staging_and_from_nowhere_else(staged: Path) -> None:
    probed = run(["-c", _PROBE], staged)
    assert probed.returncode == 0, probed.stderr
    files = json.loads(probed.stdout)
    assert [Path(file).parent for file in files] == [staged / name for name in PACKAGES]


def test_the_contents_run_as_a_directory_from_any_other_folder(staged: Path, tmp_path: Path) -> None:
    installed = tmp_path / "opt" / "holoscan" / "app"
    shutil.copytree(staged, installed)  # the packager copies contents, not the folder
    shown = run([str(installed), "run", "--roles", "nonsense"], tmp_path)
    assert shown.returncode == 2, shown.stderr
    assert "receive, work, web" in shown.stderr


def test_child_processes_find_the_program(staged: Path) -> None:
    shown = run(["-m", "app", "--help"], staged)
    assert shown.returncode == 0, shown.stderr
    entry = (staged / "__main__.py").read_text(encoding="utf-8")
    assert "os.chdir(Path(__file__).resolve().parent)" in entry


def test_the_packager_takes_folder_and_settings(staged: Path) -> None:
    parameters = PackageBuildParameters()  # type: ignore[no-untyped-call]  # the packager is half typed
    parameters.application = staged
    assert parameters.application_type.value == "Python Module"
    assert parameters.requirements_file_path == staged / "requirements.txt"
    configuration = ApplicationConfiguration()
    configuration.read(staged.parent / "app.yaml")
    manifest = configuration.populate_app_manifest(parameters)
    assert manifest.version == SOFTWARE_VERSION
    assert manifest.data["input"]["formats"] == ["dicom"]
    assert manifest.data["output"]["formats"] == ["dicom"]
    assert configuration.populate_package_manifest(parameters).resources["memory"]


def test_settings_and_bundles_lie_where_the_program_looks_for_them(staged: Path) -> None:
    assert (staged / "app.yaml").read_bytes() == (ROOT / "app.yaml").read_bytes()
    bundles = {path.relative_to(ROOT) for path in (ROOT / "models" / "bundles").rglob("*") if path.is_file()}
    assert [path for path in bundles if not (staged / path).is_file()] == []


def test_nothing_of_a_build_or_a_test_is_packaged(staged: Path) -> None:
    assert sorted(path.name for path in staged.iterdir()) == [
        "LICENSE", "__main__.py", "app", "app.yaml", "models", "operators", "requirements.txt",
    ]  # fmt: skip
    assert list(staged.rglob("__pycache__")) == []


def test_staging_again_replaces_the_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (stage(out) / "app" / "stale.py").touch()
    assert not (stage(out) / "app" / "stale.py").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(FileExistsError, match="precious"):
        stage(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
