#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "syncdr/retrieval/encoder.h"

namespace syncdr::retrieval {

/// Images in a call of an encoder: on a CPU 32 whatever was asked for, elsewhere `on_gpu`.
int64_t images_a_call(c10::Device device, int64_t on_gpu);

/// Features [n, D] of images [n, 3, S, S] uint8, on the device where the encoder is, without gradients. The encoder is in evaluation mode.
///
/// LibTorch chooses its kernels by the number of images and of threads, and they round differently (2.11, AVX-512: a 3x3 convolution of one
/// image of at most 20,480 numbers; a 1x1 one below 16 images in one thread; a linear layer of 1, of fewer than 14 or 16 rows, and of 64 rows of
/// 2,048 numbers in two threads). None of these limits is crossed: each call has `call` images, the last is filled up with zeros, and on
/// a CPU it stays in one thread, several calls at a time. So a feature's bits depend neither on n nor on the number of threads.
at::Tensor features_of(Encoder& encoder, const at::Tensor& images, c10::Device device, int64_t call);
/// Its two halves, with the same bits: the backbone's features [n, F], and the head on them.
at::Tensor pooled_of(Encoder& encoder, const at::Tensor& images, c10::Device device, int64_t call);
at::Tensor projected_of(Encoder& encoder, const at::Tensor& pooled, c10::Device device, int64_t call);

/// What a backbone that stays as it is makes of lists of images: this rank's part of each, by the list's name, from the first time on that it is asked for.
using PooledFeatures = std::map<std::string, at::Tensor>;

}  // namespace syncdr::retrieval
