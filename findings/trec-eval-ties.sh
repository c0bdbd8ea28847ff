#!/usr/bin/env bash
# ir-measures 0.4.3 with pytrec_eval-terrier 0.5.11. Seen on 2026-11-29.
# Expected: documents are ranked by the scores given, Python floats; documents of equal scores stay in the order given, or get the mean of their ranks.
# Happens: scores are rounded to float32 first, so that scores which differ in the eighth digit are ties, and ties are ranked by name, the last name first: a document
#   called "z" stands before "a", and of 40 equal scores in the order d00 to d39 the last comes first.
# Matters: cosine similarities near 1 tie by the thousand in float32, more so from float16 features. Then the names of files decide: where a query's own category sorts last,
#   a model that gives all images one score is perfect.
# Source: trec_eval's form_res_rels.c, which pytrec_eval compiles in: the similarity is a float, and equal ones are compared by document name.
. "$(dirname "$0")/common.sh"
python_packages ir-measures==0.4.3 pytrec_eval-terrier==0.5.11 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import ir_measures
def report(what, relevant, run):
    print(f"{what}: its rank is {1 / ir_measures.calc_aggregate([ir_measures.RR], {'q': {relevant: 1}}, {'q': run})[ir_measures.RR]:.0f}")
report("a 0.900000002 (relevant), z 0.900000001", "a", {"a": 0.900000002, "z": 0.900000001})
report("z 0.900000002 (relevant), a 0.900000001", "z", {"z": 0.900000002, "a": 0.900000001})
report("z 0.90000002, a 0.9000001 (relevant)", "a", {"a": 0.9000001, "z": 0.90000002})
names = [f"d{i:02}" for i in range(40)]
for relevant in names[0], names[39]: report(f"40 equal scores in the order d00 to d39, {relevant} is relevant", relevant, {name: 0.5 for name in names})
E
observe python "$tmp/program.py"
verdict <<'E'
a 0.900000002 (relevant), z 0.900000001: its rank is 2
z 0.900000002 (relevant), a 0.900000001: its rank is 1
z 0.90000002, a 0.9000001 (relevant): its rank is 1
40 equal scores in the order d00 to d39, d00 is relevant: its rank is 40
40 equal scores in the order d00 to d39, d39 is relevant: its rank is 1
E
