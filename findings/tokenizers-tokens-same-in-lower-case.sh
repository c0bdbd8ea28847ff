#!/usr/bin/env bash
# tokenizers 0.23.3 beside 0.22.2. Seen on 2026-11-29.
# Expected: where two added tokens with normalized=True become the same text by the normaliser (<Toy> and <toY> with Lowercase), one of them is found, and always the same: the first.
# Happens: 0.22.2 finds the first. In 0.23.3 it is left to chance which one is found: in each process, and in each load of the same file within a process.
# Matters: a name learned by textual inversion gets its own vector or the other's by chance: training writes into one row and sampling reads another, no run can be repeated,
#   and the ranks of one run disagree. Add names that differ in lower case too.
# Source: tokenizers/src/tokenizer/added_vocabulary.rs, AddedVocabulary::refresh_added_tokens: older versions go through the tokens in the order of adding.
. "$(dirname "$0")/common.sh"
cat > "$tmp/program.py" <<'E'
import sys
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
tokenizer = Tokenizer(models.WordLevel({"a": 0, "unknown": 1}, "unknown"))
tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
tokenizer.add_tokens([AddedToken(name, normalized=True) for name in ("<Toy>", "<toY>")])
for ids in sorted({tuple(Tokenizer.from_str(text).encode("a <toy> <Toy> <toY>").ids) for text in [tokenizer.to_str()] * int(sys.argv[1])}): print(*ids)
E
for version in 0.22.2 0.23.3; do
  python_packages tokenizers==$version
  each_process() { for i in {1..40}; do python "$tmp/program.py" 1; done | sort -u | sed "s/^/$version, in 40 processes: ids /"; }
  one_process() { python "$tmp/program.py" 100 | sed "s/^/$version, in 100 loads of one process: ids /"; }
  observe each_process
  observe one_process
done
verdict <<'E'
0.22.2, in 40 processes: ids 0 2 2 2
0.22.2, in 100 loads of one process: ids 0 2 2 2
0.23.3, in 40 processes: ids 0 2 2 2
0.23.3, in 40 processes: ids 0 3 3 3
0.23.3, in 100 loads of one process: ids 0 2 2 2
0.23.3, in 100 loads of one process: ids 0 3 3 3
E
