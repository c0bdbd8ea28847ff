#include "syncdr/search/answer.h"

#include <boost/json/object.hpp>

#include "syncdr/core/error.h"
#include "syncdr/data/pictures.h"
#include "syncdr/io/file.h"
#include "syncdr/io/hash.h"

namespace syncdr::search {
namespace json = boost::json;

data::Image read_query(const std::filesystem::path& path, int64_t side) {
  constexpr uint64_t most = uint64_t{256} << 20;  // as pack
  const io::InputFile file(path);
  if (file.size() > most) throw core::DataError("{}: has {} bytes, at most {} are read", path.string(), file.size(), most);
  std::vector<uint8_t> bytes(file.size());
  file.read_at(0, bytes);
  try {
    return data::upright_picture(bytes, side);
  } catch (const core::DataError& error) {
    throw core::DataError("{}: {}", path.string(), error.what());
  }
}

json::array to_json(const Gallery& gallery, const std::vector<Match>& matches) {
  json::array all;
  for (const Match& match : matches)
    all.emplace_back(json::object{{"rank", all.size() + 1},
                                  {"score", match.score},
                                  {"name", match.name},
                                  {"domain", match.domain},
                                  {"split", match.split},
                                  {"row", match.row},
                                  {"category", match.category < 0 ? json::value() : json::value(match.category)},
                                  {"category_name", gallery.category_name(match)}});
  return all;
}

std::string table_text(const Gallery& gallery, const std::vector<Answer>& answers) {
  std::string text;
  for (const Answer& answer : answers) {
    size_t widest = 0;
    for (const Match& match : answer.matches) widest = std::max(widest, gallery.category_name(match).size());
    text += fmt::format("{}{}\n", text.empty() ? "" : "\n", answer.query);
    int64_t rank = 0;
    for (const Match& match : answer.matches)
      text += fmt::format("{:>4}  {:7.4f}  {:<{}}  {}\n", ++rank, match.score, gallery.category_name(match), widest, match.name);
  }
  return text;
}

GalleryPictures::GalleryPictures(data::Dataset dataset, const Gallery& gallery) : dataset_(std::move(dataset)) {
  const auto made_of = gallery.index().settings.find("dataset");
  if (made_of == gallery.index().settings.end() || made_of->second != io::hash_file(dataset_.root() / "dataset.json"))
    throw core::DataError(
        "{}: holds features of another dataset than {}, so their pictures cannot be shown. Set data.root to theirs, or make them anew: `syncdr "
        "embed`",
        gallery.folder().string(), dataset_.root().string());
}

const data::ShardList& GalleryPictures::list(const std::string& domain, const std::string& split) {
  const std::lock_guard lock(mutex_);
  auto& list = lists_[{domain, split}];
  if (!list) list = std::make_unique<data::ShardList>(dataset_.real(domain, split));
  return *list;
}

GalleryPictures::Encoded GalleryPictures::encoded(const std::string& domain, const std::string& split, int64_t row) {
  if (!dataset_.has(domain, split)) throw core::DataError("there is no split \"{}\" of a domain \"{}\"", split, domain);
  const data::ShardList& rows = list(domain, split);
  if (row < 0 || row >= rows.rows()) throw core::DataError("the split \"{}\" of \"{}\" has {} images, not one of number {}", split, domain, rows.rows(), row);
  const data::Place place = rows.place(row);
  const data::Codec codec = place.shard->header().codec;
  if (codec == data::Codec::raw) return {data::encode(place.image(), data::Codec::png), "image/png"};
  return {place.shard->encoded(place.row), codec == data::Codec::png ? "image/png" : "image/jpeg"};
}

data::Image GalleryPictures::image(const Match& match, int64_t at_least) { return list(match.domain, match.split).image(match.row, at_least); }

}  // namespace syncdr::search
