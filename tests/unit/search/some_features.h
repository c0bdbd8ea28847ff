#pragma once
#include <fmt/format.h>
#include <torch/torch.h>

#include <filesystem>

#include "syncdr/search/feature_files.h"

namespace syncdr::search {

/// Features of 4 numbers: of "a" 7 images in 3 files of its split test, of "a-b" 5 in one. Some are equal, within a file and across files. Returns all, in
/// the gallery's order.
inline at::Tensor some_features(const std::filesystem::path& folder) {
  FeatureIndex index{.model = "a model", .settings = {{"model", "hash"}}, .dim = 4, .categories = {"cat", "dog"}};
  std::vector<at::Tensor> all;
  const auto add = [&](const std::string& domain, int64_t first, int64_t rows, int file, int files) {
    FeaturePart part{.file = fmt::format("{}/test-{:05}-of-{:05}.h5", domain, file, files), .domain = domain, .split = "test", .first = first, .rows = rows};
    FeatureRows content{.features = torch::zeros({rows, 4})};
    for (int64_t row = 0; row < rows; ++row) {
      content.features[row][(first + row) % 3] = 1;
      content.names.push_back(fmt::format("{}/{}.png", domain, first + row));
      content.categories.push_back(row == 0 ? -1 : static_cast<int32_t>(row % 3));
    }
    write_features(folder, part, index.settings, content);
    all.push_back(content.features);
    index.parts.push_back(part);
  };
  add("a-b", 0, 5, 0, 1);  // "a-b/" stands before "a/"
  add("a", 0, 3, 0, 3);
  add("a", 3, 3, 1, 3);
  add("a", 6, 1, 2, 3);
  index.write_new(folder);
  return torch::cat(all);
}

}  // namespace syncdr::search
