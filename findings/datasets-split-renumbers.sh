#!/usr/bin/env bash
# datasets 5.2.0. Seen on 2026-12-01.
# Expected: split_dataset_by_node of a stream that is finished gives each of its samples to one rank: take(7) is the same seven, skip(7) all others, an index that map added stays.
# Happens: where the shards divide by the ranks, the split moves in front of all that was done before it, and each rank counts anew in its own shards. take(7) and skip(7) are other samples,
#   filter(with_indices) keeps others and another number, map(with_indices) gives each index to several samples. Where the shards do not divide (3 on 2 ranks), all is right.
# Matters: a validation set of take(n) on one process holds training samples of skip(n) on two ranks, and so after a resume on other ranks; indices as the samples' names are not unique.
# Source: datasets/iterable_dataset.py, shard_data_sources. That take and skip divide n among ranks was chosen in huggingface/datasets pull request 6965; of the indices no issue was found.
. "$(dirname "$0")/common.sh"
python_packages datasets==5.2.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
from collections import Counter
from datasets import IterableDataset
from datasets.distributed import split_dataset_by_node
def samples(shards):
    for shard in shards: yield from ({"x": 10 * shard + i} for i in range(5))
def stream(shards): return IterableDataset.from_generator(samples, gen_kwargs={"shards": list(range(shards))})
def numbers(data): return [sample["x"] for sample in data]
def split(data, ranks): return sorted(sum((numbers(split_dataset_by_node(data, rank=rank, world_size=ranks)) for rank in range(ranks)), []))
for shards in 4, 3:
    whole = stream(shards); third = whole.filter(lambda sample, i: i % 3 == 0, with_indices=True); indexed = whole.map(lambda sample, i: {"x": i}, with_indices=True)
    taken, rest = numbers(whole.take(7)), split(whole.skip(7), 2)
    print(f"{shards} shards: take(7) {taken}, of 2 ranks {split(whole.take(7), 2)}; in it and in skip(7) of 2 ranks {sorted(set(taken) & set(rest))}")
    print(f"  each third by index {numbers(third)}, of 2 ranks {split(third, 2)}")
    print(f"  indices {len(set(numbers(indexed)))}, of 2 ranks {len(set(split(indexed, 2)))}, each for {sorted(set(Counter(split(indexed, 2)).values()))} samples")
E
HF_HOME=$tmp/hf observe python "$tmp/program.py"
verdict <<'E'
4 shards: take(7) [0, 1, 2, 3, 4, 10, 11], of 2 ranks [0, 1, 2, 3, 10, 11, 12]; in it and in skip(7) of 2 ranks [4]
  each third by index [0, 3, 11, 14, 22, 30, 33], of 2 ranks [0, 3, 10, 13, 21, 24, 31, 34]
  indices 20, of 2 ranks 10, each for [2] samples
3 shards: take(7) [0, 1, 2, 3, 4, 10, 11], of 2 ranks [0, 1, 2, 3, 4, 10, 11]; in it and in skip(7) of 2 ranks []
  each third by index [0, 3, 11, 14, 22], of 2 ranks [0, 3, 11, 14, 22]
  indices 15, of 2 ranks 15, each for [1] samples
E
