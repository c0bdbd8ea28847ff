#!/usr/bin/env bash
# grain 0.2.18. Seen on 2026-11-30.
# Expected: a dataset that is sharded by slicing, dataset[rank::ranks], gives each record random numbers of its own: DataLoader does so, and its workers do too.
# Happens: random_map numbers the records within the shard. With one seed, the ranks' k-th records get the same crops, flips, noise and timesteps, in MapDataset and in IterDataset.
#   With random_map before the slice each record has its own.
# Matters: on 64 ranks a global batch has 1/64 of the draws that one thinks: one noise for all ranks, which no loss shows. Slice after random_map, or give random_map a seed of the rank's.
# Source: random_map's documentation: "a combination of the seed and the index of the element in the dataset"; its maintainers in
#   github.com/google/grain/issues/1102: different "depending on the element index".
. "$(dirname "$0")/common.sh"
python_packages grain==0.2.18 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import grain
class Draw(grain.transforms.RandomMap):
    def random_map(self, record, rng): return int(record), int(rng.integers(1000))
def drawn(ways): return [number for _, number in ways]
def report(what, build, ranks=2):
    lists = [list(build(rank, ranks)) for rank in range(ranks)]
    print(f"{what}: {lists[0]} {lists[1]}, equal draws {sum(a == b for a, b in zip(drawn(lists[0]), drawn(lists[1])))} of 4")
whole = lambda: grain.MapDataset.range(8).seed(3)
report("slice, random_map", lambda rank, ranks: whole()[rank::ranks].random_map(Draw()))
report("shuffle, slice, random_map", lambda rank, ranks: whole().shuffle()[rank::ranks].random_map(Draw()))
report("slice, IterDataset, random_map", lambda rank, ranks: whole()[rank::ranks].to_iter_dataset().random_map(Draw()))
report("random_map, slice", lambda rank, ranks: whole().random_map(Draw())[rank::ranks])
def loader(rank, ranks):
    sampler = grain.samplers.IndexSampler(8, grain.sharding.ShardOptions(rank, ranks), shuffle=False, seed=3, num_epochs=1)
    return grain.DataLoader(data_source=range(8), sampler=sampler, operations=[Draw()], worker_count=0)
report("DataLoader", loader)
E
observe python "$tmp/program.py"
verdict <<'E'
slice, random_map: [(0, 673), (2, 999), (4, 819), (6, 305)] [(1, 673), (3, 999), (5, 819), (7, 305)], equal draws 4 of 4
shuffle, slice, random_map: [(4, 186), (0, 187), (5, 770), (1, 480)] [(6, 186), (7, 187), (3, 770), (2, 480)], equal draws 4 of 4
slice, IterDataset, random_map: [(0, 186), (2, 187), (4, 770), (6, 480)] [(1, 186), (3, 187), (5, 770), (7, 480)], equal draws 4 of 4
random_map, slice: [(0, 388), (2, 621), (4, 521), (6, 227)] [(1, 545), (3, 517), (5, 279), (7, 49)], equal draws 0 of 4
DataLoader: [(0, 862), (1, 206), (2, 163), (3, 809)] [(4, 317), (5, 208), (6, 312), (7, 500)], equal draws 0 of 4
E
