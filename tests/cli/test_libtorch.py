"""launch/cmake/FindLibTorch.cmake: which of a user's LibTorch folders is taken, told from folders that hold only what it looks at."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from support import MPIRUN

MODULES = pathlib.Path(MPIRUN).with_name("cmake")
PROJECT = """cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
list(APPEND CMAKE_MODULE_PATH "{modules}")
find_package(LibTorch REQUIRED)
message(STATUS "taken: ${{LibTorch_ROOT}} ${{LibTorch_VERSION}} ${{LibTorch_HAS_CUDA}}")
"""


class FindLibTorch(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-libtorch-"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "CMakeLists.txt").write_text(PROJECT.format(modules=MODULES))

    def libtorch(self, name, version="2.11.0", libraries=("torch_cpu", "c10")):
        root = self.folder / name
        for file in ["include/ATen/ATen.h", *(f"lib/lib{library}.so" for library in libraries)]:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
        (root / "include/torch/csrc/api/include").mkdir(parents=True)
        header = root / "include/torch/headeronly/version.h"
        header.parent.mkdir()
        header.write_text("".join(f"#define TORCH_VERSION_{part} {number}\n" for part, number in zip(("MAJOR", "MINOR", "PATCH"), version.split("."))))
        return root

    def configure(self, *settings, **environment):
        names = ("LIBTORCH", "Torch_DIR", "TORCH_DIR", "CUDA_HOME")
        clean = {name: value for name, value in os.environ.items() if name not in names}
        done = subprocess.run(["cmake", "-G", "Ninja", "-S", self.folder, "-B", tempfile.mkdtemp(dir=self.folder), *(f"-D{setting}" for setting in settings)],
                              capture_output=True, text=True, env={**clean, **{name: str(value) for name, value in environment.items()}})
        return done.returncode, done.stdout + done.stderr

    def expect(self, root, version, has_cuda, *settings, **environment):
        code, said = self.configure(*settings, **environment)
        self.assertEqual(code, 0, said)
        self.assertIn(f"taken: {root} {version} {has_cuda}\n", said)
        return said

    def test_a_folder_is_named_by_any_of_three_variables(self):
        root = self.libtorch("one")
        for name, value in (("LIBTORCH", root), ("Torch_DIR", root / "share/cmake/Torch"), ("TORCH_DIR", root / "share/cmake/Torch")):
            self.expect(root, "2.11.0", "FALSE", f"{name}={value}")
            self.expect(root, "2.11.0", "FALSE", **{name: value})

    def test_the_first_of_several_is_taken(self):
        first, second, third = (self.libtorch(name) for name in ("first", "second", "third"))
        packages = {"Torch_DIR": second / "share/cmake/Torch", "TORCH_DIR": third / "share/cmake/Torch"}
        self.expect(second, "2.11.0", "FALSE", **packages)
        self.expect(first, "2.11.0", "FALSE", LIBTORCH=first, **packages)
        self.expect(third, "2.11.0", "FALSE", f"LIBTORCH={third}", LIBTORCH=first)

    def test_an_installed_one_is_found_in_the_cache_where_none_is_named(self):
        root = self.libtorch("cache/torch-2.11.0/lib/python3.11/site-packages/torch")
        self.expect(root, "2.11.0", "FALSE", SYNCDR_CACHE=self.folder / "cache")

    def test_a_newer_one_than_any_tried_is_taken_and_an_older_one_is_not(self):
        self.assertIn("newer than", self.expect(self.libtorch("new", "3.0.1"), "3.0.1", "FALSE", LIBTORCH=self.folder / "new"))
        code, said = self.configure(LIBTORCH=self.libtorch("old", "2.10.1"))
        self.assertNotEqual(code, 0)
        self.assertIn("is older than 2.11.0", " ".join(said.split()))

    def test_what_is_no_libtorch_is_refused_with_what_to_do(self):
        code, said = self.configure(LIBTORCH=self.folder / "nowhere")
        self.assertNotEqual(code, 0)
        self.assertIn("Run launch/setup.sh, or point LIBTORCH", " ".join(said.split()))

    def test_cuda_libraries_without_cuda_headers_are_a_warning(self):
        root = self.libtorch("cuda", libraries=("torch_cpu", "c10", "torch_cuda", "c10_cuda"))
        self.assertIn("neither NCCL nor CUDA graphs", " ".join(self.expect(root, "2.11.0", "", LIBTORCH=root).split()))


if __name__ == "__main__":
    unittest.main()
