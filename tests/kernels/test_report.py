"""No kernel spills, and the main loops load 128 bits at a time, on every architecture that nvcc knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from callm_kernels import architectures, report, sass, sources
from callm_kernels.compilers import Nvcc
from callm_kernels.report import Row

REPORT = Path(__file__).resolve().parents[2] / "docs" / "kernels_report.md"
# As nvdisasm prints it: a loop of one wide load and a narrow one, and a load after it.
LISTING = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDG.E.128.CONSTANT R4, [R2.64] ;
        /*0020*/              @!P1 LDG.E.U8 R9, desc[UR4][R2.64] ;
        /*0030*/               @P0 BRA `(.L_x_1) ;
        /*0040*/                   LD.E.64 R4, [R2.64] ;
        /*0050*/                   EXIT ;
.L_x_2:
        /*0060*/                   BRA `(.L_x_2);
"""


def test_the_report_is_of_these_sources_and_of_every_architecture_nvcc_knows() -> None:
    text = REPORT.read_text()
    assert report.content() in text, "the kernels have changed: run `make kernels-report`"
    found = {(row.kernel, row.architecture) for row in report.from_markdown(text)}
    assert found == {
        (entry, architecture)
        for entries in sources.ENTRIES.values()
        for entry in entries
        for architecture in architectures.NAMES
    }


def test_nothing_spills_and_the_main_loops_load_128_bits() -> None:
    assert [fault for row in report.from_markdown(REPORT.read_text()) for fault in row.faults()] == []


def test_the_compiler_here_still_says_so(request: pytest.FixtureRequest) -> None:
    """For Orin, built anew. Kept between test runs for as long as sources and compiler stay the same."""
    try:
        nvcc = Nvcc()
    except FileNotFoundError as error:
        pytest.skip(f"registers and loads are read from what nvcc builds: {error}")
    if (tool := sass.disassembler()) is None:
        pytest.skip("loads are read from the disassembly: nvdisasm is not here (package nvidia-cuda-nvdisasm)")
    cache = request.config.cache
    assert cache is not None
    key = f"kernels_report/sm_87-{report.content()}-{nvcc.toolkit.replace(' ', '-')}"
    text = cache.get(key, None)
    if text is None:
        text = report.to_markdown(report.examine_all(nvcc, tool, ["sm_87"]), nvcc.toolkit)
        cache.set(key, text)
    rows = report.from_markdown(text)
    assert {row.architecture for row in rows} == {"sm_87"}
    assert [fault for row in rows for fault in row.faults()] == []


def test_faults_are_named() -> None:
    row = Row("gptq_gemv_m1", "sm_87", 255, 16, 1024, 3, 9)
    assert row.faults() == [
        "gptq_gemv_m1 on sm_87: 16 bytes spill",
        "gptq_gemv_m1 on sm_87: 3 loads of 128 bits in its loops, 4 expected",
        "gptq_gemv_m1 on sm_87: 9 narrower loads beside them, 4 expected",
    ]
    assert report.from_markdown(report.to_markdown([row], "nvcc")) == [row]


def test_loads_are_counted_by_width_in_the_loop_they_stand_in() -> None:
    function = sass.parse(LISTING)["kernel"]
    assert function.loads_in_loops() == {(0x10, 0x30): [128, 8]}
    assert function.loads[2] == (0x40, 64, False)


def test_the_form_that_silently_loads_narrow_is_told_apart(tmp_path: Path) -> None:
    """A struct of eight halves, 16-byte aligned, is loaded in pieces; uint4 is not. The report must tell which."""
    try:
        nvcc = Nvcc()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    if (tool := sass.disassembler()) is None:
        pytest.skip("nvdisasm is not here (package nvidia-cuda-nvdisasm)")
    source = tmp_path / "loads.cu"
    source.write_text("""
        #include <cuda_fp16.h>
        struct alignas(16) Halves { __half2 h[4]; };
        extern "C" __global__ void pieces(const Halves* in, float* out, int n) {
            float sum = 0;
            for (int i = threadIdx.x; i < n; i += 256) {
                const Halves v = in[i];
                for (int j = 0; j < 4; ++j) sum += __low2float(v.h[j]) + __high2float(v.h[j]);
            }
            out[threadIdx.x] = sum;
        }
        extern "C" __global__ void whole(const uint4* in, float* out, int n) {
            float sum = 0;
            for (int i = threadIdx.x; i < n; i += 256) {
                const uint4 v = in[i];
                const unsigned words[4] = {v.x, v.y, v.z, v.w};
                for (int j = 0; j < 4; ++j) sum += (float)(words[j] & 0xffff) + (float)(words[j] >> 16);
            }
            out[threadIdx.x] = sum;
        }
    """)
    cubin = tmp_path / "loads.cubin"
    import subprocess

    subprocess.run([nvcc.path, "-cubin", "-arch=sm_87", "-std=c++17", "-o", cubin, source], check=True)
    functions = sass.disassemble(cubin.read_bytes(), tool)
    widths = {name: {bits for _, bits, _ in function.loads} for name, function in functions.items()}
    assert 128 in widths["whole"]
    assert 128 not in widths["pieces"]
