#!/usr/bin/env bash
# blosc2 4.14.1 beside numpy 2.4.6. Seen on 2026-11-30.
# Expected: an expression of a compressed array is what numpy says of the same one, and it has one value, whether one computes it, indexes with it, slices it or sums it.
# Happens: a constant is cast to the array's type first. On uint8 `< 300` means `< 44` and `== 256` means `== 0`, and uint8 + 1000 wraps where numpy raises; int32 `< 3000000000` is
#   false for all. int64 is compared as double. `%` is C's and gives negative remainders. But a slice of the same expression is right, and where() and sum() of the comparison are too.
# Matters: a filter "all below 300" leaves out most pixels without an error, and a check on a few rows or on the count of the condition says that it is right; hashes `% shards` are negative.
# Source: blosc2/lazyexpr.py: whole arrays go to the engine miniexpr, slices to numpy, where() and sums to numexpr. No issue of Blosc/python-blosc2 was found.
. "$(dirname "$0")/common.sh"
python_packages blosc2==4.14.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import blosc2, numpy as np
pixels = np.arange(256).astype("u1"); numbers = np.arange(-7, 1).astype("i4"); ids = 2**53 + np.arange(3)
a, b, c = map(blosc2.asarray, (pixels, numbers, ids))
below = a < 300
print("pixels < 300: computed", int(below.compute()[:].sum()), "indexed", len(a[below][:]), "slice of 100 to 200", int(below[100:200].sum()), "sum", int(below.sum()),
      "where", int(blosc2.where(below, 1, 0).compute()[:].sum()), "numpy", int((pixels < 300).sum()))
print("pixels == 256:", np.flatnonzero((a == 256).compute()[:]).tolist(), "numpy", np.flatnonzero(pixels == 256).tolist())
try: print(pixels + 1000)
except OverflowError as error: print("pixels + 1000:", (a + 1000).compute()[:4].tolist(), "numpy OverflowError")
print("numbers < 3000000000:", int((b < 3000000000).compute()[:].sum()), "numpy", int((numbers < 3000000000).sum()))
print("numbers % 3:", (b % 3).compute()[:].tolist(), "numpy", (numbers % 3).tolist(), "the slice of it", (b % 3)[1:8].tolist())
print("ids == 2^53 + 1:", (c == 2**53 + 1).compute()[:].tolist(), "numpy", (ids == 2**53 + 1).tolist())
E
observe python "$tmp/program.py"
verdict <<'E'
pixels < 300: computed 44 indexed 44 slice of 100 to 200 100 sum 256 where 256 numpy 256
pixels == 256: [0] numpy []
pixels + 1000: [232, 233, 234, 235] numpy OverflowError
numbers < 3000000000: 0 numpy 8
numbers % 3: [-1, 0, -2, -1, 0, -2, -1, 0] numpy [2, 0, 1, 2, 0, 1, 2, 0] the slice of it [0, 1, 2, 0, 1, 2, 0]
ids == 2^53 + 1: [True, False, False] numpy [False, True, False]
E
