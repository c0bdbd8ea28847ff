// Reads a shard: of a dataset's pictures (real/DOMAIN/*.h5) or of a translation (synthetic/SOURCE-to-TARGET/RUN/*.h5).
//
// usage: read_shard SHARD.h5 [FOLDER]     FOLDER gets every picture as a file ROW.png or ROW.jpeg
#include <filesystem>
#include <numeric>

#include "syncdr/core/error.h"
#include "syncdr/data/shard.h"
#include "syncdr/io/atomic_file.h"

using namespace syncdr;

namespace {

double mean_of(const data::Image& image) {  // pixels [H, W, 3]
  return std::accumulate(image.pixels.begin(), image.pixels.end(), 0.0) / static_cast<double>(image.pixels.size());
}

int read_shard(int argc, char** argv) {
  if (argc != 2 && argc != 3) throw core::UsageError("usage: read_shard SHARD.h5 [FOLDER]");
  const data::ShardReader shard(argv[1]);  // throws if the file is no whole shard
  const data::ShardHeader& header = shard.header();
  fmt::print("{} pictures of {}, split {}\n", shard.rows(), header.domain, header.split);
  for (const auto& [name, value] : header.provenance) fmt::print("made with {} = {}\n", name, value);  // of a translation
  for (int64_t row = 0; row < shard.rows(); ++row) {
    const data::Image image = shard.image(row);  // decoded to RGB; throws if the bytes do not have their checksum
    fmt::print("{}\t{}\t{} x {}\tmean {:.2f}\n", row, shard.key(row), image.width, image.height, mean_of(image));
    if (argc < 3) continue;
    const std::vector<uint8_t> file = shard.encoded(row);
    io::write_file(std::filesystem::path(argv[2]) / fmt::format("{}.{}", row, data::codec_name(header.codec)),
                   {reinterpret_cast<const char*>(file.data()), file.size()});
  }
  return 0;
}

}  // namespace

// run_main turns errors into a message and an exit code: 65 for data that is broken, 2 for a wrong call.
int main(int argc, char** argv) {
  return core::run_main([&] { return read_shard(argc, argv); });
}
