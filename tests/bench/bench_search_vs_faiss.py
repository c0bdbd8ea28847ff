"""Exact search of the 15 nearest beside FAISS's IndexFlatIP, LibTorch's matrix product alone, and three full sorts.

    python3 -m venv /tmp/faiss && /tmp/faiss/bin/pip install faiss-cpu==1.15.1
    python3 tests/bench/bench_search_vs_faiss.py build/release/bin --faiss /tmp/faiss/bin/python --rounds 5 [--json FILE]

`ninja -C build/release bench_search` before. All sides have two threads and unit rows of 512 features, float32. Rounds alternate between the sides; a ratio is of
one round, a figure the median over rounds. Time is that of the clock, and that of the processor in both threads, in which other work on the machine counts for no
side: on a busy machine only the latter tells something."""
import argparse
import json
import os
import statistics
import subprocess
import sys

SIZES = ((1000, 10000), (256, 100000))
OURS = ("top_k", "similarities_alone", "three_sorts")
FAISS = """
import sys, time, faiss, numpy
queries, rows, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
faiss.omp_set_num_threads(2)
random = numpy.random.default_rng(0)
def unit(rows):
    values = random.standard_normal((rows, 512), dtype=numpy.float32)
    return values / numpy.linalg.norm(values, axis=1, keepdims=True)
asked, index = unit(queries), faiss.IndexFlatIP(512)
index.add(unit(rows))
index.search(asked, 15)
start, processor, searches = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - start < seconds:
    index.search(asked, 15)
    searches += 1
print((time.perf_counter() - start) / searches, (time.process_time() - processor) / searches)
"""


def run(command):
    result = subprocess.run(command, text=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"})
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    return result.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=os.path.abspath, help="folder of bench_search")
    parser.add_argument("--faiss", required=True, help="a Python that has faiss-cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of a side's round")
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    seconds = {size: {side: [] for side in (*OURS, "faiss")} for size in SIZES}
    for number in range(options.rounds):
        for queries, rows in SIZES:
            for side in OURS:
                if side == "three_sorts" and number >= 2:
                    continue  # a factor that needs no more
                found = json.loads(run([f"{options.bin}/bench_search", f"--benchmark_filter=^{side}/{queries}/{rows}/512/", "--benchmark_format=json",
                                        f"--benchmark_min_time={options.seconds:g}"]))
                seconds[queries, rows][side].append([found["benchmarks"][0][clock] / 1000 for clock in ("real_time", "cpu_time")])
            found = run([options.faiss, "-c", FAISS, str(queries), str(rows), str(options.seconds)])
            seconds[queries, rows]["faiss"].append([float(value) for value in found.split()])
    figures = {}
    for (queries, rows), sides in seconds.items():
        figures[f"{queries}x{rows}"] = of_size = {}
        for side, times in sides.items():
            of_size[side] = {"queries/s": queries / statistics.median(wall for wall, _ in times)}
            for clock, name in enumerate(("clock", "processor")):
                ratios = [other[clock] / ours[clock] for other, ours in zip(times, sides["top_k"])]
                of_size[side][name] = {"times ours": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
            print(f"{queries} x {rows} {side}: {of_size[side]['queries/s']:,.0f} queries/s; " + "; ".join(
                f"{name} {found['times ours']:.2f} x our time ({found['lowest']:.2f} to {found['highest']:.2f})"
                for name, found in of_size[side].items() if name != "queries/s"))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rounds": options.rounds, "figures": figures}, file, indent=2)


main()
