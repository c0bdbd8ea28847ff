#include "syncdr/evaluation/search.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <limits>
#include <optional>

#include "syncdr/core/error.h"
#include "syncdr/data/loader.h"
#include "syncdr/retrieval/running_best.h"
#include "tiles.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t queries_at_once = 512;  // of a thread: their candidates are in memory; the gallery passes by once for each so many

// The largest magnitude of a feature. aminmax passes NaN on and needs no memory, unlike isfinite and abs.
double largest(const at::Tensor& features, const char* what) {
  SYNCDR_ASSERT(features.dim() == 2 && features.scalar_type() == at::kFloat, "{} must be [rows, D] float", what);
  if (features.numel() == 0) return 0;
  const auto [low, high] = at::aminmax(features);
  const double magnitude = std::max(std::abs(low.item<double>()), std::abs(high.item<double>()));
  if (!std::isfinite(magnitude) || std::isnan(low.item<double>()))
    throw core::DataError("search: the {} features hold NaN or infinity. The encoder's training has diverged, or its weights are damaged.", what);
  return magnitude;
}

/// Queries with what they have found so far, by the kernel.
///
/// Threads share the queries, each the whole gallery: what a query costs whatever the size of the gallery is paid once. Where queries are too few for that,
/// threads share the gallery as well, and one query keeps them all busy.
class Search {
 public:
  Search(const at::Tensor& queries, int64_t k) {
    constexpr int64_t panel = 32, least = 64;  // the kernel's; queries of a part: fewer do not pay for reading a gallery
    const int64_t rows = queries.size(0), panels = (rows + panel - 1) / panel;
    const int64_t count = std::max(std::clamp<int64_t>(rows / least, 1, threads_), (rows + queries_at_once - 1) / queries_at_once);
    for (int64_t part = 0; part <= count; ++part) begins_.push_back(std::min(panels * part / count * panel, rows));
    parts_.resize(static_cast<size_t>(count));
    nn::each_in_one_thread(count, [&](int64_t part) { parts_[static_cast<size_t>(part)].emplace(rows_of(part, queries), k); });
  }

  void offer(const at::Tensor& gallery, int64_t first) {
    constexpr int64_t least = 256;  // rows of a thread: fewer are not worth one
    const int64_t rows = gallery.size(0), count = std::ssize(parts_), shares = std::clamp<int64_t>(rows / least, 1, std::max<int64_t>(threads_ / count, 1));
    if (shares == 1) {
      nn::each_in_one_thread(count, [&](int64_t index) {
        Part& part = *parts_[static_cast<size_t>(index)];
        part.best.offer(part.packed, gallery, first);
      });
      return;
    }
    std::vector<kernels::BestColumns> found;
    for (int64_t i = 0; i < count * shares; ++i) found.push_back(parts_[static_cast<size_t>(i / shares)]->best.next());
    nn::each_in_one_thread(count * shares, [&](int64_t i) {
      const int64_t share = i % shares, from = rows * share / shares, to = rows * (share + 1) / shares;
      found[static_cast<size_t>(i)].offer(parts_[static_cast<size_t>(i / shares)]->packed, gallery.narrow(0, from, to - from), first + from);
    });
    for (size_t i = 0; i < found.size(); ++i) parts_[i / static_cast<size_t>(shares)]->best.merge(found[i]);
  }

  bool finite() const {
    return std::all_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->best.finite(); });
  }

  void in_order(const Neighbours& found) {
    nn::each_in_one_thread(std::ssize(parts_),
                           [&](int64_t part) { parts_[static_cast<size_t>(part)]->best.in_order(rows_of(part, found.scores), rows_of(part, found.indices)); });
  }

 private:
  struct Part {
    at::Tensor packed;
    kernels::BestColumns best;

    Part(const at::Tensor& queries, int64_t k) : packed(kernels::packed_rows(queries)), best(queries.size(0), k) {}
  };

  at::Tensor rows_of(int64_t part, const at::Tensor& all) const {
    const int64_t first = begins_[static_cast<size_t>(part)];
    return all.narrow(0, first, begins_[static_cast<size_t>(part) + 1] - first);
  }

  const int64_t threads_ = at::get_num_threads();
  std::vector<int64_t> begins_;  // of parts; behind them the number of queries
  std::vector<std::optional<Part>> parts_;
};

