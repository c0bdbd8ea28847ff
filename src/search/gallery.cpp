#include "syncdr/search/gallery.h"

#include <ATen/ops/empty.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "syncdr/core/error.h"

namespace syncdr::search {
namespace {

/// What a file says of its images.
struct Names {
  explicit Names(const FeatureFile& file) : names(file.names()), categories(file.categories()) {}
  std::vector<std::string> names;
  std::vector<int32_t> categories;
};

bool is_among(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Gallery::Gallery(std::filesystem::path folder, const GalleryOptions& options)
    : folder_(std::move(folder)), index_(FeatureIndex::read(folder_)), starts_{0}, chunk_(options.chunk) {
  if (index_.parts.empty()) throw core::DataError("{}: holds no features yet: `syncdr embed` was interrupted. Run it again", folder_.string());
  std::set<std::string> domains, splits, chosen;
  for (const FeaturePart& part : index_.parts) {
    domains.insert(part.domain);
    splits.insert(part.split);
  }
  const auto refuse_unknown = [&](const char* what, const std::vector<std::string>& asked, const std::set<std::string>& known) {
    for (const std::string& name : asked)
      if (!known.contains(name))
        throw core::UsageError("{}: holds no features of the {} \"{}\", but of {}", folder_.string(), what, name, fmt::join(known, ", "));
  };
  refuse_unknown("domain", options.domains, domains);
  refuse_unknown("split", options.splits, splits);
  std::erase_if(index_.parts, [&](const FeaturePart& part) { return !is_among(options.domains, part.domain) || !is_among(options.splits, part.split); });
  if (index_.parts.empty())
    throw core::UsageError("{}: holds no features of the splits {} of the domains {}", folder_.string(), fmt::join(options.splits, ", "),
                           fmt::join(options.domains, ", "));
  for (const FeaturePart& part : index_.parts) {
    starts_.push_back(starts_.back() + part.rows);
    chunk_ = std::max(chunk_, part.rows);  // a file is read whole
    chosen.insert(part.domain);
  }
  domains_.assign(chosen.begin(), chosen.end());
  if (static_cast<uint64_t>(rows()) * static_cast<uint64_t>(index_.dim) * sizeof(float) <= options.memory) kept_ = load(0, rows());
}

bool Gallery::holds(const std::string& domain, const std::string& split, int64_t row) const {
  return std::any_of(index_.parts.begin(), index_.parts.end(), [&](const FeaturePart& part) {
    return part.domain == domain && part.split == split && row >= part.first && row - part.first < part.rows;
  });
}

std::string Gallery::category_name(const Match& match) const {
  if (match.category < 0) return "";
  if (std::cmp_less(match.category, index_.categories.size())) return index_.categories[static_cast<size_t>(match.category)];
  return std::to_string(match.category);
}

size_t Gallery::part_of(int64_t row) const { return static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), row) - starts_.begin() - 1); }

/// From the first to behind the last one.
std::pair<int64_t, int64_t> Gallery::rows_of(const std::string& domain) const {
  if (domain.empty()) return {0, rows()};
  if (!is_among(domains_, domain))
    throw core::UsageError("{}: holds no features of the domain \"{}\", but of {}", folder_.string(), domain, fmt::join(domains_, ", "));
  const auto is_of = [&](const FeaturePart& part) { return part.domain == domain; };
  const auto first = std::find_if(index_.parts.begin(), index_.parts.end(), is_of), last = std::find_if_not(first, index_.parts.end(), is_of);
  return {starts_[static_cast<size_t>(first - index_.parts.begin())], starts_[static_cast<size_t>(last - index_.parts.begin())]};
}

FeatureFile Gallery::open(size_t part) const { return {folder_, index_.parts[part], index_.settings, index_.dim}; }

/// [last - first, D]
at::Tensor Gallery::load(int64_t first, int64_t last) const {
  if (kept_.defined()) return kept_.narrow(0, first, last - first);
  const at::Tensor all = at::empty({last - first, index_.dim}, at::kFloat);
  for (size_t part = part_of(first); part < index_.parts.size() && starts_[part] < last; ++part) {
    const int64_t begin = std::max(first, starts_[part]), end = std::min(last, starts_[part + 1]);
    all.narrow(0, begin - first, end - begin).copy_(open(part).features().narrow(0, begin - starts_[part], end - begin));
  }
  return all;
}

/// Rows [begin, end): from memory, or read as they are searched.
evaluation::Neighbours Gallery::nearest(const at::Tensor& queries, int64_t k, int64_t begin, int64_t end) const {
  if (kept_.defined()) return evaluation::top_k(queries, load(begin, end).to(queries.device()), k);
  const auto read = [&](int64_t first, int64_t last) { return load(begin + first, begin + last).to(queries.device()); };
  return evaluation::top_k(queries, evaluation::GallerySource{.rows = end - begin, .read = read, .chunk = chunk_}, k);
}

std::vector<std::vector<Match>> Gallery::search(const at::Tensor& queries, int64_t k, const std::string& domain) const {
  SYNCDR_ASSERT(queries.dim() == 2 && queries.size(1) == index_.dim, "queries of {} features for a gallery of {}", queries.size(-1), index_.dim);
  const auto [begin, end] = rows_of(domain);
  const auto found = nearest(queries, k, begin, end);
  const at::Tensor scores = found.scores.to(at::kCPU), indices = found.indices.to(at::kCPU);
  const auto score_of = scores.accessor<float, 2>();
  const auto row_of = indices.accessor<int64_t, 2>();
  std::vector<std::vector<Match>> matches(static_cast<size_t>(queries.size(0)));
  std::map<size_t, Names> names;
  for (int64_t query = 0; query < queries.size(0); ++query)
    for (int64_t i = 0; i < indices.size(1); ++i) {
      const int64_t row = begin + row_of[query][i];
      const size_t part = part_of(row);
      if (!names.contains(part)) names.emplace(part, Names(open(part)));
      const auto local = static_cast<size_t>(row - starts_[part]);
      const FeaturePart& of = index_.parts[part];
      matches[static_cast<size_t>(query)].push_back({.score = score_of[query][i],
                                                     .name = names.at(part).names[local],
                                                     .domain = of.domain,
                                                     .split = of.split,
                                                     .row = of.first + static_cast<int64_t>(local),
                                                     .category = names.at(part).categories[local]});
    }
  return matches;
}

}  // namespace syncdr::search
