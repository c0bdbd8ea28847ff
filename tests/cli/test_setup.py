"""launch/setup.sh: what it would install can be had from this system's package lists, and its two Pythons hold what they should."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest
import zipfile

from support import MPIRUN

SETUP = pathlib.Path(MPIRUN).with_name("setup.sh")
REQUIREMENTS = [SETUP.parents[1] / "tests" / "parity" / name for name in ("requirements.txt", "requirements-next.txt")]


def write_wheel(folder, name, version):
    """A package that holds its own version and nothing else."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", f"__version__ = '{version}'\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Setup(unittest.TestCase):
    @unittest.skipUnless(shutil.which("apt-cache"), "this system has no apt")
    def test_every_package_it_names_has_a_candidate(self):
        names = subprocess.run([SETUP, "--print", "--tests"], capture_output=True, text=True, check=True).stdout.split()
        self.assertGreater(len(names), 30)
        policy = subprocess.run(["apt-cache", "policy", *names], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
        candidates = dict(re.findall(r"^(\S+):\n  Installed: .*\n  Candidate: (.*)$", policy, re.M))
        self.assertEqual([name for name in names if candidates.get(name, "(none)") == "(none)"], [])

    def test_a_wrong_option_is_answered_with_the_usage(self):
        done = subprocess.run([SETUP, "--test"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage: launch/setup.sh", done.stderr)

    def test_the_second_python_has_the_next_originals_and_no_torch_of_its_own(self):
        """With wheels that are empty but for their versions, so that nothing is downloaded."""
        folder = tempfile.TemporaryDirectory(prefix="syncdr-setup-")
        self.addCleanup(folder.cleanup)
        wheels, empty, programs, cache = (pathlib.Path(folder.name) / name for name in ("wheels", "empty", "programs", "cache"))
        for path in (wheels, empty, programs):
            path.mkdir()
        (programs / "df").write_text("#!/bin/sh\nprintf 'room\\n/ 0 0 99999 0 /\\n'\n")  # it needs none here
        (programs / "df").chmod(0o755)
        text = SETUP.read_text()
        torch = re.search(r"^TORCH_VERSION=(\S+)$", text, re.M).group(1)
        pinned = [dict(re.findall(r"^([\w-]+)==(\S+)$", path.read_text(), re.M)) for path in REQUIREMENTS]
        for name, version in [("torch", torch), ("numpy", "2.0"), *re.findall(r"(nvidia[\w-]+)==([\d.]+)", text), *pinned[0].items(), *pinned[1].items()]:
            write_wheel(wheels, name, version)

        def setup(links):
            environment = {name: value for name, value in os.environ.items() if name.lower() not in ("libtorch", "torch_dir", "pythonpath")}
            environment.update(SYNCDR_CACHE=str(cache), PIP_NO_INDEX="1", PIP_FIND_LINKS=str(links), PIP_CONFIG_FILE=os.devnull,
                               PATH=f"{programs}:{os.environ['PATH']}")
            done = subprocess.run([SETUP, "--tests", "--no-packages"], capture_output=True, text=True, env=environment, timeout=500)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return done.stdout

        def seen(python, name):
            module = name.replace("-", "_")
            code = f"import {module}; print({module}.__version__, {module}.__file__)"
            return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=folder.name).stdout.split()

        def compare():
            for python, versions in ((first, pinned[0]), (second, pinned[1])):
                for name, version in versions.items():
                    self.assertEqual(seen(python, name)[0], version, f"{name} in {python}")
            self.assertEqual(seen(second, "torch"), seen(first, "torch"))

        first, second = (cache / f"torch-{torch}{more}" / "bin" / "python" for more in ("", "-next"))
        setup(wheels)
        compare()
        self.assertEqual(sorted(pinned[0].keys() & pinned[1].keys()), sorted(pinned[1]))  # each has a counterpart that it must hide
        self.assertNotIn("installing", setup(empty))  # what is there is kept
        shutil.rmtree(next(second.parents[1].glob("lib/python3*/site-packages/diffusers")))
        (second.parents[1] / "complete").write_text("half\n")
        self.assertIn("installing", setup(wheels))
        compare()


if __name__ == "__main__":
    unittest.main()
