#include "syncdr/evaluation/metrics.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "average_precision.h"
#include "syncdr/core/error.h"
#include "syncdr/io/scratch.h"
#include "syncdr/retrieval/running_best.h"
#include "tiles.h"

namespace syncdr::evaluation {
namespace {

using RowsOfCategory = std::unordered_map<int64_t, std::vector<int64_t>>;

void check_labels(const at::Tensor& labels, int64_t rows, const char* what) {
  SYNCDR_ASSERT(labels.dim() == 1 && labels.scalar_type() == at::kLong && labels.size(0) == rows, "{} labels must be [{}] int64", what, rows);
}

/// The nearest of one query.
struct Ranking {
  const float* scores;  // falling
  const int64_t* rows;
  int64_t count;
  bool whole;  // there are no others
};

/// Rows that have the last score of a ranking which is not whole: how many, and how many of them are right.
struct Tied {
  int64_t all = 0, right = 0;
};

/// What stands in a query's first places: above the score of the last one, and the rows that share that score.
struct Places {
  int64_t above = 0, right_above = 0, shared = 0;  // shared: places that are left for the tied
  Tied tied;
  bool open = false;  // the ranking ends within the tie
};

Places places_of(const Ranking& ranking, int64_t places, const auto& is_right) {
  Places result;
  const float last = ranking.scores[places - 1];
  for (; ranking.scores[result.above] > last; ++result.above) result.right_above += is_right(ranking.rows[result.above]);
  result.shared = places - result.above;
  int64_t end = result.above;
  for (; end < ranking.count && ranking.scores[end] == last; ++end) result.tied.right += is_right(ranking.rows[end]);
  result.tied.all = end - result.above;
  result.open = end == ranking.count && !ranking.whole;
  return result;
}

double correct_of(const Places& places) {
  return static_cast<double>(places.right_above) + static_cast<double>(places.shared * places.tied.right) / static_cast<double>(places.tied.all);
}

/// The chance that one is right.
double any_right(const Places& places) {
  if (places.right_above > 0) return 1;
  double none = 1;
  for (int64_t i = 0; i < places.shared && none > 0; ++i)
    none *= static_cast<double>(std::max<int64_t>(places.tied.all - places.tied.right - i, 0)) / static_cast<double>(places.tied.all - i);
  return 1 - none;
}

/// A query whose category the gallery has, while its tile is worked through.
struct Query {
  int64_t row, label;
  const std::vector<int64_t>* right;  // rows of the gallery
  std::optional<AveragePrecision> average_precision;
  bool open = false;  // a place that counts is within the tie that its ranking ends in
  float last = 0;     // the last score of its ranking
  Tied tied;          // all rows that have it
};

/// One direction, and what is wanted of it.
class Measuring {
 public:
  Measuring(const at::Tensor& query_labels, const at::Tensor& gallery_labels, std::span<const Measure> measures, int64_t kept)
      : labels_(query_labels.const_data_ptr<int64_t>()), gallery_(gallery_labels.const_data_ptr<int64_t>()), all_(gallery_labels.size(0)), measures_(measures) {
    for (int64_t row = 0; row < all_; ++row) rows_[gallery_[row]].push_back(row);
    const int64_t queries = query_labels.size(0);
    depth_ = kept;
    for (const Measure& measure : measures) {
      depth_ = std::max(depth_, measure.k + 1);  // one more shows whether the last place is shared
      ranks_all_ = ranks_all_ || measure.kind == Measure::Kind::average_precision;
    }
    depth_ = std::min(depth_, all_);
    nearest_ = io::scratch_tensor({queries, std::min(kept, all_)}, at::kLong);
    hits_.assign(measures.size(), std::vector<Hits>(static_cast<size_t>(queries)));
  }

  /// Measures the queries of one tile.
  void work(const Tiles& tiles, int64_t index, const at::Tensor& room) {
    std::vector<Query> queries = queries_of(tiles, index);
    retrieval::RunningBest best(tiles.own_rows(index), depth_, tiles.queries().options());
    tiles.each_piece(index, room, [&](const at::Tensor& scores, int64_t first) {
      best.offer(scores, first);
      if (!ranks_all_) return;
      each(queries, scores, tiles.first_row(index),
           [&](Query& query, const float* of_query) { query.average_precision->collect(of_query, first, scores.size(1)); });
    });
    const auto found = best.in_order();
    const auto scores = found.scores.to(at::kCPU), rows = found.columns.to(at::kCPU);
    nearest_.narrow(0, tiles.first_row(index), rows.size(0)).copy_(rows.narrow(1, 0, nearest_.size(1)));
    const auto ranking_of = [&](const Query& query) {
      const int64_t at = (query.row - tiles.first_row(index)) * depth_;
      return Ranking{scores.const_data_ptr<float>() + at, rows.const_data_ptr<int64_t>() + at, depth_, depth_ == all_};
    };
    for (Query& query : queries) {
      query.last = ranking_of(query).scores[depth_ - 1];
      fill(query, ranking_of(query), /*all_seen=*/false);
    }
    if (!ranks_all_ && std::none_of(queries.begin(), queries.end(), [](const Query& query) { return query.open; })) return;
    tiles.each_piece(index, room, [&](const at::Tensor& piece, int64_t first) {
      each(queries, piece, tiles.first_row(index), [&](Query& query, const float* of_query) { look_again(query, of_query, first, piece.size(1)); });
    });
    for (Query& query : queries) fill(query, ranking_of(query), /*all_seen=*/true);
  }

