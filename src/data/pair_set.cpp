#include "syncdr/data/pair_set.h"

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

/// Which rows of a run stand for each row of its source. Each source row must have the same variants, once each; quarantined ones are then
/// left out, and so are variants from number at_most on (0: none), and what `unwanted` [source rows, variants] says, if it is defined.
PairSet::Side translations_of(const ShardList& source, const ShardList& run, const std::string& split, int64_t at_most, const at::Tensor& unwanted,
                              const std::string& what) {
  if (const ShardReader& shard = run.shard(0); shard.header().split != split)  // a list's shards are of one split
    throw core::DataError("{}: holds translations of the split \"{}\", not of \"{}\"", shard.path().string(), shard.header().split, split);
  const int64_t variants = variants_of(run);
  if (run.rows() != source.rows() * variants) {
    throw core::DataError("{}: {} translations of {} images in {} variants: some are missing. Translate them again", what, run.rows(), source.rows(), variants);
  }
  constexpr int64_t missing = -1, unusable = -2;
  std::vector<int64_t> table(static_cast<size_t>(run.rows()), missing);  // [source rows, variants]
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
  SYNCDR_ASSERT(!unwanted.defined() || unwanted.sizes() == at::IntArrayRef({source.rows(), variants}), "{}: {} source rows in {} variants", what, source.rows(),
                variants);
  const auto wanted = [&](int64_t slot) { return !unwanted.defined() || !unwanted.const_data_ptr<bool>()[slot]; };
  PairSet::Side side;
  for (int64_t row = 0; row < source.rows(); ++row) {
    for (int64_t variant = 0; variant < (at_most > 0 ? std::min(at_most, variants) : variants); ++variant) {
      const int64_t slot = row * variants + variant, at = table[static_cast<size_t>(slot)];
      if (at != unusable && wanted(slot)) side.add_row(at);
    }
    side.end_entry();
  }
  return side;
}

}  // namespace

int64_t PairSet::Side::draw(int64_t entry, core::Random& random) const {
  const auto all = rows(entry);
  SYNCDR_ASSERT(!all.empty(), "entry {} has no image", entry);
  return all[all.size() == 1 ? 0 : random.below(all.size())];
}

std::span<const int64_t> PairSet::Side::rows(int64_t entry) const {
  const int64_t begin = entry == 0 ? 0 : ends_.at(static_cast<size_t>(entry - 1)), end = ends_.at(static_cast<size_t>(entry));
  return {rows_.data() + begin, static_cast<size_t>(end - begin)};
}

PairSet::PairSet(const Dataset& dataset, const std::string& domain, const std::string& other, const std::string& run, const std::string& split,
                 int64_t variants, const LeftOut& left_out)
    : real_(dataset.real(domain, split)), has_run_(!run.empty()) {
  for (int64_t row = 0; row < real_.rows(); ++row) {
    own_.add_row(row);
    own_.end_entry();
  }
  if (!has_run_) return;
  from_ = dataset.synthetic(domain, other, run);
  const auto unwanted = [&](const std::string& source, const std::string& target) {
    const auto found = left_out.find({source, target});
    return found == left_out.end() ? at::Tensor() : found->second.contiguous();
  };
  counterparts_ = translations_of(real_, from_, split, variants, unwanted(domain, other), fmt::format("{} from {} to {}", run, domain, other));
  other_real_ = dataset.real(other, split);
  into_ = dataset.synthetic(other, domain, run);
  const Side into = translations_of(other_real_, into_, split, variants, unwanted(other, domain), fmt::format("{} from {} to {}", run, other, domain));
  for (int64_t source = 0; source < other_real_.rows(); ++source) {
    const auto translations = into.rows(source);
    if (translations.empty()) continue;
    for (const int64_t row : translations) own_.add_row(row);
    own_.end_entry();
    counterparts_.add_row(source);
    counterparts_.end_entry();
  }
}

const std::string& PairSet::key(int64_t entry) const { return is_real(entry) ? real_.key(entry) : other_real_.key(counterparts_.rows(entry).front()); }

Image PairSet::image(int64_t entry, core::Random random, int64_t at_least) const {
  const int64_t row = own_.draw(entry, random);
  return (is_real(entry) ? real_ : into_).image(row, at_least);
}

Image PairSet::counterpart(int64_t entry, core::Random random, int64_t at_least) const {
  const int64_t row = counterparts_.draw(entry, random);
  return (is_real(entry) ? from_ : other_real_).image(row, at_least);
}

}  // namespace syncdr::data
