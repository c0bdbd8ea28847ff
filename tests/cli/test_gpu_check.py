"""launch/gpu_check.sh as far as a machine without a GPU goes."""
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

from support import BIN, MPIRUN, expect

SCRIPT = pathlib.Path(MPIRUN).with_name("gpu_check.sh")
HAS_GPU = bool(shutil.which("nvidia-smi")) and b"GPU" in subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout
NEEDS_PROGRAM = unittest.skipUnless((BIN / "gpu_img2img").exists(), "the benchmarks are not built: cmake --build build/release --target gpu_img2img")


def check(*arguments, **env):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "SYNCDR_BIN": str(BIN), **env}
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=500, env=env)


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-gpu-check-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    @unittest.skipIf(HAS_GPU, "this machine has a GPU: run launch/gpu_check.sh itself")
    def test_without_a_gpu_it_says_so_and_runs_nothing(self):
        expect(check(SYNCDR_BIN="/nowhere"), 0, "no GPU here: nothing was run")

    def test_an_unknown_option_is_answered_with_the_usage(self):
        expect(check("--bundel"), 2, "usage: launch/gpu_check.sh")

    @NEEDS_PROGRAM
    def test_all_steps_pass_with_a_small_model_on_the_cpu(self):
        done = check("--device", "cpu")
        expect(done, 0, "parity img2img fp32", "parity instruct bf16", "images/s", "decoding")
        self.assertNotIn("FAILED", done.stdout)

    @NEEDS_PROGRAM
    @unittest.skipIf(HAS_GPU, "this machine has a GPU")
    def test_steps_that_fail_are_rows_and_the_others_still_run(self):
        smi = self.folder / "nvidia-smi"
        smi.write_text("#!/bin/sh\necho 'GPU 0: none'\n")
        smi.chmod(0o755)
        done = check(PATH=f"{self.folder}:{os.environ['PATH']}")
        expect(done, 1)
        for step in ("start", "parity", "speed"):
            self.assertRegex(done.stdout, rf"(?m)^{step} +FAILED .*LibTorch sees 0 of them here")

    @NEEDS_PROGRAM
    def test_a_bundle_holds_program_and_libraries_but_not_libtorch(self):
        bundle = self.folder / "bundle.tar.gz"
        expect(check("--bundle", bundle), 0)
        self.assertLess(bundle.stat().st_size, 64 << 20)
        with tarfile.open(bundle) as archive:
            names = {pathlib.PurePath(name).name for name in archive.getnames()}
        self.assertLessEqual({"gpu_img2img", "gpu_check.sh", "gpu_img2img_diffusers.py"}, names)
        self.assertFalse([name for name in names if name.startswith(("libtorch", "libc10", "libcud", "libcublas", "libc.so", "libstdc++", "ld-linux"))])


if __name__ == "__main__":
    unittest.main()
