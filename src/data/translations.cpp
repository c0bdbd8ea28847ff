#include "syncdr/data/translations.h"

#include <ATen/ops/ones.h>

#include <algorithm>

#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

constexpr int32_t quarantined = 2;

/// The row of a split that a translation was made from. Throws DataError if there is no such row or it is another image. Readers have refused negative
/// numbers. where, row: the translation's, for errors.
int64_t find_source(const ShardList& list, const SourceRow& source, const ShardReader& where, int64_t row) {
  if (source.shard >= list.shards() || source.row >= list.shard(source.shard).rows()) {
    throw core::DataError("{}: row {} (\"{}\") was made from row {} of shard {}, which its source does not have", where.path().string(), row, source.key,
                          source.row, source.shard);
  }
  const int64_t found = list.first_row(source.shard) + source.row;
  if (list.key(found) != source.key) {
    throw core::DataError("{}: row {} was made from \"{}\", but the source has \"{}\" there: the dataset was packed again. Translate it again",
                          where.path().string(), row, source.key, list.key(found));
  }
  return found;
}

int64_t variants_of(const ShardList& run) {
  int64_t variants = 1;
  for (int64_t at = 0; at < run.rows(); ++at) {
    const auto [shard, row] = run.locate(at);
    variants = std::max<int64_t>(variants, run.shard(shard).source(row).variant + 1);
  }
  return variants;
}

constexpr int64_t missing = -1, unusable = -2;

/// [source rows, variants]: the run's row, or `unusable` where it is quarantined. Each source row must have the same variants, once each.
std::vector<int64_t> table_of(const ShardList& source, const ShardList& run, int64_t variants) {
  std::vector<int64_t> table(static_cast<size_t>(run.rows()), missing);
  for (int64_t at = 0; at < run.rows(); ++at) {
    const auto [shard, row] = run.locate(at);
    const ShardReader& reader = run.shard(shard);
    const SourceRow& from = reader.source(row);
    const int64_t found = find_source(source, from, reader, row);
    if (from.variant < 0) throw core::DataError("{}: row {} (\"{}\") is variant {}", reader.path().string(), row, from.key, from.variant);
    int64_t& slot = table[static_cast<size_t>(found * variants + from.variant)];
    // As many rows as slots, each slot filled at most once: none is then left empty.
    if (slot != missing) throw core::DataError("{}: row {} is variant {} of \"{}\" once more", reader.path().string(), row, from.variant, from.key);
    slot = from.status == quarantined ? unusable : at;
  }
  return table;
}

}  // namespace

Translations::Translations(const Dataset& dataset, const ShardList& sources, const std::string& source, const std::string& target,
                           const std::vector<TranslatedSet>& sets, const std::string& split) {
  for (const TranslatedSet& wanted : sets) {
    Set set{.list = dataset.synthetic(source, target, wanted.run), .share = wanted.share, .good = {}, .ends = {0}};
    if (const ShardReader& shard = set.list.shard(0); shard.header().split != split)  // a list's shards are of one split
      throw core::DataError("{}: holds translations of the split \"{}\", not of \"{}\"", shard.path().string(), shard.header().split, split);
    const int64_t variants = variants_of(set.list);
    if (set.list.rows() != sources.rows() * variants) {
      throw core::DataError("{} from {} to {}: {} translations of {} images in {} variants: some are missing. Translate them again", wanted.run, source, target,
                            set.list.rows(), sources.rows(), variants);
    }
    const std::vector<int64_t> table = table_of(sources, set.list, variants);
    const auto given = wanted.weights.find({source, target});
    const at::Tensor weights = given == wanted.weights.end() ? at::ones({sources.rows(), variants}, at::kDouble) : given->second.contiguous();
    SYNCDR_ASSERT(weights.sizes() == at::IntArrayRef({sources.rows(), variants}), "{}: {} source rows in {} variants", wanted.run, sources.rows(), variants);
    const int64_t used = wanted.variants > 0 ? std::min(wanted.variants, variants) : variants;
    for (int64_t row = 0; row < sources.rows(); ++row) {
      for (int64_t variant = 0; variant < used; ++variant) {
        const int64_t slot = row * variants + variant, at = table[static_cast<size_t>(slot)];
        const double weight = weights.const_data_ptr<double>()[slot];
        if (at != unusable && weight > 0) set.good.push_back({at, weight});
      }
      set.ends.push_back(std::ssize(set.good));
    }
    sets_.push_back(std::move(set));
  }
}

std::span<const Translations::Good> Translations::Set::of(int64_t source) const {
  const auto first = static_cast<size_t>(ends.at(static_cast<size_t>(source))), last = static_cast<size_t>(ends.at(static_cast<size_t>(source) + 1));
  return std::span(good).subspan(first, last - first);
}

bool Translations::has(int64_t source) const {
  return std::any_of(sets_.begin(), sets_.end(), [&](const Set& set) { return !set.of(source).empty(); });
}

bool Translations::weighted() const {
  return std::any_of(sets_.begin(), sets_.end(),
                     [](const Set& set) { return std::any_of(set.good.begin(), set.good.end(), [](auto& each) { return each.weight != 1; }); });
}

std::vector<const ShardReader*> Translations::shards() const {
  std::vector<const ShardReader*> all;
  for (const Set& set : sets_)
    for (int64_t index = 0; index < set.list.shards(); ++index) all.push_back(&set.list.shard(index));
  return all;
}

Place Translations::draw(int64_t source, core::Random& random) const {
  std::vector<const Set*> having;
  double shares = 0;
  for (const Set& set : sets_) {
    if (set.of(source).empty()) continue;
    having.push_back(&set);
    shares += set.share;
  }
  SYNCDR_ASSERT(!having.empty(), "source {} has no translation", source);
  const Set* chosen = having.front();
  if (having.size() > 1) {  // where there is no choice, nothing is drawn
    double place = random.uniform(0, shares);
    for (size_t i = 0; i + 1 < having.size() && place >= having[i]->share; ++i) {
      place -= having[i]->share;
      chosen = having[i + 1];
    }
  }
  const auto good = chosen->of(source);
  const Good& drawn = good[good.size() == 1 ? 0 : random.below(good.size())];
  Place place = chosen->list.place(drawn.row);
  place.weight = drawn.weight;
  return place;
}

}  // namespace syncdr::data
