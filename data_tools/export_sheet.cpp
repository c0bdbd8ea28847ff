#include <algorithm>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "commands.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"

/// syncdr-data export: pictures of a dataset as one sheet to look at, with --run beside what a translation made of them.
namespace syncdr::data_tools {
namespace {

/// Pictures laid side by side, row by row, each scaled to a square cell.
class Sheet {
 public:
  Sheet(int64_t cells, int64_t columns, int side)
      : columns_(columns), side_(side),
        pixels_(static_cast<int>((cells + columns - 1) / columns) * side, static_cast<int>(columns) * side, CV_8UC3, cv::Scalar::all(255)) {}

  void add(data::Image image) {
    const cv::Mat picture(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, image.pixels.data());
    const cv::Rect cell(static_cast<int>(used_ % columns_) * side_, static_cast<int>(used_ / columns_) * side_, side_, side_);
    cv::resize(picture, pixels_(cell), cell.size(), 0, 0, picture.cols > side_ ? cv::INTER_AREA : cv::INTER_NEAREST);
    ++used_;
  }

  void write(const std::filesystem::path& file) const {
    data::Image image{pixels_.rows, pixels_.cols, {}};
    image.pixels.assign(pixels_.datastart, pixels_.dataend);
    const auto bytes = data::encode(image, data::Codec::png);
    io::write_file(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

 private:
  int64_t columns_, used_ = 0;
  int side_;
  cv::Mat pixels_;
};

/// Rows of the run that were made from each key.
std::map<std::string, std::vector<int64_t>> rows_by_key(const data::ShardList& list) {
  std::map<std::string, std::vector<int64_t>> rows;
  for (int64_t row = 0; row < list.rows(); ++row) rows[list.key(row)].push_back(row);
  return rows;
}

}  // namespace

void export_sheet(const ExportOptions& options) {
  if (options.domain.empty()) throw core::UsageError("a sheet shows pictures of one domain: name it with --domain");
  if (options.run.empty() != options.to.empty()) throw core::UsageError("--run and --to go together: the translation RUN of the pictures into the domain TO");
  const data::Dataset dataset(options.dataset);
  const auto real = dataset.real(options.domain, options.split.empty() ? "train" : options.split);
  const int64_t count = std::min(options.count, real.rows());
  data::ShardList translated;
  if (!options.run.empty()) translated = dataset.synthetic(options.domain, options.to, options.run);
  const auto translations = rows_by_key(translated);
  const int64_t variants = real.rows() == 0 ? 0 : translated.rows() / real.rows(), width = 1 + variants;
  const int64_t columns = options.columns > 0 ? options.columns : std::max<int64_t>(1, 16 / width) * width;

  Sheet sheet(count * width, columns, options.side);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = i * real.rows() / count;
    sheet.add(real.image(row));
    const auto found = translations.find(real.key(row));
    for (int64_t variant = 0; variant < variants && found != translations.end(); ++variant) {
      sheet.add(translated.image(found->second.at(static_cast<size_t>(variant))));
    }
  }
  sheet.write(options.out);
  core::info("{}: {} of {} pictures of {}, {}", options.out.string(), count, real.rows(), options.domain, real.shard(0).header().split);
}

}  // namespace syncdr::data_tools
