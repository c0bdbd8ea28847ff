#!/usr/bin/env bash
# sentence-transformers 6.2.0, torch 2.15.0. Seen on 2026-11-30.
# Expected: semantic_search with dot_score over embeddings from quantize_embeddings(..., "int8") ranks nearly as over the float ones, or refuses the type.
# Happens: the products are summed up in int8 and wrap around: a product of 157784 is 88. Of 200 vectors that search for themselves nearly none is found, and scores are in -128 to 127.
#   pairwise_dot_score wraps each product before the sum; uint8 is no better. cos_sim, the default, refuses integers, which leads one to dot_score.
# Matters: who quantizes a gallery to a quarter of its size and searches it with the package's own function gets a random ranking without a warning.
# Source: sentence_transformers/util/similarity.py, dot_score (torch.mm of what came); github.com/huggingface/sentence-transformers/issues/3121 for cos_sim.
. "$(dirname "$0")/common.sh"
python_packages sentence-transformers==6.2.0 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import numpy, torch
from sentence_transformers.util import cos_sim, dot_score, pairwise_dot_score, quantize_embeddings, semantic_search
vectors = numpy.random.default_rng(0).normal(size=(200, 64)).astype("float32")
vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
for precision in "float32", "int8", "uint8":
    stored = quantize_embeddings(vectors, precision)
    exact = stored.astype("float64") @ stored.astype("float64").T
    scores = dot_score(stored, stored)
    found = semantic_search(torch.from_numpy(stored), torch.from_numpy(stored), top_k=1, score_function=dot_score)
    ranked = sum(hits[0]["corpus_id"] == best for hits, best in zip(found, exact.argmax(1)))
    print(f"{precision}: scores are {scores.dtype}, a vector with itself {scores[0, 0].item():.0f} instead of {exact[0, 0]:.0f}, pairwise {pairwise_dot_score(stored[:1], stored[:1]).item():.0f};",
          f"more than a tenth of the 200 first hits right: {ranked > 20}")
try: cos_sim(stored, stored)
except RuntimeError as error: print("cos_sim refuses:", str(error)[:60])
E
observe python "$tmp/program.py"
verdict <<'E'
float32: scores are torch.float32, a vector with itself 1 instead of 1, pairwise 1; more than a tenth of the 200 first hits right: True
int8: scores are torch.int8, a vector with itself 88 instead of 157784, pairwise -168; more than a tenth of the 200 first hits right: False
uint8: scores are torch.uint8, a vector with itself 88 instead of 1278552, pairwise 7000; more than a tenth of the 200 first hits right: False
cos_sim refuses: linalg.vector_norm: Expected a floating point or complex ten
E
