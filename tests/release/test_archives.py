"""What is built has all that git keeps of the packages, and nothing else. On a small project."""

import subprocess
from pathlib import Path

import pytest

from auth.keys import SigningKey
from tests.release.building import build, install, run_carnet
from tests.release.contents import (
    SHIPPED,
    check_sdist,
    check_wheel,
    sdist_files,
    tracked,
    wheel_files,
)
from tests.release.errors import BuildError, ContentsError, ReleaseError, RunError

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "carnet"
version = "1.0.0"
readme = "README.md"
license-files = ["LICENSE"]

[project.scripts]
carnet = "shop:main"

[tool.hatch.build.targets.wheel]
packages = ["shop"]

[tool.hatch.build.targets.sdist]
only-include = ["shop", "CHANGELOG.md"]
"""
PACKAGE = {
    "shop/__init__.py": "import sys\ndef main(): sys.exit(sys.argv[1] != 'demo' and 'no demo')\n",
    "shop/py.typed": "",
    "shop/page/index.html": "<p>tea</p>",
}
OTHERS = {
    **dict.fromkeys(SHIPPED, "text"),
    "pyproject.toml": PROJECT,
    "tests/test_it.py": "",
    "secrets/passphrase": "tea",
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)  # noqa: S603, S607


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout of a small project, with everything added."""
    root = tmp_path / "project"
    write(root, PACKAGE | OTHERS)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    return root


def check(project: Path) -> tuple[str, str]:
    folder = project.parent / "built"
    folder.mkdir()
    sdist, wheel = build(project, folder)
    kept = tracked(project, ["shop"])
    return check_sdist(sdist_files(sdist), kept), check_wheel(wheel_files(wheel), kept)


def test_archives_with_all_that_git_keeps_are_good(project: Path) -> None:
    sdist, wheel = check(project)

    assert (sdist[:14], wheel[:14]) == ("sdist: 7 files", "wheel: 3 files")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('packages = ["shop"]', 'packages = ["shop"]\nexclude = ["*.html"]', "wheel: lacks"),
        ('packages = ["shop"]', 'packages = ["shop"]\nexclude = ["py.typed"]', "wheel: lacks"),
        ('"CHANGELOG.md"]', '"CHANGELOG.md", "tests"]', "sdist: has tests/test_it.py"),
        ('only-include = ["shop", "CHANGELOG.md"]', "", "sdist: has secrets/passphrase"),
        (', "CHANGELOG.md"]', "]", "sdist: lacks CHANGELOG.md"),
    ],
)
def test_what_the_settings_of_the_build_leave_out_or_take_in_is_told(
    project: Path, before: str, after: str, said: str
) -> None:
    assert before in PROJECT
    write(project, {"pyproject.toml": PROJECT.replace(before, after)})

    with pytest.raises(ContentsError) as refused:
        check(project)

    assert said in str(refused.value)


def test_a_wheel_with_tests_in_it_is_refused(project: Path) -> None:
    wider = PROJECT.replace('packages = ["shop"]', 'packages = ["shop", "tests"]')
    write(project, {"pyproject.toml": wider.replace('["shop", "CH', '["shop", "tests", "CH')})
    folder = project.parent / "built"
    folder.mkdir()
    _, wheel = build(project, folder)

    with pytest.raises(ContentsError) as refused:
        check_wheel(wheel_files(wheel), tracked(project, ["shop"]))

    assert "wheel: has tests/test_it.py" in str(refused.value)


def test_a_file_that_git_does_not_keep_is_told(project: Path) -> None:
    write(project, {"shop/notes.txt": "tea"})

    with pytest.raises(ContentsError) as refused:
        check(project)

    assert "has shop/notes.txt, which git does not keep" in str(refused.value)


@pytest.mark.parametrize("name", ["shop/seal.pem", "shop/amqp.url", "shop/.env", "shop/key.txt"])
def test_a_secret_is_refused_also_if_git_keeps_it(project: Path, name: str) -> None:
    SigningKey.generate().save(project / name, None)
    git(project, "add", "--force", ".")

    with pytest.raises(ContentsError) as refused:
        check(project)

    assert str(refused.value) == f"sdist: has a secret in it: {name}"


def test_without_git_nothing_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(ContentsError, match="is no checkout of git"):
        tracked(tmp_path, ["shop"])


def test_what_cannot_be_built_is_told_in_one_line(project: Path) -> None:
    write(project, {"pyproject.toml": PROJECT.replace('version = "1.0.0"', "")})

    with pytest.raises(BuildError) as refused:
        check(project)

    assert "\n" not in str(refused.value)


@pytest.fixture
def installed(project: Path) -> Path:
    """Its wheel in a clean environment."""
    folder = project.parent / "built"
    folder.mkdir()
    _, wheel = build(project, folder)
    requirements = project.parent / "requirements.txt"
    requirements.write_text("")
    return install(wheel, requirements, project.parent / "venv")


def test_the_installed_command_is_run(installed: Path, tmp_path: Path) -> None:
    run_carnet(installed, tmp_path, "demo")


def test_what_the_installed_command_said_last_is_told(installed: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError) as refused:
        run_carnet(installed, tmp_path, "--help")

    assert str(refused.value) == "carnet --help ended with 1: no demo"


def test_a_requirement_that_is_not_locked_is_told(project: Path) -> None:
    """`--no-deps` would not notice; who installs the wheel does."""
    asking = PROJECT.replace('name = "carnet"', 'name = "carnet"\ndependencies = ["rich>=1"]')
    write(project, {"pyproject.toml": asking})
    folder = project.parent / "built"
    folder.mkdir()
    _, wheel = build(project, folder)
    requirements = project.parent / "requirements.txt"
    requirements.write_text("")

    with pytest.raises(ReleaseError, match=r"pip .*ended with 1: .*rich"):
        install(wheel, requirements, project.parent / "venv")
