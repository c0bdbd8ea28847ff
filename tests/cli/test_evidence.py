"""The table of several seeds' runs, and the script that makes them."""
import json
import math
import os
import pathlib
import statistics
import subprocess
import tempfile
import unittest

PROJECT = pathlib.Path(__file__).resolve().parents[2]


# Right first neighbours of CUT's queries, by seed and direction; CDS and the encoder untrained find the same in all runs.
CUT = [{"a_to_b": [1, 1, 1, 0], "b_to_a": [1, 1]}, {"a_to_b": [1, 1, 0, 0], "b_to_a": [1, 0]}, {"a_to_b": [1, 1, 1, 1], "b_to_a": [1, 1]}]
CDS = {"a_to_b": [1, 0, 0, 0], "b_to_a": [0, 1]}
CATEGORIES = {"a_to_b": [0, 0, 1, 1], "b_to_a": [0, 1]}


def figures(hits):
    shares = {direction: statistics.mean(found) for direction, found in hits.items()}
    return {"prec@1": {**shares, "mean": statistics.mean(shares.values()), "mean_interval": [0, 1]}}


def write_run(folder, seed, unit):
    folder.mkdir()
    metrics = {"protocol": "Prec@k, split test", "settings": {"cutoffs": [1]}, "cds": {"title": "CDS", **figures(CDS)}, "syncdr": {"title": "SynCDR, CUT", **figures(CUT[seed])},
               "controls": {"untrained": {"title": "Encoder untrained", **figures(CDS)}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    at_1 = lambda hits: {direction: {"prec@1": found} for direction, found in hits.items()}
    hits = {"unit": unit, "categories": CATEGORIES, "possible": at_1({direction: [1] * len(found) for direction, found in CDS.items()}),
            "correct": {"CDS": at_1(CDS), "SynCDR, CUT": at_1(CUT[seed]), "Encoder untrained": at_1(CDS)}}
    (folder / "hits.json").write_text(json.dumps(hits))
    return folder


class Evidence(unittest.TestCase):
    def table(self, folder, unit, *arguments, code=0):
        folders = [write_run(folder / f"{unit}-{seed}", seed, unit) for seed in range(3)]
        result = subprocess.run(["python3", PROJECT / "launch/evidence_table.py", *arguments, *folders], capture_output=True, text=True)
        self.assertEqual(result.returncode, code, result.stderr)
        return (result.stderr if code else result.stdout).splitlines()

    def test_differences_are_of_the_same_queries_averaged_over_seeds(self):
        gained = {direction: [statistics.mean(seed[direction][query] for seed in CUT) - CDS[direction][query] for query in range(len(CDS[direction]))]
                  for direction in CDS}
        value = statistics.mean(statistics.mean(of_queries) for of_queries in gained.values())
        terms = {(direction, query): (gain - statistics.mean(of_queries)) / len(of_queries) / 2
                 for direction, of_queries in gained.items() for query, gain in enumerate(of_queries)}
        of_categories = [sum(term for (direction, query), term in terms.items() if CATEGORIES[direction][query] == category) for category in (0, 1)]
        with tempfile.TemporaryDirectory() as name:
            for unit, drawn in (("queries", list(terms.values())), ("categories", of_categories)):
                half = 1.96 * math.sqrt(sum(term**2 for term in drawn) * len(drawn) / (len(drawn) - 1))
                lines = self.table(pathlib.Path(name), unit)
                self.assertEqual(lines[0], "| Prec@1, % | mean | a_to_b | b_to_a | less CDS | less Encoder untrained |")
                self.assertEqual(lines[2], "| CDS | 37.5 ± 0.0 | 25.0 ± 0.0 | 50.0 ± 0.0 |  | +0.0 ± 0.0 [0.0, 0.0] |")
                self.assertTrue(lines[3].startswith("| SynCDR, CUT | 79.2 ± 26.0 | 75.0 ± 25.0 | 83.3 ± 28.9 | "), lines[3])
                less_cds = f"{100 * value:+.1f} ± 26.0 [{100 * (value - half):.1f}, {100 * (value + half):.1f}]" + ("*" if value > half else "")
                self.assertEqual(lines[3].split(" | ")[4], less_cds)
                self.assertIn(f"over {unit}", lines[-1])
                self.assertIn("Prec@k, split test.", lines[-1])

    def test_any_arm_can_be_what_others_are_compared_with(self):
        with tempfile.TemporaryDirectory() as name:
            self.assertIn("less SynCDR, CUT |", self.table(pathlib.Path(name), "queries", "--against", "SynCDR, CUT")[0])
        with tempfile.TemporaryDirectory() as name:
            self.assertIn('there is no arm "SynCDR"', self.table(pathlib.Path(name), "queries", "--against", "SynCDR", code=2)[-1])

    def test_only_the_figures_that_are_shown_must_be_of_the_same_queries(self):
        with tempfile.TemporaryDirectory() as name:
            folders = [write_run(pathlib.Path(name) / str(seed), seed, "queries") for seed in range(2)]
            command = ["python3", PROJECT / "launch/evidence_table.py", *folders]
            hits = json.loads((folders[1] / "hits.json").read_text())
            for figure, code in (("recall@5", 0), ("prec@1", 2)):
                hits["possible"]["a_to_b"][figure] = [2, 2, 2, 2]
                (folders[1] / "hits.json").write_text(json.dumps(hits))
                result = subprocess.run(command, capture_output=True, text=True)
                self.assertEqual(result.returncode, code, result.stderr)
                self.assertEqual("not measured on the same queries" in result.stderr, code == 2)

    def test_wrong_use_is_said_with_the_usage(self):
        for arguments in ([], ["a.toml", "b.toml"], ["a.toml", "--seeds", "none"], ["--unknown"]):
            process = subprocess.run([PROJECT / "launch/evidence.sh", *arguments], capture_output=True, text=True, env=os.environ)
            self.assertEqual(process.returncode, 2, arguments)
            self.assertIn("usage: launch/evidence.sh CONFIG", process.stderr)


if __name__ == "__main__":
    unittest.main()
