#include "embed.h"

#include "syncdr/data/loader.h"
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

// What the backbone makes of this rank's images: [n, F] on the CPU, undefined if it has none.
at::Tensor pooled_part(comm::World& world, retrieval::Encoder& encoder, const Images& images, int64_t batch) {
  // Ranks share whole calls: an image has the same place and neighbours in its call whatever their number.
  const int64_t call = retrieval::images_a_call(world.device(), batch);
  const auto part = training::part_of((images.count + call - 1) / call, world.rank(), world.size());
  const int64_t step_calls = world.device().is_cpu() ? at::get_num_threads() : 1;
  const int64_t steps = (part.size() + step_calls - 1) / step_calls;
  data::Prefetcher<at::Tensor> loader(
      [&](int64_t step) {
        const int64_t first = part.first + step * step_calls, last = std::min(first + step_calls, part.last);
        return images.load(first * call, std::min(last * call, images.count));
      },
      0, steps, world.threads(0));
  std::vector<at::Tensor> features;
  while (!loader.done()) features.push_back(retrieval::pooled_of(encoder, loader.next(), world.device(), call).to(at::kCPU));
  return features.empty() ? at::Tensor() : at::cat(features);
}

// This rank's rows of the features: [n, D] on the CPU, undefined if it has none.
at::Tensor embed_part(comm::World& world, retrieval::Encoder& encoder, const Images& images, int64_t batch, retrieval::PooledFeatures* kept) {
  if (kept && !kept->contains(images.name)) kept->emplace(images.name, pooled_part(world, encoder, images, batch));
  const at::Tensor pooled = kept ? kept->at(images.name) : pooled_part(world, encoder, images, batch);
  if (!pooled.defined()) return pooled;
  return retrieval::projected_of(encoder, pooled, world.device(), retrieval::images_a_call(world.device(), batch)).to(at::kCPU, at::kFloat);
}

at::Tensor embed(comm::World& world, retrieval::Encoder& encoder, const Images& images, int64_t batch, retrieval::PooledFeatures* kept) {
  const EvaluationMode mode(*encoder);
  const at::NoGradGuard no_grad;
  auto part = embed_part(world, encoder, images, batch, kept);
  // A rank without rows does not know the width that the others gather.
  const int64_t width = world.all_reduce_max(part.defined() ? part.size(1) : 0, "agreeing on the width of the features");
  if (!part.defined()) part = at::empty({0, width});
  auto all = world.all_gather_rows(part, "gathering features");
  return world.is_root() ? all : at::Tensor();
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
  return world.is_root() ? nn::unit_rows(features - others.mean(0, /*keepdim=*/true, at::kDouble).to(at::kFloat)) : features;
}

}  // namespace syncdr::evaluation
