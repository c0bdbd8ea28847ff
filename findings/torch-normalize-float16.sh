#!/usr/bin/env bash
# torch 2.15.0. Seen on 2026-11-30.
# Expected: normalize and cosine_similarity are safe for a zero vector in every dtype, as their eps promises, and give every other vector unit length.
# Happens: in float16 the default eps (1e-12, 1e-8) is 0: a zero vector gives NaN, and so does its similarity to anything. A vector whose norm is above 65504, as one of 768 values of
#   2400, becomes all zeros, and its cosine with itself 0. bfloat16 and float32 are right.
# Matters: features of a padded or black image, or of a half-precision encoder without a last normalisation, become NaN or zero. A NaN in a matrix of similarities counts as the largest
#   for topk; a zero row is never found.
# Source: torch/nn/functional.py, normalize.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
from torch.nn.functional import cosine_similarity, normalize
zero, large = torch.zeros(1, 768), torch.full((1, 768), 2400.)
for dtype in torch.float32, torch.bfloat16, torch.float16:
    for what, vector in ("zero", zero.to(dtype)), ("2400s", large.to(dtype)):
        print(f"{dtype}, {what}: normalize gives length {normalize(vector).float().norm():.2f}, cosine_similarity with itself {cosine_similarity(vector, vector).item():.2f}")
gallery = torch.cat([torch.eye(3, 768), zero]).half()
print("best match of the first of 3 unit vectors and a zero vector:", (normalize(gallery[:1]) @ normalize(gallery).T).topk(1).indices.item())
E
observe python "$tmp/program.py"
verdict <<'E'
torch.float32, zero: normalize gives length 0.00, cosine_similarity with itself 0.00
torch.float32, 2400s: normalize gives length 1.00, cosine_similarity with itself 1.00
torch.bfloat16, zero: normalize gives length 0.00, cosine_similarity with itself 0.00
torch.bfloat16, 2400s: normalize gives length 1.00, cosine_similarity with itself 1.00
torch.float16, zero: normalize gives length nan, cosine_similarity with itself nan
torch.float16, 2400s: normalize gives length 0.00, cosine_similarity with itself 0.00
best match of the first of 3 unit vectors and a zero vector: 3
E