[[noreturn]] void not_finite(const at::Tensor& queries, const at::Tensor& gallery) {
  check_features(queries, gallery);
  throw core::DataError("search: similarities overflow. Scale the features to unit length.");
}

Neighbours room_for(const at::Tensor& queries, int64_t k) {
  return {queries.new_empty({queries.size(0), k}), at::empty({queries.size(0), k}, queries.options().dtype(at::kLong))};
}

void check_call(const at::Tensor& queries, int64_t k) {
  if (k < 1) throw core::UsageError("search: k = {} must be at least 1.", k);
  SYNCDR_ASSERT(queries.dim() == 2 && queries.scalar_type() == at::kFloat, "queries must be [rows, D] float");
}

// Of two lists in order, the second of larger rows: the k best.
Neighbours merged(const Neighbours& a, const Neighbours& b, int64_t k) {
  const auto scores = at::cat({a.scores, b.scores}, 1), indices = at::cat({a.indices, b.indices}, 1);
  const auto [sorted, order] = scores.sort(/*stable=*/true, 1, /*descending=*/true);
  return {sorted.narrow(1, 0, k), indices.gather(1, order.narrow(1, 0, k))};
}

}  // namespace

// No sum of D products may overflow, so that every score is finite and has its place in the order.
void check_features(const at::Tensor& queries, const at::Tensor& gallery) {
  const double bound = largest(queries, "query") * largest(gallery, "gallery") * static_cast<double>(queries.size(1));
  SYNCDR_ASSERT(queries.size(1) == gallery.size(1), "queries have {} features, the gallery {}", queries.size(1), gallery.size(1));
  if (bound > std::numeric_limits<float>::max()) throw core::DataError("search: similarities may reach {:.3g}. Scale the features to unit length.", bound);
}

Neighbours top_k_in_tiles(const Tiles& tiles, int64_t k, int64_t from) {
  const auto& queries = tiles.queries();
  const Neighbours found = room_for(queries, k);
  tiles.each([&](int64_t index, const at::Tensor& room) {
    const int64_t first = tiles.first_row(index), rows = tiles.own_rows(index);
    retrieval::RunningBest best(rows, k, queries.options());
    tiles.each_piece(index, room, [&](const at::Tensor& scores, int64_t column) { best.offer(scores, column); }, from);
    const auto part = best.in_order();
    found.scores.narrow(0, first, rows).copy_(part.scores);
    found.indices.narrow(0, first, rows).copy_(part.columns);
  });
  return found;
}

Neighbours top_k(const at::Tensor& queries, const at::Tensor& gallery, int64_t k) {
  check_call(queries, k);
  SYNCDR_ASSERT(gallery.dim() == 2 && gallery.scalar_type() == at::kFloat && gallery.size(1) == queries.size(1),
                "the gallery must be [rows, {}] float, as the queries are", queries.size(1));
  const at::NoGradGuard no_grad;
  k = std::min(k, gallery.size(0));
  if (queries.size(0) == 0 || k == 0) return room_for(queries, k);
  if (!kernel_takes(queries)) {
    check_features(queries, gallery);
    return top_k_in_tiles(Tiles(queries, gallery), k);
  }
  const Neighbours found = room_for(queries, k);
  const auto rows_of_gallery = gallery.contiguous();
  const int64_t at_once = queries_at_once * at::get_num_threads();
  for (int64_t first = 0; first < queries.size(0); first += at_once) {
    const int64_t rows = std::min(at_once, queries.size(0) - first);
    Search search(queries.narrow(0, first, rows), k);
    search.offer(rows_of_gallery, 0);
    if (!search.finite()) not_finite(queries, gallery);
    search.in_order({found.scores.narrow(0, first, rows), found.indices.narrow(0, first, rows)});
  }
  return found;
}

Neighbours top_k(const at::Tensor& queries, const GallerySource& gallery, int64_t k) { return top_k_of(queries, gallery, k, kernel_takes(queries)); }

