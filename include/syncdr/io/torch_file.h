#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "syncdr/io/pickle.h"

/// Files of torch.save, read without running them: the zip archive that it has written since PyTorch 1.6, and the stream of pickles before.
namespace syncdr::io {

class TorchFile {
 public:
  /// Throws DataError: another kind of file (TorchScript's archives and the tar files of PyTorch 0.1 are named), a broken or truncated one, storages that
  /// overlap, one that a big-endian machine wrote, and what read_pickle and read_zip_directory throw.
  explicit TorchFile(const std::filesystem::path& path);

  const PickleValue& root() const { return *pickle_.root; }

  /// The tensor that a value describes, on the CPU, contiguous, wherever it lay; its bytes are those of the file. Tensors that share a storage share
  /// memory where they can. Throws DataError naming `name`: no tensor, a kind that safetensors cannot hold (quantised, sparse, complex, float8...), a storage
  /// that is missing, damaged (CRC-32; the old stream has none) or smaller than shape and strides need, all tensors so far far larger than the file.
  at::Tensor tensor(const PickleValue& value, const std::string& name);

  /// What the file names beside tensors and plain values ("argparse.Namespace"), and how many objects would be made of it. None has been made.
  std::map<std::string, int64_t> strangers() const;

 private:
  struct Range {
    uint64_t offset, size;
    std::optional<uint32_t> crc32;
  };
  void open_archive();
  void refuse_overlaps() const;
  void open_stream();
  const at::Tensor& storage(const std::string& key, const std::string& where);
  at::Tensor strided(const PickleValue& arguments, const std::string& where);

  InputFile file_;
  Pickle pickle_;
  std::map<std::string, Range> ranges_;       // of storages, by their key
  std::map<std::string, at::Tensor> loaded_;  // storages as bytes
  uint64_t tensor_bytes_ = 0;
};

/// Whether a value describes a tensor, of whatever kind.
bool is_tensor(const PickleValue& value);
/// Whether a tensor has no dimensions: a score or a counter more often than a weight.
bool is_number(const PickleValue& tensor);
/// The keys and values of a dict or an OrderedDict; none if it is neither.
std::optional<std::vector<std::pair<const PickleValue*, const PickleValue*>>> dictionary_items(const PickleValue& value);

}  // namespace syncdr::io
