#pragma once
#include <string>
#include <vector>

#include "syncdr/evaluation/evaluate.h"

namespace syncdr::evaluation {

/// embed() of some rows of a list, in this order.
at::Tensor embed_rows(comm::World& world, retrieval::Encoder& encoder, const data::ShardList& list, const std::vector<int64_t>& rows,
                      const data::AugmentConfig& views, int64_t batch, retrieval::PooledFeatures* pooled = nullptr);

/// embed() of a domain's images, its mean taken off where data.centre asks for it.
at::Tensor embed_domain(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const data::ShardList& list, const std::string& domain,
                        int64_t batch);

}  // namespace syncdr::evaluation
