#pragma once
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "syncdr/data/codec.h"

/// Pictures that look the same, though their bytes differ: saved again, resized, a little brighter.
namespace syncdr::data_tools {

/// A perceptual hash: the signs, relative to their median, of the 64 lowest frequencies (but for the mean) of the grey picture at 32 x 32 pixels (Zauner,
/// "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, the DCT hash). Every picture sets 32 of its bits. A picture of one colour has
/// none: 0.
uint64_t look_of(const data::Image& image);

/// All pairs (i, j), i < j, whose hashes differ in at most 3 bits, of those that are not 0 and are wanted(i, j), ordered. With that bound one of four quarters
/// of 16 bits is the same, so only pictures that share one are compared. At most `most` pairs are returned.
std::vector<std::pair<uint32_t, uint32_t>> look_alikes(const std::vector<uint64_t>& looks, size_t most,
                                                       const std::function<bool(uint32_t first, uint32_t second)>& wanted);

}  // namespace syncdr::data_tools
