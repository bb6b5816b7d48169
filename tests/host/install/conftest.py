"""Environments with nnU-Net and our package in each way of installing it, made once a session.

An environment is a fresh venv that borrows everything but our package from the one that runs the tests: its ``.pth``
points to a folder of links to those packages. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
TEST_TIMEOUT_S = 300


@dataclass
class Environment:
    """A venv, and an empty folder to run commands from."""

    folder: Path
    work: Path

    @property
    def site_packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder), "platbase": str(self.folder)}))

    @property
    def scripts(self) -> Path:
        return Path(sysconfig.get_path("scripts", "venv", {"base": str(self.folder), "platbase": str(self.folder)}))

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment, with ``variables`` added to a clean set of them."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "nnUNet", "MASAM"))}
        environment |= {"PATH": f"{self.scripts}{os.pathsep}{os.environ['PATH']}", **variables}
        executable = str(self.scripts / command[0])
        done = subprocess.run(
            [executable, *command[1:]],
            env=environment,
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=TEST_TIMEOUT_S,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def python(self, code: str, *options: str, **variables: str) -> str:
        """Standard output of ``python -c code``."""
        done = self.run("python", *options, "-c", code, **variables)
        return done.stdout.strip()

    def pip(self, *arguments: str) -> None:
        """Run the tests' own pip on this environment."""
        _pip("--python", str(self.scripts / "python"), *arguments)

    def files(self) -> set[str]:
        """What is ours in site-packages and among the scripts, but for compiled files."""
        roots = (self.site_packages, self.scripts)
        return {
            str(path.relative_to(self.folder))
            for root in roots
            for path in root.rglob("*")
            if "__pycache__" not in path.parts and ("masam" in str(path.relative_to(self.folder)).lower())
        }


@pytest.fixture(scope="session")
def borrowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to all installed packages but ours."""
    folder = tmp_path_factory.mktemp("borrowed")
    for entry in [Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]:
        for path in entry.iterdir():
            is_ours = "masam" in path.name.lower() or path.suffix == ".pth" or path.name == "__pycache__"
            if not is_ours and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    if not (folder / "nnunetv2").exists():
        pytest.skip("nnunetv2 is not installed as a regular package here")
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def wheel_archive(wheel: Path) -> Path:
    """The wheel, under the name that goes with :func:`editable_archive`."""
    return wheel


@pytest.fixture(scope="session")
def editable_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that ``pip install -e .`` makes and installs."""
    build = pytest.importorskip("hatchling.build", reason="hatchling builds the package: nnunetv2-masam[dev]")
    folder = tmp_path_factory.mktemp("editable_wheel")
    with contextlib.chdir(REPOSITORY) if sys.version_info >= (3, 11) else contextlib.nullcontext():
        return folder / build.build_editable(str(folder))


@pytest.fixture(scope="session")
def from_wheel(wheel: Path, borrowed: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """nnU-Net and our wheel."""
    return _environment(tmp_path_factory.mktemp("from_wheel"), borrowed, [str(wheel)])


@pytest.fixture(scope="session")
def editable(borrowed: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """nnU-Net and ``pip install -e .``."""
    return _environment(tmp_path_factory.mktemp("editable"), borrowed, ["--no-build-isolation", "-e", str(REPOSITORY)])


@pytest.fixture(params=["from_wheel", "editable"])
def installed(request: pytest.FixtureRequest) -> Environment:
    """Either way of installing."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def removable(wheel: Path, borrowed: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment of the module's own, to take things away from."""
    return _environment(tmp_path_factory.mktemp("removable"), borrowed, [str(wheel)])


def _environment(folder: Path, borrowed: Path, what: Sequence[str]) -> Environment:
    environment = Environment(folder / "venv", folder / "empty")
    environment.work.mkdir()
    venv.create(environment.folder, with_pip=False, symlinks=os.name != "nt")
    (environment.site_packages / "borrowed.pth").write_text(f"{borrowed}\n")
    environment.pip("install", "--no-deps", "--no-index", *what)
    return environment


def _pip(*arguments: str) -> None:
    for module in ("pip", "hatchling"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is needed to install the package here: pip install nnunetv2-masam[dev]")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TEST_TIMEOUT_S, check=False)
    if done.returncode:
        pytest.fail(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
