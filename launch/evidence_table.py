"""One table of the runs of several seeds, as Markdown: evidence_table.py RUN...

Of each arm mean Prec@1 of all directions: its mean over seeds and standard deviation, and the same of its difference to cds and to untrained on the same
queries; in brackets in how many seeds the difference's 95 % interval lies above 0, and in how many below."""
import json
import pathlib
import statistics
import sys


def arms_of(metrics):
    arms = {"cds": metrics.get("cds"), "syncdr": metrics.get("syncdr"), **metrics["controls"]}
    return {arm["title"]: arm for arm in arms.values() if arm}


def spread(values):
    values = [100 * value for value in values]
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def difference(arms, to):
    """Against the arm `to`; empty for that arm itself, or where it is no row."""
    found = [arm[f"vs_{to}"]["prec@1"] for arm in arms if f"vs_{to}" in arm]
    if not found:
        return ""
    above, below = (sum(side(figures["mean_interval"]) for figures in found) for side in (lambda i: i[0] > 0, lambda i: i[1] < 0))
    return f"{spread([figures['mean'] for figures in found])} ({above} above, {below} below, of {len(found)})"


def main(folders):
    runs = [json.loads((pathlib.Path(folder) / "metrics.json").read_text()) for folder in folders]
    titles = list(dict.fromkeys(title for run in runs for title in arms_of(run)))
    directions = [key[: -len("_interval")] for key in next(iter(arms_of(runs[0]).values()))["prec@1"] if key.endswith("_interval") and key != "mean_interval"]
    rows = [["trained with", "mean Prec@1, %", *directions, "to cds", "to untrained"]]
    for title in titles:
        arms = [arms_of(run)[title] for run in runs if title in arms_of(run)]
        rows.append([title, spread([arm["prec@1"]["mean"] for arm in arms]), *(spread([arm["prec@1"][direction] for arm in arms]) for direction in directions),
                     difference(arms, "cds"), difference(arms, "untrained")])
    rows.insert(1, ["---"] * len(rows[0]))
    print("\n".join("| " + " | ".join(row) + " |" for row in rows))
    print(f"\n{len(runs)} seeds, mean ± standard deviation. {runs[0]['protocol']}.")


main(sys.argv[1:])
