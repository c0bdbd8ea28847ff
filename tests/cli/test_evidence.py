"""The table of several seeds' runs, and the script that makes them."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def figures(mean, low=None, high=None):
    return {"prec@1": {"a_to_b": mean + 0.01, "b_to_a": mean - 0.01, "mean": mean, "a_to_b_interval": [0, 1], "b_to_a_interval": [0, 1],
                       "mean_interval": [low if low is not None else 0, high if high is not None else 1]}}


def metrics(seed):
    cds = {"title": "CDS", **figures(0.10 + 0.01 * seed)}
    cut = {"title": "SynCDR, CUT", **figures(0.20), "vs_cds": figures(0.10 - 0.01 * seed, 0.05 - 0.03 * seed, 0.15)}
    untrained = {"title": "Encoder untrained", **figures(0.3), "vs_cds": figures(0.2, 0.1, 0.3)}
    return {"protocol": "Prec@k, split test", "cds": cds, "syncdr": cut, "controls": {"untrained": untrained}}


class Evidence(unittest.TestCase):
    def test_the_table_has_means_over_seeds_and_counts_of_intervals(self):
        with tempfile.TemporaryDirectory() as name:
            folders = []
            for seed in range(3):
                folder = pathlib.Path(name) / f"seed-{seed}"
                folder.mkdir()
                (folder / "metrics.json").write_text(json.dumps(metrics(seed)))
                folders.append(folder)
            table = subprocess.run(["python3", PROJECT / "launch/evidence_table.py", *folders], capture_output=True, text=True, check=True).stdout
        lines = table.splitlines()
        self.assertEqual(lines[0], "| trained with | mean Prec@1, % | a_to_b | b_to_a | to cds | to untrained |")
        self.assertEqual(lines[2], "| CDS | 11.0 ± 1.0 | 12.0 ± 1.0 | 10.0 ± 1.0 |  |  |")
        # Of the three intervals of CUT's difference two lie above 0: they begin at 5, 2 and -1 points.
        self.assertEqual(lines[3], "| SynCDR, CUT | 20.0 ± 0.0 | 21.0 ± 0.0 | 19.0 ± 0.0 | 9.0 ± 1.0 (2 above, 0 below, of 3) |  |")
        self.assertIn("3 seeds, mean ± standard deviation. Prec@k, split test.", lines[-1])

    def test_wrong_use_is_said_with_the_usage(self):
        for arguments in ([], ["a.toml", "b.toml"], ["a.toml", "--seeds", "none"], ["--unknown"]):
            process = subprocess.run([PROJECT / "launch/evidence.sh", *arguments], capture_output=True, text=True, env=os.environ)
            self.assertEqual(process.returncode, 2, arguments)
            self.assertIn("usage: launch/evidence.sh CONFIG", process.stderr)


if __name__ == "__main__":
    unittest.main()
