#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "syncdr/evaluation/search.h"
#include "syncdr/search/feature_files.h"

namespace syncdr::search {

/// An image that a query has found.
struct Match {
  double score = 0;  ///< inner product of the unit features, 1: the same
  std::string name, domain, split;
  int64_t row = 0;        ///< in its split
  int32_t category = -1;  ///< -1: not known
};

struct GalleryOptions {
  std::vector<std::string> domains, splits;  ///< empty: all
  uint64_t memory = 0;                       ///< bytes of features that may stay in memory; more are read at each search
  int64_t chunk = 16384;                     ///< rows that are read at a time; at least those of the longest file
};

/// Features in files that can be searched. They are read piece by piece, so that they may be more than fits memory.
class Gallery {
 public:
  /// Throws DataError if the folder holds no features, or UsageError if none of these domains and splits.
  Gallery(std::filesystem::path folder, const GalleryOptions& options);

  const FeatureIndex& index() const { return index_; }
  const std::filesystem::path& folder() const { return folder_; }
  int64_t rows() const { return starts_.back(); }
  const std::vector<std::string>& domains() const { return domains_; }                 ///< that it holds
  bool holds(const std::string& domain, const std::string& split, int64_t row) const;  ///< row: in the split
  /// The name of a match's category: its number where names are not known; empty: it has none.
  std::string category_name(const Match& match) const;

  /// The k best of each query [Q, D] (a float tensor; where it lies is searched), best first: exact, in the order of evaluation::top_k. domain: of one alone;
  /// empty: of all. Fewer where there are fewer. Throws DataError if a file was damaged.
  std::vector<std::vector<Match>> search(const at::Tensor& queries, int64_t k, const std::string& domain = "") const;

 private:
  size_t part_of(int64_t row) const;
  std::pair<int64_t, int64_t> rows_of(const std::string& domain) const;
  at::Tensor load(int64_t first, int64_t last) const;
  FeatureFile open(size_t part) const;
  evaluation::Neighbours nearest(const at::Tensor& queries, int64_t k, int64_t begin, int64_t end) const;

  std::filesystem::path folder_;
  FeatureIndex index_;           // of what it holds alone; a domain's parts stand together
  std::vector<int64_t> starts_;  // the first row of each part, and the number of rows
  std::vector<std::string> domains_;
  int64_t chunk_;
  at::Tensor kept_;  // [rows, D] where they fit, else undefined
};

}  // namespace syncdr::search
