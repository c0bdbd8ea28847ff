#include "checks.h"

#include <unistd.h>

#include <cstring>
#include <numeric>
#include <set>

#include "syncdr/core/log.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/retrieval/trainer.h"

namespace syncdr::app {
namespace {

/// Images of a domain's split, of which there must be some.
data::ShardList images_of(const Job& job, const std::string& domain, const std::string& split) {
  data::ShardList list = job.dataset.real(domain, split);
  if (list.rows() == 0)
    throw core::DataError("{}: the domain {} has no images in its split \"{}\". Pack the dataset with such images", job.dataset.root().string(), domain, split);
  return list;
}

void check_encoder(const Job& job) {
  const auto& train = job.settings.train;
  retrieval::check_settings(train, job.domains);
  retrieval::check_sizes(train.encoder, train.augment.crop);
  if (train.encoder.weights.empty()) {
    if (train.encoder.name != "small") core::warn("train.encoder.weights is not set: {} begins from random weights", train.encoder.name);
    return;
  }
  job.world.root_only("reading the encoder's weights", [&] { retrieval::make_encoder(train.encoder, job.seed()); });
}

void check_batches(const Job& job, const Arm& arm, const std::vector<int64_t>& images) {
  const auto& train = job.settings.train;
  const int64_t all = std::accumulate(images.begin(), images.end(), int64_t{0});
  for (size_t k = 0; k < images.size(); ++k) {
    const int64_t entries = arm.parts.empty() ? images[k] : all;  // with translations each domain's set holds every image once
    if (entries < train.batch)
      throw core::UsageError("train.batch = {}: the arm {} has {} training images{} in {}. Use a smaller train.batch or more images", train.batch, arm.name,
                             entries, arm.parts.empty() ? "" : " and translations", job.domains[k]);
    if (train.matching_weight > 0 && entries < train.matching_top)
      core::info("train.matching_top = {}: the memory bank of {} has {} rows in the arm {}; all are looked at", train.matching_top, job.domains[k], entries,
                 arm.name);
  }
  if (train.batch < job.world.size())
    throw core::UsageError("train.batch = {} for {} ranks: each needs an image of a step. Use a larger batch or fewer ranks", train.batch, job.world.size());
}

/// The translated set of a part of an arm that no translator makes.
void check_set(const Job& job, const std::string& name) {
  for (const auto& [source, target] : job.directions()) {
    const auto folder = job.dataset.synthetic_folder(source, target, name);
    if (std::filesystem::exists(folder)) {
      job.dataset.synthetic(source, target, name);
      continue;
    }
    std::vector<std::string> names = translate::translator_names();
    for (const PlainArm& arm : plain_arms()) names.push_back(arm.name);
    if (std::filesystem::exists(folder.parent_path()))
      for (const auto& there : std::filesystem::directory_iterator(folder.parent_path())) names.push_back(there.path().filename().string());
    throw core::DataError(
        "the arm \"{}\" is neither a translator nor a translated set of the dataset: {} is missing.{} Run `syncdr translate` to make such a set", name,
        folder.string(), core::did_you_mean(name, names));
  }
}

}  // namespace

void check_writable(const Job& job, const std::filesystem::path& folder, const std::string& setting) {
  job.world.root_only("looking whether a folder can be written", [&] {
    auto there = std::filesystem::absolute(folder);
    while (!std::filesystem::exists(there)) there = there.parent_path();
    const bool is_folder = std::filesystem::is_directory(there);
    if (is_folder && ::access(there.c_str(), W_OK | X_OK) == 0) return;
    throw core::IoError("{}: nothing can be written there, {}: {}. Choose another {}, or mend that", folder.string(), there.string(),
                        is_folder ? std::strerror(errno) : "it is no folder", setting);
  });
}

std::optional<std::string> without_validation(const Job& job) {
  for (const auto& domain : job.domains)
    if (!job.dataset.has(domain, "val") || job.dataset.real(domain, "val").rows() == 0) return domain;
  return std::nullopt;
}

void check_train(const Job& job, const std::vector<std::string>& arms) {
  check_writable(job, job.out, "run.out");
  check_encoder(job);
  std::vector<int64_t> images;
  for (const auto& domain : job.domains) images.push_back(images_of(job, domain, "train").rows());
  if (const auto domain = without_validation(job)) {
    if (job.settings.train.patience > 0)
      throw core::UsageError(
          "train.patience = {}: the domain {} has no images in its split \"val\" to see progress on. Use 0, or pack the dataset with such images",
          job.settings.train.patience, *domain);
    core::warn("the domain {} has no images in its split \"val\": the last epoch of a training is kept, not the best", *domain);
  }
  for (const auto& name : arms) {
    const Arm arm(name);
    check_batches(job, arm, images);
    for (const ArmPart& part : arm.parts)
      if (!part.translator) check_set(job, part.base);
  }
}

void check_trained(const Job& job, const std::vector<std::string>& arms) {
  for (const auto& name : arms) {
    const Arm arm(name);
    const auto done = job.train_folder(arm) / "done.json";
    if (!arm.trained() || std::filesystem::exists(done)) continue;
    throw core::DataError("{} is not there: the arm {} is not trained to its end.{} `syncdr run CONFIG` does that, `syncdr train CONFIG --arm {}` for it alone",
                          done.string(), name, core::did_you_mean(name, job.settings.run.arms), name);
  }
}

void check_evaluation(const Job& job, const std::string& split) {
  job.settings.evaluate.measures();
  std::vector<std::set<int64_t>> labels;
  for (const auto& domain : job.domains) {
    const at::Tensor all = evaluation::labels_of(job.dataset.real(domain, split), domain, split);
    labels.emplace_back(all.const_data_ptr<int64_t>(), all.const_data_ptr<int64_t>() + all.numel());
  }
  for (size_t a = 0; a < labels.size(); ++a)
    for (size_t b = a + 1; b < labels.size(); ++b)
      if (std::none_of(labels[a].begin(), labels[a].end(), [&](int64_t label) { return labels[b].contains(label); }))
        throw core::DataError("{} and {} share no category in split \"{}\": nothing could be found. Check the lists they were packed from", job.domains[a],
                              job.domains[b], split);
}

}  // namespace syncdr::app
