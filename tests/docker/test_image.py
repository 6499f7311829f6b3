"""The image's build context is enough to install the package, and the installed package runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


PINNED = re.compile(r"[a-z/]+:v?[0-9][\w.-]*@sha256:[0-9a-f]{64}")


def test_every_foreign_image_is_pinned_by_version_and_digest() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    images = set(re.findall(r"^ +image: (\S+)$", compose, re.MULTILINE)) - {"nomad-actors"}
    images |= set(re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert len(images) == 6
    assert [image for image in images if not PINNED.fullmatch(image)] == []


def copied() -> list[str]:
    """Return the paths that the Dockerfile copies from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return [word for line in lines for word in line.split()]


def test_the_context_is_exactly_what_the_dockerfile_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    included = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[1] == "*"
    assert sorted(included) == sorted(copied())


def test_the_package_installs_from_the_context_alone(tmp_path: Path) -> None:
    context, target = tmp_path / "context", tmp_path / "site"
    context.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, context)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    # The dependencies are those of this environment; the package itself comes from the context, not from the checkout.
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(context)], check=True)
    program = (
        "import admin, nomad_actors, pathlib; from nomad_actors.broker.scripts import scripts; assert scripts(); "
        "from nomad_actors.store import Store, TokenCipher; from nomad_actors.clock import SystemClock; "
        "store = Store('sqlite:///nomad.db', cipher=TokenCipher(['k']), clock=SystemClock()); store.migrate(); "
        "assert (pathlib.Path(admin.__file__).parent / 'templates/base.html').exists(); print(nomad_actors.__file__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(target))
