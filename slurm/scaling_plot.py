"""Collects the figures of slurm/scaling.sh: scaling_plot.py DIR reads DIR/*.job and the figures beside them, writes scaling.csv and scaling.svg.

Python's standard library alone is used. A job without figures (not through, or failed) is named and left out.
"""
import csv
import json
import pathlib
import sys

COLUMNS = ["phase", "nodes", "ranks_per_node", "ranks", "items", "unit", "seconds", "items_per_second", "efficiency"]


def work_of(phase, figures):
    """(items, unit, seconds) of a phase's figures, as --json writes them."""
    if phase == "train":
        return figures["steps"], "steps", figures["seconds"]
    directions = [value for value in figures.values() if isinstance(value, dict) and "images" in value]
    return sum(d["images"] for d in directions), "images", sum(d["seconds"] for d in directions)


def read_rows(folder):
    rows = []
    for file in sorted(folder.glob("*.job")):
        job, figures = json.loads(file.read_text()), file.with_suffix(".json")
        if not figures.exists():
            print(f"{file.stem}: no figures; see {file.with_suffix('.log')}", file=sys.stderr)
            continue
        items, unit, seconds = work_of(job["phase"], json.loads(figures.read_text()))
        if not items or not seconds:
            print(f"{file.stem}: it found nothing to do", file=sys.stderr)
            continue
        rows.append({**job, "ranks": job["nodes"] * job["ranks_per_node"], "items": items, "unit": unit, "seconds": seconds, "items_per_second": items / seconds})
    rows.sort(key=lambda row: (row["ranks"], row["nodes"]))
    for row in rows:  # against the smallest job: 1 if each rank does as much as one of its ranks
        row["efficiency"] = row["items_per_second"] / row["ranks"] / (rows[0]["items_per_second"] / rows[0]["ranks"])
    return rows


def write_csv(rows, file):
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()})


def svg(rows):
    """Speed over ranks, both from 0, with the line of equal efficiency; a colour for each number of ranks per node."""
    width, height, left, bottom, top, right = 640, 420, 70, 50, 40, 30
    most = max(row["ranks"] for row in rows)
    ideal = rows[0]["items_per_second"] / rows[0]["ranks"]
    fastest = max(max(row["items_per_second"] for row in rows), ideal * most)
    x = lambda ranks: left + (width - left - right) * ranks / most
    y = lambda speed: height - bottom - (height - bottom - top) * speed / fastest
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="{left}" y="24" font-size="15">{rows[0]["phase"]}: {rows[0]["unit"]}/s over ranks</text>',
             f'<path d="M{x(0):.1f} {y(ideal * most):.1f}V{y(0):.1f}H{x(most):.1f}" fill="none" stroke="#444"/>',
             f'<path d="M{x(0):.1f} {y(0):.1f}L{x(most):.1f} {y(ideal * most):.1f}" stroke="#999" stroke-dasharray="5 4"/>',
             f'<text x="{(left + width - right) / 2:.0f}" y="{height - 12}" text-anchor="middle">ranks (dashed: as much a rank as in the smallest job)</text>']
    for share in (0.25, 0.5, 0.75, 1):
        parts.append(f'<path d="M{left - 4} {y(fastest * share):.1f}h4" stroke="#444"/>'
                     f'<text x="{left - 8}" y="{y(fastest * share) + 4:.1f}" text-anchor="end">{fastest * share:.3g}</text>')
    for ranks in sorted({row["ranks"] for row in rows}):
        parts.append(f'<text x="{x(ranks):.1f}" y="{height - bottom + 18}" text-anchor="middle">{ranks}</text>')
    colours = ["#1f6fb4", "#d1622b", "#2f8f4e", "#8a4fbf", "#b8860b", "#c0396b"]
    for index, per_node in enumerate(sorted({row["ranks_per_node"] for row in rows})):
        colour, line = colours[index % len(colours)], [row for row in rows if row["ranks_per_node"] == per_node]
        points = " ".join(f'{x(row["ranks"]):.1f},{y(row["items_per_second"]):.1f}' for row in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for row in line:
            parts.append(f'<circle cx="{x(row["ranks"]):.1f}" cy="{y(row["items_per_second"]):.1f}" r="4" fill="{colour}"><title>{row["nodes"]} nodes: '
                         f'{row["items_per_second"]:.4g} {row["unit"]}/s, efficiency {row["efficiency"]:.2f}</title></circle>')
        parts.append(f'<text x="{left + 16}" y="{top + 18 + 16 * index}" fill="{colour}">{per_node} ranks per node</text>')
    return "\n".join(parts) + "\n</svg>\n"


def main():
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_dir():
        sys.exit("usage: scaling_plot.py DIR, a folder that slurm/scaling.sh has made")
    folder = pathlib.Path(sys.argv[1])
    rows = read_rows(folder)
    if not rows:
        sys.exit(f"{folder}: no job has left figures")
    write_csv(rows, folder / "scaling.csv")
    (folder / "scaling.svg").write_text(svg(rows))
    for row in rows:
        print(f'{row["nodes"]:>4} nodes {row["ranks"]:>5} ranks {row["seconds"]:>9.1f} s {row["items_per_second"]:>9.3g} {row["unit"]}/s  '
              f'efficiency {row["efficiency"]:.2f}')
    print(folder / "scaling.csv", folder / "scaling.svg")


if __name__ == "__main__":
    main()
