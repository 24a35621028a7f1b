"""Which stand-in library gets which CUDA symbol."""

from __future__ import annotations

from tests.cluster.cuda_stubs import Stub, plan


def _stubs(needed: list[str], undefined: list[str], defined: list[str] | None = None) -> dict[str, Stub]:
    return {stub.name: stub for stub in plan(needed, undefined, defined or [])}


def test_a_symbol_with_a_library_as_its_version_goes_there() -> None:
    (stub,) = plan(["libcudart.so.13"], ["cudaMalloc@libcudart.so.13"], [])

    assert (stub.version, stub.symbols) == ("libcudart.so.13", {"cudaMalloc"})


def test_a_symbol_without_a_version_goes_to_the_owner_of_the_longest_prefix() -> None:
    stubs = _stubs(["libcublas.so.13", "libcublasLt.so.13"], ["cublasLtMatmul", "cublasSgemm"])

    assert stubs["libcublasLt.so.13"].symbols == {"cublasLtMatmul"}
    assert stubs["libcublas.so.13"].symbols == {"cublasSgemm"}


def test_a_version_that_is_no_library_is_kept() -> None:
    (stub,) = plan(["libnvshmem_host.so.3"], ["nvshmemx_mc_ptr@NVSHMEM"], [])

    assert (stub.version, stub.symbols) == ("NVSHMEM", {"nvshmemx_mc_ptr"})


def test_what_torch_defines_itself_or_others_own_is_left_alone() -> None:
    undefined = ["cudaHelper", "malloc@GLIBC_2.2.5", "nvrtcCompileProgram"]
    (stub,) = plan(["libcudart.so.13"], undefined, ["cudaHelper"])

    assert stub.symbols == set()


def test_a_stub_answers_that_there_is_no_device() -> None:
    assert (
        Stub("libcudart.so.13", symbols={"cudaMalloc"}).source() == "int cudaMalloc(void) { return 100; }\n"
    )
