#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pack_sources.h"

/// The commands of syncdr-data, one file each. main.cpp holds the command line; a command throws core::Error, which main turns into the exit code.
namespace syncdr::data_tools {

struct PackOptions {
  std::vector<std::filesystem::path> sources;
  ListOptions list;
  std::filesystem::path out;
  std::string codec = "auto";
  int64_t size = 0, rows = 4096;
  double max_bad_share = 0.001;
  bool trust = false;
  SplitOptions split;
  bool halves = false, whole = false;  ///< --disjoint, --no-disjoint
};
/// Folders, lists, tables or archives of images become a dataset of shards. Ranks of an MPI job share the work.
void pack(PackOptions options);

struct InspectOptions {
  std::filesystem::path path, json;
};
/// Says what a dataset or a shard holds, without decoding it.
void inspect(const InspectOptions& options);

struct VerifyOptions {
  std::filesystem::path root, json, csv;
  bool allow_copies = false;
};
/// Checks every file's hash, every row's checksum, every image, and that no image is in two splits.
void verify(const VerifyOptions& options);

struct EmojiOptions {
  std::filesystem::path out, colour_font, ink_font;
  int size = 64;
  uint64_t seed = 0;
  int val = 1, test = 2, extra = 0;
  std::string codec = "png";
};
/// Draws the emoji dataset.
void make_emoji(const EmojiOptions& options);

struct ExportOptions {
  std::filesystem::path dataset, out;
  std::string as = "sheet", domain, split, to, run;
  int64_t count = 64, columns = 0, rows = 1000;
  int side = 64;
};
/// Lays pictures on one sheet, each followed by its translation where asked.
void export_sheet(const ExportOptions& options);
/// Writes pictures, or the translations of a run, as files in folders or as shards of WebDataset, with what is known of each.
void export_files(const ExportOptions& options);

struct ConvertOptions {
  std::filesystem::path in, out;
  std::optional<std::string> key;
  std::string strip, as, prediction;
  std::filesystem::path tokenizer;
  bool allow_beside = false, last_weights = false;
};
/// Weights of PyTorch's pickle formats become safetensors; no pickle is run. Stable Diffusion's original layout becomes a folder in diffusers'.
void convert(const ConvertOptions& options);

}  // namespace syncdr::data_tools
