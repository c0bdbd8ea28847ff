#!/usr/bin/env bash
# voyager 2.2.3. Seen on 2026-11-30.
# Expected: add_item and add_items without ids take ids that are free; an item is replaced only by one that is given its id.
# Happens: automatic ids count from 0 (after a load: from the number of elements), whatever ids are there. They replace those items without a word: here 3 items with ids 1 to 3 and
#   3 items without ids are 4 items, and 1 and 2 answer with the new vectors. The ids that add_items returns look right.
# Matters: a gallery with the ids of a database is extended by a function that passes none: old pictures vanish from every answer, and others are found under their ids.
# Source: spotify/voyager, cpp/src/TypedIndex.h (addItems: currentLabel where ids are empty); the documentation of add_items promises "an ID will be generated".
. "$(dirname "$0")/common.sh"
python_packages voyager==2.2.3 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import io, numpy as np
from voyager import Index, Space
def vectors(*firsts): return np.array([(first, 0) for first in firsts], "f")
def content(index): return f"{len(index)} items, " + ", ".join(f"{i}: {index.get_vector(i)[0]:.0f}" for i in sorted(index.ids))
index = Index(Space.Euclidean, 2)
print("given", index.add_items(vectors(1, 2, 3), ids=[1, 2, 3]), content(index))
saved = index.as_bytes()
print("automatic", index.add_items(vectors(10, 20, 30)), content(index))
print("searched for what was given as 1: found", int(index.query(vectors(1)[0], k=1)[0][0]))
index = Index.load(io.BytesIO(saved))
print("automatic after a load", index.add_items(vectors(10, 20, 30)), content(index))
E
observe python "$tmp/program.py"
verdict <<'E'
given [1, 2, 3] 3 items, 1: 1, 2: 2, 3: 3
automatic [0, 1, 2] 4 items, 0: 10, 1: 20, 2: 30, 3: 3
searched for what was given as 1: found 3
automatic after a load [3, 4, 5] 5 items, 1: 1, 2: 2, 3: 10, 4: 20, 5: 30
E
