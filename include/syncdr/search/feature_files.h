#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "syncdr/io/file.h"
#include "syncdr/io/identity.h"

/// Features of a dataset's images in files. The format stands in src/search/README.md; h5py reads it.
namespace syncdr::search {

/// Which images one file is of: rows first ... first + rows - 1 of a domain's split.
struct FeaturePart {
  std::string file;  ///< relative to the folder
  std::string domain, split;
  int64_t first = 0, rows = 0;
};

/// FOLDER/features.json.
struct FeatureIndex {
  static constexpr const char* name = "features.json";
  std::string model;                    ///< for people: what they were made with
  io::Identity settings;                ///< all that they are a function of
  int64_t dim = 0;                      ///< D
  std::vector<std::string> categories;  ///< names of the labels; empty: they are numbers alone
  std::vector<FeaturePart> parts;       ///< sorted by file; those of an unfinished call are not among them

  /// Throws DataError if the folder holds none, or a broken one, or, with_files, a part is missing.
  static FeatureIndex read(const std::filesystem::path& folder, bool with_files = true);
  /// Writes it, unless the folder has one: false. So it is among jobs that begin in one instant.
  bool write_new(const std::filesystem::path& folder) const;
  /// Lists these too, beside all that is listed there by now: other jobs may have added theirs, and may do so in the same instant. Throws UsageError if they
  /// had other settings.
  void add(const std::filesystem::path& folder, const std::vector<FeaturePart>& made);

 private:
  std::string text() const;
};

/// What a file holds of each image.
struct FeatureRows {
  at::Tensor features;  ///< [n, D] float on the CPU, unit rows
  std::vector<std::string> names;
  std::vector<int32_t> categories;  ///< -1: not known
};

/// Atomically; a file that is there already stays. settings: as the index's; "model" is the hash of what they were made with.
void write_features(const std::filesystem::path& folder, const FeaturePart& part, const io::Identity& settings, const FeatureRows& rows);

/// A file of features, open. Throws DataError naming it if it is broken, or not of this part, these settings and this width.
class FeatureFile {
 public:
  FeatureFile(const std::filesystem::path& folder, const FeaturePart& part, const io::Identity& settings, int64_t dim);
  /// [rows, D] float on the CPU. Throws DataError if the file was damaged.
  at::Tensor features() const;
  /// Throw as features().
  std::vector<std::string> names() const;
  std::vector<int32_t> categories() const;

 private:
  template <class Value> std::vector<Value> column(const std::string& name) const;

  io::InputFile file_;
  FeaturePart part_;
  int64_t dim_;
  uint64_t begin_ = 0;  // of the features in the file
  std::string hash_;    // of their bytes
};

}  // namespace syncdr::search
