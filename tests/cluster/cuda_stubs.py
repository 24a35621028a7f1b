"""Stand-ins for the CUDA libraries, so that PyPI's torch runs on a machine without a GPU. For tests only.

torch's wheel for Linux is linked against NVIDIA's libraries and does not import without them, yet on a CPU
it calls next to nothing in them. In place of gigabytes of wheels this makes, with gcc, one small shared
object for each library, with its name and symbol versions; every function in it returns `cudaErrorNoDevice`.
A production image has the real libraries.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.command import run

_NO_DEVICE = 100  # cudaErrorNoDevice
_NVIDIA = re.compile(r"lib(cu|nccl|nv).*\.so")
# libcuda comes with the driver and is loaded on demand; a hash in the name marks a library inside the wheel.
_PROVIDED = re.compile(r"libcuda\.so|\.[0-9a-f]{8}\.")
# Whose a symbol is that no version tells: the longest prefix that fits.
_OWNER = {
    "__cuda": "libcudart",
    "cuFile": "libcufile",
    "cublas": "libcublas",
    "cublasLt": "libcublasLt",
    "cuda": "libcudart",
    "cudnn": "libcudnn",
    "cufft": "libcufft",
    "cupti": "libcupti",
    "curand": "libcurand",
    "cusolver": "libcusolver",
    "cusparse": "libcusparse",
    "cusparseLt": "libcusparseLt",
    "nccl": "libnccl",
    "nvJit": "libnvJitLink",
    "nvrtc": "libnvrtc",
    "nvshmem": "libnvshmem_host",
    "pnccl": "libnccl",
}


@dataclass
class Stub:
    """A library to make: its file name, its symbols, and the version they carry, if they do."""

    name: str
    version: str = ""
    symbols: set[str] = field(default_factory=set)

    def source(self) -> str:
        functions = [f"int {symbol}(void) {{ return {_NO_DEVICE}; }}" for symbol in sorted(self.symbols)]
        return "\n".join(functions) + "\n"


def install(site_packages: Path) -> list[str]:
    """Make every NVIDIA library that torch and torchvision in `site_packages` need; return their names."""
    libraries = [*site_packages.glob("torch/lib/lib*.so"), *site_packages.glob("torchvision/*.so")]
    needed = {name for library in libraries for name in _needed(library)}
    undefined, defined = _symbols(libraries)
    stubs = plan(needed, undefined, defined)
    for stub in stubs:
        _compile(stub, site_packages / "torch" / "lib")
    return [stub.name for stub in stubs]


def plan(needed: Iterable[str], undefined: Iterable[str], defined: Iterable[str]) -> list[Stub]:
    """A library for each name in `needed`, with those `undefined` symbols (`name[@version]`) that it owes."""
    stubs = {name: Stub(name) for name in sorted(needed)}
    by_stem = {name.partition(".so")[0]: stub for name, stub in stubs.items()}
    known = set(defined)
    for entry in undefined:
        symbol, _, version = entry.partition("@")
        # Most of these libraries version their symbols with their own file name.
        stub = stubs.get(version) or (None if symbol in known else _owner(symbol, by_stem))
        if stub:
            stub.version = version or stub.version
            stub.symbols.add(symbol)
    return list(stubs.values())


def _owner(symbol: str, by_stem: Mapping[str, Stub]) -> Stub | None:
    prefixes = sorted((p for p in _OWNER if symbol.startswith(p)), key=len, reverse=True)
    return by_stem.get(_OWNER[prefixes[0]]) if prefixes else None


def _needed(library: Path) -> set[str]:
    names = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--dynamic", "--wide", str(library)))
    return {name for name in names if _NVIDIA.match(name) and not _PROVIDED.search(name)}


def _symbols(libraries: Iterable[Path]) -> tuple[set[str], set[str]]:
    """The undefined and the defined dynamic symbols of all libraries together."""
    undefined: set[str] = set()
    defined: set[str] = set()
    for library in libraries:
        for line in run("nm", "--dynamic", str(library)).splitlines():
            kind, name = line[16:].split()[:2]
            if kind == "U":
                undefined.add(name)
            else:
                defined.add(name.partition("@")[0])
    return undefined, defined


def _compile(stub: Stub, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, versions = Path(scratch) / "stub.c", Path(scratch) / "stub.map"
        source.write_text(stub.source())
        flags = ["-w", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{stub.name}"]
        if stub.version:
            versions.write_text(f"{stub.version} {{ global: *; }};\n")
            flags.append(f"-Wl,--version-script={versions}")
        run("gcc", *flags, "-o", str(folder / stub.name), str(source))
