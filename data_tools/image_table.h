#pragma once
#include <compare>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace syncdr::comm {
class World;
}

namespace syncdr::data_tools {

/// One image to pack.
struct Source {
  std::filesystem::path file;
  uint64_t offset = 0, size = 0;  ///< of its bytes within an archive; size 0: the whole file
  std::string domain, split;      ///< split: "train", "val", "test"; empty: not yet drawn
  std::string key;                ///< its identity, "DOMAIN/...", in UTF-8
  int32_t label = -1;             ///< -1: without a category, which training images may be
  std::string prompt;             ///< what a translator is to be told of it; empty: nothing
  std::filesystem::path mask;     ///< a picture of where its object is; empty: none
};

/// Where images come from: what all of a folder, a list or an archive have in common.
struct Origin {
  std::string files;  ///< what their files' names begin with ("pictures/Art/"); of an archive its whole name
  std::string keys;   ///< what their keys begin with ("Art/")
  std::string domain;
  std::string listed_in;  ///< the list, table or archive that names them, for errors; empty: none does
  std::string masks;      ///< what their masks' names begin with
  std::string suffix;     ///< what their files' names end with, and their keys do not (".png")
  bool archive = false;
  auto operator<=>(const Origin&) const = default;
};

/// An image as it is kept: its own part of the names, and where it comes from.
struct ImageEntry {
  std::string_view name, prompt, mask;
  uint64_t offset = 0, size = 0;
  std::string_view split;
  int32_t label = -1;
  uint32_t line = 0;  ///< in what lists it
};

/// The images of a dataset, in 32 bytes each and their names: what all have in common is kept once, so that a machine's memory holds hundreds of millions.
class ImageTable {
 public:
  /// The number of an origin; equal ones have one number.
  uint32_t origin(const Origin& origin);
  /// Throws DataError on names with a zero byte or of more than a megabyte, and beyond 2^32 images or 2^29 origins.
  void add(uint32_t origin, const ImageEntry& image);

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  Source at(size_t index) const;
  std::string key(size_t index) const;
  /// What its file's name ends with, in lower case: ".jpg".
  std::string extension(size_t index) const;
  const std::string& domain(size_t index) const { return origin_of(index).domain; }
  const char* split(size_t index) const;
  int32_t label(size_t index) const { return entries_[index].label; }
  /// As it was added; empty: none.
  const char* mask(size_t index) const;
  /// "FILE:LINE", or of an archive "FILE: NAME".
  std::string where(size_t index) const;

  void set_split(size_t index, std::string_view split);
  void set_label(size_t index, int32_t label) { entries_[index].label = label; }
  /// Drops the others.
  void keep_if(const std::function<bool(size_t index)>& wanted);
  void sort_by_key();
  /// The first image whose key an earlier one has, and that one.
  struct Twins {
    size_t first, second;
  };
  std::optional<Twins> twins() const;
  /// A collective: all ranks get what rank 0 has.
  void share(comm::World& world);

 private:
  struct Entry {
    uint64_t text;  // of name, prompt and mask in texts_, each with a zero behind it
    uint64_t offset;
    uint32_t size;
    int32_t label;
    uint32_t line;
    uint32_t origin : 29, split : 3;
  };
  const Origin& origin_of(size_t index) const { return origins_[entries_[index].origin]; }
  const char* text(const Entry& entry) const;

  std::deque<Entry> entries_;       // a deque grows without holding everything twice
  std::vector<std::string> texts_;  // pieces of one length
  std::vector<Origin> origins_;
  std::map<Origin, uint32_t> numbers_;  // of origins_
};

}  // namespace syncdr::data_tools
