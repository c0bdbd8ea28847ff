#include "syncdr/data/pair_set.h"

#include <algorithm>

#include "syncdr/core/error.h"
#include "syncdr/io/hash.h"

namespace syncdr::data {

PairSet::PairSet(const Dataset& dataset, const std::string& domain, const std::vector<std::string>& others, const std::vector<TranslatedSet>& sets,
                 const std::string& split)
    : real_(dataset.real(domain, split)), size_(real_.rows()) {
  if (sets.empty()) return;
  if (others.size() > 1) salt_ = io::hash64(domain) << 2;  // the lowest bits are load_pairs' own
  for (const std::string& name : others) {
    ShardList real = dataset.real(name, split);
    Translations from(dataset, real_, domain, name, sets, split), into(dataset, real, name, domain, sets, split);
    std::vector<int64_t> sources;
    for (int64_t row = 0; row < real.rows(); ++row)
      if (into.has(row)) sources.push_back(row);
    size_ += std::ssize(sources);
    weighted_ = weighted_ || from.weighted() || into.weighted();
    others_.push_back({std::move(real), std::move(from), std::move(into), std::move(sources)});
  }
}

std::pair<const PairSet::Other*, int64_t> PairSet::source_of(int64_t entry) const {
  SYNCDR_ASSERT(entry >= real_count() && entry < size(), "entry {} is none of the translations {} to {}", entry, real_count(), size());
  auto place = static_cast<size_t>(entry - real_count());
  auto other = others_.begin();
  for (; place >= other->sources.size(); ++other) place -= other->sources.size();
  return {&*other, other->sources[place]};
}

std::string PairSet::key(int64_t entry) const {
  if (is_real(entry)) return real_.key(entry);
  const auto [other, source] = source_of(entry);
  return other->real.key(source);
}

bool PairSet::has_counterpart(int64_t entry) const {
  return !is_real(entry) || std::any_of(others_.begin(), others_.end(), [&](const Other& other) { return other.from.has(entry); });
}

Place PairSet::place(int64_t entry, core::Random random) const {
  if (is_real(entry)) return real_.place(entry);
  const auto [other, source] = source_of(entry);
  return other->into.draw(source, random);
}

Place PairSet::counterpart_place(int64_t entry, core::Random random) const {
  if (!is_real(entry)) {
    const auto [other, source] = source_of(entry);
    return other->real.place(source);
  }
  std::vector<const Translations*> having;
  for (const Other& other : others_)
    if (other.from.has(entry)) having.push_back(&other.from);
  SYNCDR_ASSERT(!having.empty(), "entry {} has no counterpart", entry);
  return having[having.size() == 1 ? 0 : random.below(having.size())]->draw(entry, random);
}

std::vector<const ShardReader*> PairSet::shards() const {
  std::vector<const ShardReader*> all;
  const auto add = [&](const ShardList& list) {
    for (int64_t index = 0; index < list.shards(); ++index) all.push_back(&list.shard(index));
  };
  add(real_);
  for (const Other& other : others_) {
    add(other.real);
    for (const Translations* translations : {&other.from, &other.into}) std::ranges::copy(translations->shards(), std::back_inserter(all));
  }
  return all;
}

}  // namespace syncdr::data
