#pragma once
#include <boost/json/array.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "syncdr/data/dataset.h"
#include "syncdr/search/gallery.h"

namespace syncdr::search {

/// A query and what it has found.
struct Answer {
  std::string query;                   ///< the picture's file, or the text
  std::optional<data::Image> picture;  ///< of a query that is one, for a sheet
  std::vector<Match> matches;
};

/// A picture that somebody searches with, in any format that `syncdr-data pack` takes, upright. side: JPEGs may be decoded smaller, as long as both sides
/// stay this long. Throws DataError naming the file.
data::Image read_query(const std::filesystem::path& file, int64_t side);

/// {rank, score, name, domain, split, row, category (a number or null), category_name} of each.
boost::json::array to_json(const Gallery& gallery, const std::vector<Match>& matches);

/// For a terminal.
std::string table_text(const Gallery& gallery, const std::vector<Answer>& answers);

/// The pictures that features were made of. From several threads.
class GalleryPictures {
 public:
  /// Throws DataError if the gallery's features were made of another dataset.
  GalleryPictures(data::Dataset dataset, const Gallery& gallery);

  struct Encoded {
    std::vector<uint8_t> bytes;
    const char* type;  ///< "image/jpeg"
  };
  /// As a browser takes it. Throws DataError if there is no such image.
  Encoded encoded(const std::string& domain, const std::string& split, int64_t row);
  data::Image image(const Match& match, int64_t at_least);

 private:
  const data::ShardList& list(const std::string& domain, const std::string& split);

  data::Dataset dataset_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<data::ShardList>> lists_;
};

/// Pictures on a sheet are at most this many pixels long and wide.
inline constexpr int64_t sheet_side = 256;
/// One self-contained page (HTML) with each query and the pictures that it has found. Throws IoError.
void write_sheet(const std::filesystem::path& file, const Gallery& gallery, GalleryPictures& pictures, const std::vector<Answer>& answers);

}  // namespace syncdr::search
