"""Triton's cache in two layers, so that a container without a C compiler can launch kernels.

Triton compiles one C file, its launcher, on the first launch. The image brings it ready made:

    python triton_cache.py FOLDER    # in the build stage, where gcc is

At run time `TRITON_CACHE_MANAGER=weakpoints.engine.triton_cache:LayeredCache` looks into that
folder (`TRITON_PREBUILT_DIR`, read-only, on a file system that may execute) where
`TRITON_CACHE_DIR` (writable, may be noexec: compiled kernels are only read) has no such file.
Triton's key holds the folder of libcuda: `TRITON_LIBCUDA_PATH` must be the same both times.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from triton.backends.nvidia import driver
from triton.runtime.cache import FileCacheManager


class LayeredCache(FileCacheManager):  # type: ignore[misc]  # Triton ships no types
    """Reads from the writable layer, then from the prebuilt one; writes to the first."""

    def get_file(self, filename: str) -> str | None:
        """The path of a cached file; None where neither layer has it."""
        path: str | None = super().get_file(filename)
        prebuilt = Path(os.environ.get("TRITON_PREBUILT_DIR", ""), self.key, filename)
        return path or (str(prebuilt) if prebuilt.is_file() else None)


def build_stub(folder: Path) -> None:
    """Compile a `libcuda.so.1` that does nothing, to link against where no driver is."""
    source = Path(driver.dirname, "driver.c").read_text()
    names = sorted(set(re.findall(r"\bcu[A-Z][A-Za-z0-9]*\b", source)))
    functions = "".join(f"int {name}(void) {{ return 0; }}\n" for name in names)
    folder.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-x", "c", "-"]
    library = str(folder / "libcuda.so.1")
    subprocess.run([*command, "-o", library], input=functions, text=True, check=True)


def build_launcher(folder: Path) -> Path:
    """Compile Triton's launcher into `folder`, under the key that Triton will ask for.

    Needs gcc, the Python headers and a `libcuda.so.1` in TRITON_LIBCUDA_PATH.
    """
    # Not every version that may run here has it; the image's, which calls this, is pinned.
    from triton.runtime.build import compile_so_from_file

    os.environ["TRITON_CACHE_DIR"] = str(folder)
    return Path(
        compile_so_from_file(
            src_path=os.path.join(driver.dirname, "driver.c"),
            name="cuda_utils",
            library_dirs=driver.library_dirs(),
            include_dirs=driver.include_dirs,
            libraries=driver.libraries,
        )
    )


if __name__ == "__main__":
    build_stub(Path(os.environ["TRITON_LIBCUDA_PATH"]))
    print(build_launcher(Path(sys.argv[1])))
