"""The two layers of Triton's cache."""

from pathlib import Path

import pytest

pytest.importorskip("triton")

from triton import knobs
from triton.runtime import build
from triton.runtime.cache import FileCacheManager

from weakpoints.engine.triton_cache import LayeredCache, build_launcher


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The writable layer and the prebuilt one, as the image's environment names them."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "written"))
    monkeypatch.setenv("TRITON_PREBUILT_DIR", str(tmp_path / "prebuilt"))
    return tmp_path / "written", tmp_path / "prebuilt"


def test_what_is_not_written_yet_is_read_from_the_prebuilt_layer(
    layers: tuple[Path, Path],
) -> None:
    written, prebuilt = layers
    (prebuilt / "key").mkdir(parents=True)
    (prebuilt / "key" / "launcher.so").write_bytes(b"from the image")
    cache = LayeredCache("key")
    assert cache.get_file("launcher.so") == str(prebuilt / "key" / "launcher.so")
    assert cache.get_file("kernel.cubin") is None
    cache.put(b"compiled here", "kernel.cubin")
    assert cache.get_file("kernel.cubin") == str(written / "key" / "kernel.cubin")


def test_without_a_prebuilt_layer_it_is_triton_s_own_cache(
    layers: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_PREBUILT_DIR")
    assert LayeredCache("key").get_file("launcher.so") is None
    FileCacheManager("key").put(b"x", "launcher.so")
    assert LayeredCache("key").get_file("launcher.so") is not None


@pytest.mark.skipif(
    not hasattr(build, "compile_so_from_file"), reason="Triton before 3.8 has a C file a kernel"
)
def test_the_launcher_that_was_built_is_the_one_that_triton_asks_for(
    layers: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a stand-in for the C compiler: what counts is the key, which Triton computes twice."""

    def compiler(name: str, source: str, folder: str, *rest: object) -> str:
        (Path(folder) / "built.so").write_bytes(b"machine code")
        return str(Path(folder) / "built.so")

    monkeypatch.setenv("TRITON_LIBCUDA_PATH", str(tmp_path))
    _, prebuilt = layers
    with knobs.build.scope():
        knobs.build.impl = compiler
        built = build_launcher(prebuilt)
    assert built.is_relative_to(prebuilt)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(layers[0]))
    monkeypatch.setenv("TRITON_CACHE_MANAGER", "weakpoints.engine.triton_cache:LayeredCache")
    monkeypatch.setenv("CC", "/nonexistent")
    from triton.backends.nvidia import driver

    found = build.compile_so_from_file(
        src_path=f"{driver.dirname}/driver.c",
        name="cuda_utils",
        library_dirs=driver.library_dirs(),
        include_dirs=driver.include_dirs,
        libraries=driver.libraries,
    )
    assert found == str(built)
