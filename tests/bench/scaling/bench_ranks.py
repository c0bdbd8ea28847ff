"""What ranks are worth on this machine, and whether `syncdr plan` foresees it.

    python3 tests/bench/scaling/bench_ranks.py build/release/bin [--rounds 5] [--ranks 1,2] [--json FILE]

Translates the emoji set with the small diffusion model of configs/models/emoji, and trains on it, on each number of ranks in turn (A B A B: a machine that
slows down does so for all), one compute thread a rank, each rank tied to a core of its own as SLURM does it: untied, the threads of a single rank that read,
write and send would have the idle cores for themselves, which no rank of a full node has (--untied). Efficiency: time on one rank / (ranks x time on so many), medians. A training on R ranks has the same global
batch as on one.

Then `syncdr plan` is held against the medians. For the translation it is given the first number of ranks alone, and has to tell the others. A training of small
batches spends much of a step waiting for peers, which one rank cannot know: plan is given both numbers with one batch, and the first with twice
that batch, and has to tell the last."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parents[3]
TRANSLATE = {"translate.diffusion.steps": 3, "translate.variants": 1, "translate.codec_threads": 1}
TRAIN = {"train.epochs": 12, "train.precision": '"fp32"', "train.validate_every": 100000, "train.checkpoint_every": 100000}


class Bench:
    def __init__(self, programs, folder, tied):
        self.programs, self.folder, self.tied, self.runs = programs, folder, tied, 0

    def call(self, *command):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"MPIRUN_PLACEMENT": "--map-by core --bind-to core"} if self.tied else {})}
        process = subprocess.run([str(part) for part in command], cwd=PROJECT, env=environment, capture_output=True, text=True)
        if process.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{process.stderr}")
        return process.stdout

    def job(self, command, ranks, settings, *arguments):
        """Figures of one command on so many ranks, in a run of its own."""
        self.runs += 1
        figures = self.folder / "figures.json"
        out = self.folder / f"run-{self.runs}"
        settings = {"data.root": f'"{self.folder / "emoji"}"', "run.out": f'"{out}"', "comm.device": '"cpu"', **settings}
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        self.call(PROJECT / "launch/mpirun.sh", "-np", ranks, self.programs / "syncdr", command, PROJECT / "configs/quickstart.toml", *arguments, *sets, "--json", figures)
        return json.loads(figures.read_text())

    def plan(self, command, measured, all_ranks, *options):
        """Ranks -> seconds that plan tells from these figures, without the job's start."""
        planned, files = self.folder / "planned.json", []
        for index, figures in enumerate(measured):
            files.append(self.folder / f"measured-{index}.json")
            files[-1].write_text(json.dumps(figures))
        given = [part for file in files for part in ("--measured", file)]
        self.call(self.programs / "syncdr", "plan", command, *given, "--ranks", ",".join(map(str, all_ranks)), "--start-seconds", 0, "--json", planned, *options)
        return {point["ranks"]: point["seconds"] for point in json.loads(planned.read_text())["points"]}


def seconds_of(run):
    """Of a training, or of both directions of a translation."""
    return run["seconds"] if "seconds" in run else sum(direction["seconds"] for direction in run.values())


def median_run(runs):
    """The run whose time is the median."""
    return sorted(runs, key=seconds_of)[len(runs) // 2]


def times_of(runs):
    times = [seconds_of(run) for run in runs]
    return f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"


def median(runs):
    return statistics.median(map(seconds_of, runs))


def in_turn(what, rounds, calls):
    """Name -> the runs of a call; all are called once in each round."""
    runs = {name: [] for name in calls}
    for round_ in range(rounds):
        for name, call in calls.items():
            runs[name].append(call())
            print(f"{what}, round {round_ + 1} of {rounds}, {name}: {seconds_of(runs[name][-1]):.2f} s", file=sys.stderr)
    return runs


def translate(bench, rounds, all_ranks):
    runs = in_turn("translate", rounds, {ranks: lambda ranks=ranks: bench.job("translate", ranks, TRANSLATE) for ranks in all_ranks})
    first = all_ranks[0]
    planned = bench.plan("translate", [median_run(runs[first])], all_ranks, "--device", "cpu")
    print(f"translate\n{'ranks':>6} {'seconds (range)':>24} {'efficiency':>11} {'planned':>9} {'off by':>7}")
    rows = []
    for ranks in all_ranks:
        efficiency = first * median(runs[first]) / (ranks * median(runs[ranks]))
        print(f"{ranks:>6} {times_of(runs[ranks]):>24} {efficiency:>11.3f} {planned[ranks]:>9.2f} {planned[ranks] / median(runs[ranks]) - 1:>+7.1%}")
        rows.append({"ranks": ranks, "seconds": list(map(seconds_of, runs[ranks])), "efficiency": efficiency, "planned": planned[ranks]})
    return rows


def train(bench, rounds, all_ranks, link):
    first, last = all_ranks[0], all_ranks[-1]
    cases = [(first, 32), (last, 32), (first, 64), (last, 64)]
    runs = in_turn("train", rounds, {f"{ranks} ranks, batch {batch}": lambda ranks=ranks, batch=batch: bench.job(
        "train", ranks, {**TRAIN, "train.batch": batch}, "--arm", "cds") for ranks, batch in cases})
    *given, asked = runs.values()
    wanted = median_run(asked)
    planned = bench.plan("train", [median_run(one) for one in given], [last], "--overlap", "0", "--steps", wanted["steps"], "--images-per-step",
                         wanted["images_per_step"], *link)[last]
    print(f"train\n{'':>20} {'seconds (range)':>24} {'steps':>6} {'planned':>9} {'off by':>7}")
    for name, one in runs.items():
        told = f" {planned:>9.2f} {planned / median(one) - 1:>+7.1%}" if one is asked else ""
        print(f"{name:>20} {times_of(one):>24} {one[0]['steps']:>6}{told}")
    return {"planned": planned, **{name: list(map(seconds_of, one)) for name, one in runs.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--only", choices=("translate", "train"))
    parser.add_argument("--untied", action="store_true", help="let all threads run on all cores")
    parser.add_argument("--link", default="", help="options of `syncdr plan train` for the network, as `syncdr doctor` prints them")
    parser.add_argument("--json")
    options = parser.parse_args()
    all_ranks = [int(ranks) for ranks in options.ranks.split(",")]
    with tempfile.TemporaryDirectory(prefix="syncdr-ranks-") as name:
        bench = Bench(options.programs.resolve(), pathlib.Path(name), not options.untied)
        bench.call(bench.programs / "syncdr-data", "emoji", "-o", bench.folder / "emoji")
        figures = {}
        if options.only != "train":
            figures["translate"] = translate(bench, options.rounds, all_ranks)
        if options.only != "translate":
            figures["train"] = train(bench, options.rounds, all_ranks, options.link.split())
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
