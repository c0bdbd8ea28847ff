#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>

#include "syncdr/data/augment.h"
#include "syncdr/data/dataset.h"

namespace syncdr::fit {

/// Images evenly spaced over a list, `most` or all of a shorter one, [n, 3, S, S] uint8: the same at every step and for every run on the data.
at::Tensor sample_images(const data::ShardList& list, const data::AugmentConfig& config, int64_t most = 16);

/// A PNG with up to four pairs a row, each image [3, S, S] beside its translation. The two tensors have one shape, uint8 on the CPU.
void write_sample_sheet(const std::filesystem::path& file, const at::Tensor& images, const at::Tensor& translations);

}  // namespace syncdr::fit
