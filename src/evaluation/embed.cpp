#include "embed.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>

#include "syncdr/data/loader.h"
#include "syncdr/io/scratch.h"
#include "syncdr/nn/unit_rows.h"
#include "syncdr/retrieval/features.h"
#include "syncdr/training/part.h"

namespace syncdr::evaluation {
namespace {

/// What is embedded: load(first, last) gives images [last - first, 3, S, S] uint8.
struct Images {
  int64_t count;
  std::function<at::Tensor(int64_t first, int64_t last)> load;
  std::string name;  // tells lists apart
};

/// Evaluation mode for as long as it lives.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& module) : module_(module), was_training_(module.is_training()) { module_.eval(); }
  ~EvaluationMode() { module_.train(was_training_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  torch::nn::Module& module_;
  bool was_training_;
};

/// How images are dealt: whole calls in contiguous parts, so that an image has the same place and neighbours in its call whatever the number of ranks. Each
/// rank takes its part in blocks, after each of which rank 0 gathers: features of a list that is larger than memory are in none.
class Deal {
 public:
  Deal(int64_t images, int64_t call, int ranks) : images_(images), call_(call), ranks_(ranks) {}

  /// The images of a rank's block, or of its whole part.
  training::Part block(int rank, int64_t index) const {
    const auto part = calls_of(rank);
    const int64_t first = std::min(part.first + index * calls_of_block, part.last);
    return images_of(first, std::min(first + calls_of_block, part.last));
  }
  training::Part part(int rank) const { return images_of(calls_of(rank).first, calls_of(rank).last); }
  /// As many on every rank; the last of some are empty. No part is longer than the first rank's.
  int64_t blocks() const { return (calls_of(0).size() + calls_of_block - 1) / calls_of_block; }

 private:
  static constexpr int64_t calls_of_block = 16;
  training::Part calls_of(int rank) const { return training::part_of((images_ + call_ - 1) / call_, rank, ranks_); }
  training::Part images_of(int64_t first_call, int64_t last_call) const {
    return {std::min(first_call * call_, images_), std::min(last_call * call_, images_)};
  }

  int64_t images_, call_;
  int ranks_;
};

/// What the backbone makes of this rank's images, one after another, as many calls at a time as there are threads: read and decoded ahead.
class Backbone {
 public:
  Backbone(comm::World& world, retrieval::Encoder& encoder, const Images& images, const training::Part& own, int64_t call)
      : encoder_(encoder), device_(world.device()), call_(call), loader_(loader_of(world, images, own, call)) {}

  /// [n, F] on the CPU, of the next n images.
  at::Tensor next(int64_t images) {
    std::vector<at::Tensor> features{rest_};
    int64_t there = rest_.defined() ? rest_.size(0) : 0;
    if (there == 0) features.clear();
    for (; there < images; there += features.back().size(0)) features.push_back(retrieval::pooled_of(encoder_, loader_.next(), device_, call_).to(at::kCPU));
    const auto all = at::cat(features);
    rest_ = all.narrow(0, images, there - images).clone();
    return all.narrow(0, 0, images);
  }

 private:
  static data::Prefetcher<at::Tensor> loader_of(comm::World& world, const Images& images, const training::Part& own, int64_t call) {
    const int64_t step = call * (world.device().is_cpu() ? at::get_num_threads() : 1);
    const auto load = [load = images.load, own, step](int64_t index) {
      const int64_t first = own.first + index * step;
      return load(first, std::min(first + step, own.last));
    };
    return {load, 0, (own.size() + step - 1) / step, world.threads(0)};
  }

  retrieval::Encoder& encoder_;
  c10::Device device_;
  int64_t call_;
  data::Prefetcher<at::Tensor> loader_;
  at::Tensor rest_;
};

at::Tensor embed(comm::World& world, retrieval::Encoder& encoder, const Images& images, int64_t batch, retrieval::PooledFeatures* kept) {
  const EvaluationMode mode(*encoder);
  const at::NoGradGuard no_grad;
  const int64_t call = retrieval::images_a_call(world.device(), batch);
  const Deal deal(images.count, call, world.size());
  const auto own = deal.part(world.rank());
  at::Tensor pooled;
  std::optional<Backbone> backbone;
  if (kept && kept->contains(images.name)) pooled = kept->at(images.name);
  else backbone.emplace(world, encoder, images, own, call);
  // What the backbone makes of a block, not empty.
  const auto pooled_of = [&](const training::Part& block) {
    if (!backbone) return pooled.narrow(0, block.first - own.first, block.size());
    const auto made = backbone->next(block.size());
    if (!kept) return made;
    if (!pooled.defined()) pooled = io::scratch_tensor({own.size(), made.size(1)}, made.options());
    pooled.narrow(0, block.first - own.first, block.size()).copy_(made);
    return made;
  };
  int64_t width = 0;
  at::Tensor all;
  for (int64_t index = 0; index < deal.blocks(); ++index) {
    const auto block = deal.block(world.rank(), index);
    at::Tensor features;
    if (block.size() > 0) features = retrieval::projected_of(encoder, pooled_of(block), world.device(), call).to(at::kCPU, at::kFloat);
    // A rank without rows does not know the width that the others gather.
    if (index == 0) width = world.all_reduce_max(features.defined() ? features.size(1) : 0, "agreeing on the width of the features");
    const auto gathered = world.all_gather_rows(features.defined() ? features : at::empty({0, width}), "gathering features");
    if (!world.is_root()) continue;
    if (!all.defined()) all = io::scratch_tensor({images.count, width});
    for (int64_t rank = 0, row = 0; rank < world.size(); ++rank) {
      const auto rows = deal.block(static_cast<int>(rank), index);
      all.narrow(0, rows.first, rows.size()).copy_(gathered.narrow(0, row, rows.size()));
      row += rows.size();
    }
  }
  if (kept) kept->emplace(images.name, pooled);
  if (world.is_root() && !all.defined()) all = at::empty({0, 0});
  return all;
}

std::string name_of(const data::ShardList& list) { return list.rows() == 0 ? "" : list.place(0).shard->path().string(); }

}  // namespace

at::Tensor embed(comm::World& world, retrieval::Encoder& encoder, const data::ShardList& list, const data::AugmentConfig& views, int64_t batch,
                 retrieval::PooledFeatures* pooled) {
  const auto load = [&](int64_t first, int64_t last) { return data::load_evaluation(list, first, last, views); };
  return embed(world, encoder, {list.rows(), load, name_of(list)}, batch, pooled);
}

at::Tensor embed_rows(comm::World& world, retrieval::Encoder& encoder, const data::ShardList& list, const std::vector<int64_t>& rows,
                      const data::AugmentConfig& views, int64_t batch, retrieval::PooledFeatures* pooled) {
  const auto load = [&](int64_t first, int64_t last) {
    std::vector<at::Tensor> images;
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = rows[static_cast<size_t>(i)];
      images.push_back(data::load_evaluation(list, row, row + 1, views));
    }
    return at::cat(images);
  };
  return embed(world, encoder, {std::ssize(rows), load, fmt::format("{}, rows {}", name_of(list), fmt::join(rows, " "))}, batch, pooled);
}

at::Tensor embed_domain(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const data::ShardList& list, const std::string& domain,
                        int64_t batch) {
  const auto features = embed(world, encoder, list, data.views, batch, data.pooled);
  if (data.centre.empty()) return features;
  const auto others = embed(world, encoder, data.dataset.real(domain, data.centre), data.views, batch, data.pooled);
  if (!world.is_root()) return features;
  const auto centre = others.mean(0, /*keepdim=*/true, at::kDouble).to(at::kFloat);
  constexpr int64_t at_once = 65536;
  for (int64_t first = 0; first < features.size(0); first += at_once) {
    const auto rows = features.narrow(0, first, std::min(at_once, features.size(0) - first));
    rows.copy_(nn::unit_rows(rows - centre));
  }
  return features;
}

}  // namespace syncdr::evaluation