  Found result() && {
    std::vector<size_t> counted;
    std::vector<int32_t> categories;
    for (int64_t row = 0; row < nearest_.size(0); ++row) {
      if (!rows_.contains(labels_[row])) continue;
      counted.push_back(static_cast<size_t>(row));
      categories.push_back(static_cast<int32_t>(labels_[row]));
    }
    if (counted.empty())
      throw core::DataError(
          "evaluation: no query's category occurs in the gallery. Query and gallery must be labelled alike: check the lists they were packed "
          "from.");
    Found found{.nearest = nearest_};
    for (size_t m = 0; m < measures_.size(); ++m) {
      std::vector<Hits>& hits = hits_[m];
      for (size_t i = 0; i < counted.size(); ++i) hits[i] = hits[counted[i]];  // in place: there may be millions
      hits.resize(counted.size());
      found.hits[measures_[m]] = {categories, std::move(hits)};
    }
    return found;
  }

 private:
  std::vector<Query> queries_of(const Tiles& tiles, int64_t index) const {
    std::vector<Query> queries;
    for (int64_t i = 0; i < tiles.own_rows(index); ++i) {
      const int64_t row = tiles.first_row(index) + i;
      const auto found = rows_.find(labels_[row]);
      if (found == rows_.end()) continue;
      queries.push_back({row, labels_[row], &found->second});
      if (ranks_all_) queries.back().average_precision.emplace(found->second);
    }
    return queries;
  }

  // what(query, its scores) of each. On a CPU this is one of several threads, which LibTorch keeps to itself.
  static void each(std::vector<Query>& queries, const at::Tensor& scores, int64_t first_row, const auto& what) {
    const at::Tensor here = scores.to(at::kCPU);
    const float* values = here.const_data_ptr<float>();
    at::parallel_for(0, std::ssize(queries), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Query& query = queries[static_cast<size_t>(i)];
        what(query, values + (query.row - first_row) * here.stride(0));
      }
    });
  }

  void look_again(Query& query, const float* scores, int64_t first, int64_t count) const {
    if (ranks_all_) query.average_precision->count(scores, count);
    if (!query.open) return;
    for (int64_t i = 0; i < count; ++i) {
      if (scores[i] != query.last) continue;
      ++query.tied.all;
      query.tied.right += gallery_[first + i] == query.label;
    }
  }

  /// Writes what is known of a query. all_seen: the second pass is over.
  void fill(Query& query, const Ranking& ranking, bool all_seen) {
    const auto is_right = [&](int64_t row) { return gallery_[row] == query.label ? 1 : 0; };
    for (size_t m = 0; m < measures_.size(); ++m) {
      const auto& [kind, k] = measures_[m];
      Hits& hits = hits_[m][static_cast<size_t>(query.row)];
      if (kind == Measure::Kind::average_precision) {
        hits = {all_seen ? query.average_precision->value() : 0, 1};
        continue;
      }
      const bool precision = kind == Measure::Kind::precision;
      const int64_t places = std::min(k, precision ? std::ssize(*query.right) : all_);
      Places found = places_of(ranking, places, is_right);
      query.open = query.open || found.open;
      if (found.open && all_seen) found.tied = query.tied;
      hits = precision ? Hits{correct_of(found), static_cast<int32_t>(places)} : Hits{any_right(found), 1};
    }
  }

  const int64_t *labels_, *gallery_;
  int64_t all_;  // rows of the gallery
  std::span<const Measure> measures_;
  RowsOfCategory rows_;
  int64_t depth_ = 0;
  bool ranks_all_ = false;
  at::Tensor nearest_;
  std::vector<std::vector<Hits>> hits_;  // [measures][queries]
};

}  // namespace

std::string name_of(const Measure& measure) {
  if (measure.kind == Measure::Kind::average_precision) return "map";
  return fmt::format("{}@{}", measure.kind == Measure::Kind::precision ? "prec" : "recall", measure.k);
}

std::string title_of(const Measure& measure) {
  if (measure.kind == Measure::Kind::average_precision) return "mAP@All";
  return fmt::format("{}@{}", measure.kind == Measure::Kind::precision ? "Prec" : "Recall", measure.k);
}

Found measure(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels,
              std::span<const Measure> measures, int64_t kept) {
  check_features(queries, gallery);
  check_labels(query_labels, queries.size(0), "query");
  check_labels(gallery_labels, gallery.size(0), "gallery");
  for (const Measure& one : measures) SYNCDR_ASSERT(one.k >= (one.kind == Measure::Kind::average_precision ? 0 : 1), "{}", name_of(one));
  SYNCDR_ASSERT(!measures.empty() && kept >= 1, "{} measures, {} neighbours", measures.size(), kept);
  const at::NoGradGuard no_grad;
  const auto of_queries = query_labels.contiguous(), of_gallery = gallery_labels.contiguous();
  Measuring measuring(of_queries, of_gallery, measures, kept);
  const Tiles tiles(queries, gallery);
  if (gallery.size(0) > 0) tiles.each([&](int64_t index, const at::Tensor& room) { measuring.work(tiles, index, room); });
  return std::move(measuring).result();
}

}  // namespace syncdr::evaluation
