#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "syncdr/evaluation/evaluate.h"

/// Which categories queries, galleries and training images have.
namespace syncdr::evaluation {

using Categories = std::set<int64_t>;

/// labels [N] int64 on the CPU
Categories categories_of(const at::Tensor& labels);

/// "closed", "partial" or "open": see DirectionScores.
std::string category_set(const Categories& queries, const Categories& gallery);

/// The categories of a domain's training images; none if there are no such images, or one has no label.
std::optional<Categories> training_categories(const data::Dataset& dataset, const std::string& domain);

/// The groups of an evaluation that has its hits. training: of each domain; domains: of each direction, query's and gallery's place in it.
std::vector<CategoryGroup> groups_of(const Evaluation& evaluation, const std::vector<std::pair<size_t, size_t>>& domains,
                                     const std::vector<Categories>& training, uint64_t seed, int64_t resamples);

}  // namespace syncdr::evaluation
