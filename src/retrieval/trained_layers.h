#pragma once
#include <vector>

#include "syncdr/retrieval/encoder.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::retrieval {

/// The parameters that config.train names, with rates that fall from the head towards the input by config.layer_decay per layer (Clark et al.,
/// ELECTRA, ICLR 2020); from here on the others require no gradient. Throws UsageError on a layer that the backbone does not have, naming those that it has.
std::vector<training::ParameterGroup> trained_groups(EncoderImpl& encoder, const EncoderConfig& config);

/// Throws the same UsageError before an encoder is made.
void check_layers(const EncoderConfig& config);

/// Training mode, but for what is not trained: it stays as it will be used.
void train_mode(EncoderImpl& encoder);

}  // namespace syncdr::retrieval
