"""Exact search of the 15 nearest beside FAISS's IndexFlatIP, LibTorch's matrix product alone, and three full sorts.

    python3 -m venv /tmp/faiss && /tmp/faiss/bin/pip install faiss-cpu==1.15.1
    python3 tests/bench/bench_search_vs_faiss.py build/release/bin --faiss /tmp/faiss/bin/python --rounds 5 [--json FILE]

`ninja -C build/release bench_search` before. All sides have two threads and unit rows of 512 features, float32. Rounds alternate between the sides; a figure is
the median of a side's. Ratios are of one round, then their median: other work on the machine moves both."""
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
start, searches = time.perf_counter(), 0
while time.perf_counter() - start < seconds:
    index.search(asked, 15)
    searches += 1
print((time.perf_counter() - start) / searches)
"""


def run(command):
    result = subprocess.run(command, text=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
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
                seconds[queries, rows][side].append(found["benchmarks"][0]["real_time"] / 1000)
            seconds[queries, rows]["faiss"].append(float(run([options.faiss, "-c", FAISS, str(queries), str(rows), str(options.seconds)])))
    figures = {}
    for (queries, rows), sides in seconds.items():
        figures[f"{queries}x{rows}"] = of_size = {}
        for side, times in sides.items():
            ratios = [other / ours for other, ours in zip(times, sides["top_k"])]
            of_size[side] = {"queries/s": queries / statistics.median(times), "times ours": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
            print(f"{queries} x {rows} {side}: {of_size[side]['queries/s']:,.0f} queries/s, {statistics.median(ratios):.2f} x our time "
                  f"({min(ratios):.2f} to {max(ratios):.2f})")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rounds": options.rounds, "figures": figures}, file, indent=2)


main()
