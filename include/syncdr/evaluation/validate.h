#pragma once
#include <string>
#include <vector>

#include "syncdr/evaluation/evaluate.h"
#include "syncdr/retrieval/validation.h"

namespace syncdr::evaluation {

/// What tells how good an encoder is while it is trained, on a split's images (data.split) of all domains; rank 0's, NaN elsewhere. Labels: mean Prec@1 as
/// evaluate() has it, NaN unless every image has one. Mutual neighbours: mean over pairs of domains. Alignment: of pairs of *training* images and their
/// translations, since validation images have none: up to 128 pairs of each set and direction, evenly spread. sets: the translated sets of the training;
/// without any, alignment is NaN.
retrieval::Validation validate(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const std::vector<std::string>& sets,
                               int64_t batch);

}  // namespace syncdr::evaluation
