#!/usr/bin/env bash
# numpy 2.4.6. Seen on 2026-11-30, on a processor with AVX-512.
# Expected: argsort and argpartition leave the order of equal values open, but the same values give the same order on every x86-64 machine that runs the same wheel.
# Happens: numpy picks a sorting network by the processor: with AVX-512, with AVX2 alone and with neither, equal scores come in three orders. On a machine with AVX2 alone two of the
#   three lines are equal, and the comparison below with them.
# Matters: scores with ties (int8 or binary codes, copies of a picture, few-bit hashes) rank differently on the login node, the compute node and a colleague's laptop: precision at 10
#   and mean average precision change with the machine, with all seeds and versions pinned. kind="stable" gives one order everywhere.
# Source: numpy/_core/src/npysort/x86_simd_argsort.dispatch.cpp; NPY_DISABLE_CPU_FEATURES in the documentation of build options stands in for other processors.
. "$(dirname "$0")/common.sh"
python_packages numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np, sys
random = np.random.default_rng(0)
scores, relevant = random.integers(0, 20, 1000).astype("f"), random.random(1000) < 0.3
for kind in "quicksort", "stable":
    order = np.argsort(-scores, kind=kind)
    print(f"argsort, {'the default' if kind == 'quicksort' else kind}, {sys.argv[1]}: first {order[:5].tolist()}, precision at 10 {relevant[order[:10]].mean():.1f}")
E
avx512="AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"
observe python "$tmp/program.py" "all features"
NPY_DISABLE_CPU_FEATURES=$avx512 observe python "$tmp/program.py" "no AVX-512"
NPY_DISABLE_CPU_FEATURES="$avx512 AVX2 FMA3 X86_V3" observe python "$tmp/program.py" "no AVX2"
verdict <<'E'
argsort, the default, all features: first [995, 53, 55, 58, 936], precision at 10 0.4
argsort, stable, all features: first [14, 53, 55, 58, 122], precision at 10 0.5
argsort, the default, no AVX-512: first [55, 58, 811, 53, 452], precision at 10 0.4
argsort, stable, no AVX-512: first [14, 53, 55, 58, 122], precision at 10 0.5
argsort, the default, no AVX2: first [155, 811, 343, 804, 397], precision at 10 0.3
argsort, stable, no AVX2: first [14, 53, 55, 58, 122], precision at 10 0.5
E
