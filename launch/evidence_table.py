"""Tables of the runs of several seeds, as Markdown: evidence_table.py [--against TITLE]... [--figure NAME]... RUN...

One table per k of evaluate.cutoffs, or per figure of metrics.json that is asked for ("map", "recall@5"). Of each arm Prec@k in percent, mean over directions and each
direction: its mean over seeds and the standard deviation between them. Then its difference to other arms (--against; else CDS and the encoder untrained) on the same
queries, averaged over seeds, with a 95 % interval: * leaves zero out. The interval is of the share of right neighbours as a ratio of sums (Cochran, "Sampling
Techniques", 1977, section 6.3), whose terms are queries, or all queries of a category at once where the runs' own intervals draw categories."""
import argparse
import collections
import json
import math
import pathlib
import statistics


def arms_of(metrics):
    arms = {"cds": metrics.get("cds"), "syncdr": metrics.get("syncdr"), **metrics["controls"]}
    return {arm["title"]: arm for arm in arms.values() if arm}


def spread(shares, form=".1f"):
    values = [100 * share for share in shares]
    return f"{statistics.mean(values):{form}}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def difference(hits, title, reference, figure):
    """[{"categories", "possible", "correct", "unit"}] of runs -> mean over runs of the difference in points, and half its 95 % interval."""
    first, value = hits[0], 0
    terms = collections.defaultdict(float)
    directions = list(first["categories"])
    for direction in directions:
        categories, possible = first["categories"][direction], first["possible"][direction][figure]
        pairs = [zip(run["correct"][title][direction][figure], run["correct"][reference][direction][figure]) for run in hits]
        gained = [sum(arm - other for arm, other in of_query) / len(hits) for of_query in zip(*pairs)]
        share = sum(gained) / sum(possible)
        value += share / len(directions)
        for query, category in enumerate(categories):
            term = (gained[query] - share * possible[query]) / sum(possible) / len(directions)
            terms[category if first["unit"] == "categories" else (direction, query)] += term
    variance = sum(term**2 for term in terms.values()) * len(terms) / max(len(terms) - 1, 1)
    return 100 * value, 196 * math.sqrt(variance)


def compared(runs, hits, title, reference, figure):
    both = [i for i, run in enumerate(runs) if title in arms_of(run) and reference in arms_of(run)]
    if not both or title == reference:
        return ""
    per_seed = [arms_of(runs[i])[title][figure]["mean"] - arms_of(runs[i])[reference][figure]["mean"] for i in both]
    value, half = difference([hits[i] for i in both], title, reference, figure)
    return f"{spread(per_seed, '+.1f')} [{value - half:.1f}, {value + half:.1f}]" + ("*" if abs(value) > half else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", action="append", metavar="TITLE", help="an arm's title in the table")
    parser.add_argument("--figure", action="append", metavar="NAME", help="a figure of metrics.json; without it: prec@k of evaluate.cutoffs")
    parser.add_argument("runs", nargs="+", type=pathlib.Path, metavar="RUN")
    options = parser.parse_args()
    runs, hits = ([json.loads((folder / name).read_text()) for folder in options.runs] for name in ("metrics.json", "hits.json"))
    titles = list(dict.fromkeys(title for run in runs for title in arms_of(run)))
    references = options.against or [run[name]["title"] for run, name in ((runs[0], "cds"), (runs[0]["controls"], "untrained")) if name in run]
    for unknown in set(references) - set(titles):
        parser.error(f'there is no arm "{unknown}". There are: {", ".join(titles)}')
    there = list(next(iter(hits[0]["possible"].values())))
    figures = options.figure or [f"prec@{k}" for k in runs[0]["settings"]["cutoffs"]]
    for unknown in set(figures) - set(there):
        parser.error(f'there is no figure "{unknown}". There are: {", ".join(there)}')
    shown = [(of_run["categories"], [[of.get(figure) for figure in figures] for of in of_run["possible"].values()]) for of_run in hits]
    if any(of_run != shown[0] for of_run in shown):
        parser.error("the runs were not measured on the same queries")
    for figure in figures:
        name = "mAP@All" if figure == "map" else figure.capitalize()
        rows = [[f"{name}, %", "mean", *hits[0]["possible"], *(f"less {reference}" for reference in references)]]
        rows.append(["---"] * len(rows[0]))
        for title in titles:
            arms = [arms_of(run)[title][figure] for run in runs if title in arms_of(run)]
            rows.append([title, *(spread([arm[key] for arm in arms]) for key in ("mean", *hits[0]["possible"])),
                         *(compared(runs, hits, title, reference, figure) for reference in references)])
        print("\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n")
    print(f"{len(runs)} seeds, mean ± standard deviation between them; in brackets 95 % intervals of the mean over seeds, over {hits[0]['unit']}, which say "
          f"nothing of further seeds. {runs[0]['protocol']}.")


main()
