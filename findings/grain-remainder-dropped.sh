#!/usr/bin/env bash
# grain 0.2.18. Seen on 2026-11-30.
# Expected: ShardOptions with drop_remainder=False, the default, gives each record to one rank: it "will distribute the remainder N over the first N shards".
# Happens: the sampler splits so, but the DataLoader stops each rank after records // ranks. In one epoch 13 records on 8 ranks are 8, and 5 are never read, always the same ones.
#   In several epochs the records of the longer shards are read less often than there are epochs, those of the shorter ones more often. Nothing is logged.
# Matters: an evaluation over ranks leaves out up to ranks - 1 pictures without a word, and its counts look even; MapDataset[rank::ranks] has each record once.
# Source: grain/_src/python/data_loader.py, _SamplerMapDataset: length = size of the sampler // shard_count. Nothing about it was found among google/grain's issues.
. "$(dirname "$0")/common.sh"
python_packages grain==0.2.18 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import grain
from collections import Counter
def read(records, ranks, epochs, drop):
    lists = []
    for rank in range(ranks):
        options = grain.sharding.ShardOptions(rank, ranks, drop_remainder=drop)
        sampler = grain.samplers.IndexSampler(records, options, shuffle=False, num_epochs=epochs)
        lists.append([int(i) for i in grain.DataLoader(data_source=range(records), sampler=sampler, worker_count=0)])
    return lists
def report(records, ranks, epochs):
    lists = read(records, ranks, epochs, False); times = Counter(i for found in lists for i in found)
    wrong = {i: times[i] for i in range(records) if times[i] != epochs}
    print(f"{records} records, {ranks} ranks, epochs {epochs}: {sum(map(len, lists))} read, not as often as epochs {wrong}")
print("10 records on 3 ranks:", read(10, 3, 1, False), "drop_remainder", read(10, 3, 1, True))
print("sliced:", [[int(i) for i in grain.MapDataset.range(10)[rank::3]] for rank in range(3)])
report(13, 8, 1); report(10, 3, 2); report(10, 3, 3); report(12, 3, 1)
E
observe python "$tmp/program.py"
verdict <<'E'
10 records on 3 ranks: [[0, 1, 2], [4, 5, 6], [7, 8, 9]] drop_remainder [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
sliced: [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
13 records, 8 ranks, epochs 1: 8 read, not as often as epochs {1: 0, 3: 0, 5: 0, 7: 0, 9: 0}
10 records, 3 ranks, epochs 2: 18 read, not as often as epochs {2: 1, 3: 1}
10 records, 3 ranks, epochs 3: 30 read, not as often as epochs {2: 2, 3: 2, 4: 4, 7: 4}
12 records, 3 ranks, epochs 1: 12 read, not as often as epochs {}
E