Neighbours top_k_of(const at::Tensor& queries, const GallerySource& gallery, int64_t k, bool by_kernel) {
  check_call(queries, k);
  SYNCDR_ASSERT(gallery.rows >= 0 && gallery.chunk >= 1, "a gallery of {} rows, read {} at a time", gallery.rows, gallery.chunk);
  const at::NoGradGuard no_grad;
  k = std::min(k, gallery.rows);
  if (queries.size(0) == 0 || k == 0) return room_for(queries, k);
  std::optional<Search> search;
  if (by_kernel) search.emplace(queries, k);
  Neighbours found = room_for(queries, 0);
  const int64_t chunk = std::min(gallery.chunk, gallery.rows);
  // Without the kernel the last chunk reaches back, as tiles do.
  const auto begin_of = [&](int64_t first) { return by_kernel ? first : std::min(first, gallery.rows - chunk); };
  const auto read = [&](int64_t step) {
    const at::NoGradGuard in_its_thread;
    const int64_t first = step * chunk, begin = begin_of(first), end = std::min(first + chunk, gallery.rows);
    const auto rows = gallery.read(begin, end);
    SYNCDR_ASSERT(rows.dim() == 2 && rows.size(0) == end - begin && rows.size(1) == queries.size(1) && rows.scalar_type() == at::kFloat,
                  "a gallery's rows {} to {} must be [{}, {}] float", begin, end, end - begin, queries.size(1));
    return rows.contiguous();
  };
  data::Prefetcher<at::Tensor> chunks(read, 0, (gallery.rows + chunk - 1) / chunk, /*threads=*/1, /*depth=*/2);
  for (int64_t first = 0; !chunks.done(); first += chunk) {
    const at::Tensor rows = chunks.next();
    if (search) {
      search->offer(rows, first);
      if (!search->finite()) not_finite(queries, rows);
      continue;
    }
    check_features(queries, rows);
    const int64_t begin = begin_of(first), seen = first - begin;
    auto here = top_k_in_tiles(Tiles(queries, rows, false), std::min(k, rows.size(0) - seen), seen);
    here.indices += begin;
    found = merged(found, here, std::min(k, found.scores.size(1) + here.scores.size(1)));
  }
  if (!search) return found;
  found = room_for(queries, k);
  search->in_order(found);
  return found;
}

at::Tensor rank_in_tiles(const Tiles& tiles, const at::Tensor& own) {
  const auto& queries = tiles.queries();
  const auto wanted = own.to(queries.device()), ranks = at::empty_like(wanted);
  tiles.each([&](int64_t index, const at::Tensor& room) {
    const int64_t first_row = tiles.first_row(index), count = tiles.own_rows(index);
    const auto rows = wanted.narrow(0, first_row, count).unsqueeze(1);
    auto score = at::empty({count, 1}, queries.options());
    tiles.each_piece(index, room, [&](const at::Tensor& scores, int64_t first) {
      const auto here = rows.ge(first).logical_and_(rows.lt(first + scores.size(1)));
      score = at::where(here, scores.gather(1, (rows - first).clamp_(0, scores.size(1) - 1)), score);
    });
    auto before = at::zeros_like(rows);
    tiles.each_piece(index, room, [&](const at::Tensor& scores, int64_t first) {
      const auto earlier = at::arange(first, first + scores.size(1), rows.options()).lt(rows);
      before += scores.gt(score).logical_or_(scores.eq(score).logical_and_(earlier)).sum(1, /*keepdim=*/true);
    });
    ranks.narrow(0, first_row, count).copy_(before.squeeze(1) + 1);
  });
  return ranks.to(at::kCPU);
}

at::Tensor rank_of(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& own) {
  check_features(queries, gallery);
  SYNCDR_ASSERT(own.dim() == 1 && own.size(0) == queries.size(0) && own.scalar_type() == at::kLong, "each of {} queries has one row", queries.size(0));
  if (own.numel() == 0) return own.to(at::kCPU);
  const auto [low, high] = own.aminmax();
  SYNCDR_ASSERT(low.item<int64_t>() >= 0 && high.item<int64_t>() < gallery.size(0), "a gallery of {} rows has no row {}", gallery.size(0),
                high.item<int64_t>());
  const at::NoGradGuard no_grad;
  return rank_in_tiles(Tiles(queries, gallery), own);
}

}  // namespace syncdr::evaluation
