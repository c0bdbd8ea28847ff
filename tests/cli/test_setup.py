"""launch/setup.sh: what it would install can be had from this system's package lists."""
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from support import MPIRUN

SETUP = pathlib.Path(MPIRUN).with_name("setup.sh")


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


if __name__ == "__main__":
    unittest.main()
