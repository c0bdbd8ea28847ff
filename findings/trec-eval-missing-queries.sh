#!/usr/bin/env bash
# pytrec_eval-terrier 0.5.11, ir-measures 0.4.3. Seen on 2026-11-30.
# Expected: a query without an answer counts 0 in the mean of all judged queries.
# Happens: pytrec_eval leaves a query out that the run does not name; with an empty answer it counts 0. ir_measures, which calls the same library, gives 0 for both.
# Matters: where an index with a filter or a threshold finds nothing, most code writes no line for that query: the harder half of the queries vanishes, and the mean rises. Here a run
#   that answers one query of four has a mean average precision of 1.
# Source: trec_eval without -c averages over the queries of the run; pytrec_eval's evaluate returns them alone, and examples take the mean of what it returns.
. "$(dirname "$0")/common.sh"
python_packages ir-measures==0.4.3 pytrec_eval-terrier==0.5.11 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import ir_measures, pytrec_eval
judged = {f"query {i}": {f"picture {i}": 1} for i in range(4)}
runs = {"one answer of four": {"query 0": {"picture 0": 1.0}}, "one answer and three empty ones": {f"query {i}": {"picture 0": 1.0} if i == 0 else {} for i in range(4)}}
for what, run in runs.items():
    found = [values["map"] for values in pytrec_eval.RelevanceEvaluator(judged, {"map"}).evaluate(run).values()]
    theirs = ir_measures.calc_aggregate([ir_measures.AP], judged, run)[ir_measures.AP]
    print(f"{what}: mean average precision: pytrec_eval {sum(found) / len(found):.2f} over {len(found)} queries, ir_measures {theirs:.2f}")
E
observe python "$tmp/program.py"
verdict <<'E'
one answer of four: mean average precision: pytrec_eval 1.00 over 1 queries, ir_measures 0.25
one answer and three empty ones: mean average precision: pytrec_eval 0.25 over 4 queries, ir_measures 0.25
E
