"""The script that installs the peers, on a distribution of this test's own: what it asks for; and it starts nothing."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

SCRIPT = ROOT / "deploy" / "setup" / "peers.sh"
COMMANDS = ("sh", "env", "grep", "rm", "tee", "chmod", "cat")

APT_GET = """#!/bin/sh
case $1 in
update) exit 0 ;;
esac
cat "{policy}" >"{folder}/policy-seen" 2>/dev/null
for word in "$@"; do
    case $word in
    install | -*) ;;
    *)
        echo "$word" >>"{folder}/installed"
        [ "$word" = dcmtk ] && printf '#!/bin/sh\\n' >"{folder}/bin/storescu" && chmod 755 "{folder}/bin/storescu"
        [ "$word" = orthanc ] && printf '#!/bin/sh\\n' >"{folder}/bin/Orthanc" && chmod 755 "{folder}/bin/Orthanc"
        ;;
    esac
done
exit {code}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A machine that has nothing but a shell and a package manager."""

    folder: Path

    @property
    def policy(self) -> Path:
        return self.folder / "policy-rc.d"

    def put(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def apt(self, code: int = 0) -> None:
        self.put("apt-get", APT_GET.format(policy=self.policy, folder=self.folder, code=code))

    def run(self, *packages: str) -> subprocess.CompletedProcess[str]:
        script = self.folder / "peers.sh"
        text = SCRIPT.read_text(encoding="utf-8").replace("/usr/", f"{self.folder}/usr/")
        script.write_text(text.replace(f"{self.folder}/usr/sbin/policy-rc.d", str(self.policy)), encoding="utf-8")
        environment = {"PATH": str(self.folder / "bin")}
        command = [str(self.folder / "bin" / "sh"), str(script), *packages]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def told(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def system(tmp_path: Path) -> System:
    (tmp_path / "bin").mkdir()
    for command in COMMANDS:
        found = shutil.which(command)
        assert found is not None
        (tmp_path / "bin" / command).symlink_to(found)
    made = System(folder=tmp_path)
    made.put("id", "#!/bin/sh\necho 0\n")
    made.put("systemctl", f'#!/bin/sh\necho "$@" >>"{tmp_path}/systemctl"\n')
    made.apt()
    return made


def test_only_what_is_asked_for_is_installed(system: System) -> None:
    ended = system.run("dcmtk")
    assert (ended.returncode, system.told("installed")) == (0, ["dcmtk"])
    assert system.told("systemctl") == []
    assert system.run("dcmtk").returncode == 0
    assert system.told("installed") == ["dcmtk"]


def test_no_service_is_started_and_the_guard_is_taken_away_again(system: System) -> None:
    assert system.run("orthanc").returncode == 0
    assert system.told("policy-seen")[-1] == "exit 101"
    assert not system.policy.exists()
    assert system.told("systemctl") == ["disable orthanc"]


def test_a_guard_of_somebody_else_stays(system: System) -> None:
    system.policy.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    assert system.run("orthanc").returncode == 0
    assert system.told("policy-rc.d") == ["#!/bin/sh", "exit 0"]


def test_a_guard_that_was_left_behind_is_taken_away(system: System) -> None:
    mark = next(line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith("mark="))
    system.policy.write_text(f"#!/bin/sh\n# {mark[6:-1]}\nexit 101\n", encoding="utf-8")
    assert system.run("orthanc").returncode == 0
    assert not system.policy.exists()


@pytest.mark.parametrize("code", [0, 100])
def test_what_cannot_be_installed_is_told_in_one_line(system: System, code: int) -> None:
    system.apt(code)
    ended = system.run("dcmtk", "poppler-utils")  # this distribution's poppler-utils brings nothing
    assert ended.returncode == 3
    missing = [line for line in ended.stderr.splitlines() if line.startswith("missing:")]
    assert len(missing) == 1
    assert "poppler-utils" in missing[0]
    assert not system.policy.exists()


def test_who_may_not_install_is_told_what_to(system: System) -> None:
    system.put("id", "#!/bin/sh\necho 1000\n")
    ended = system.run("dcmtk")
    assert ended.returncode == 3
    assert ended.stderr.splitlines() == [
        "missing: dcmtk - install them with your package manager (Debian: apt-get install dcmtk)"
    ]


def test_a_system_of_another_kind_is_told(system: System) -> None:
    (system.folder / "bin" / "apt-get").unlink()
    ended = system.run("dcmtk")
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)


def test_a_peer_that_is_none_is_a_wrong_usage(system: System) -> None:
    assert system.run("dcmtk", "nonsense").returncode == 2
    assert system.told("installed") == []


def test_the_checks_of_a_change_fail_without_peers(system: System, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    dirname = shutil.which("dirname")
    assert bash is not None
    assert dirname is not None
    (system.folder / "bin" / "dirname").symlink_to(dirname)
    system.put("make", f'#!/bin/sh\necho "$@" >>"{tmp_path}/made"\n')
    copy = tmp_path / "copy"
    (copy / ".ci").mkdir(parents=True)
    (copy / "deploy" / "setup").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", copy / ".ci" / "run")
    (copy / "deploy" / "setup" / "peers.sh").write_text("exit 3\n", encoding="utf-8")
    environment = {"PATH": str(system.folder / "bin")}
    ended = subprocess.run([bash, str(copy / ".ci" / "run")], env=environment, capture_output=True, check=False)
    assert (ended.returncode, system.told("made")) == (3, [])
