#include "pack_image.h"

#include <algorithm>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string_view>

#include "syncdr/core/error.h"
#include "syncdr/data/area.h"
#include "syncdr/data/pictures.h"
#include "syncdr/io/file.h"

namespace syncdr::data_tools {
namespace {

constexpr uint64_t max_file = uint64_t{256} << 20;

std::vector<uint8_t> read_bytes(const Source& source) {
  const io::InputFile file(source.file);
  const uint64_t size = source.size > 0 ? source.size : file.size();
  if (size > max_file) throw core::DataError("has {} bytes, at most {} are read", size, max_file);
  std::vector<uint8_t> bytes(size);
  file.read_at(source.offset, bytes);
  return bytes;
}

/// What a file cut short shows without being decoded: a header that cannot be, or no end mark.
void check_ends(std::span<const uint8_t> bytes, data::Codec codec) {
  data::peek_size(bytes, codec);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.rfind(codec == data::Codec::jpeg ? std::string_view("\xFF\xD9") : std::string_view("IEND\xAE\x42\x60\x82")) == std::string_view::npos)
    throw core::DataError("has no end mark: it was cut short");
}

}  // namespace

data::Image fit_square(const data::Image& image, int64_t side) {
  const int64_t shorter = std::min(image.height, image.width);
  const auto scaled = [&](int64_t length) { return std::max(side, (2 * length * side + shorter) / (2 * shorter)); };
  const data::ImageSize size{scaled(image.height), scaled(image.width)};
  const data::Cut centre{(size.width - side) / 2, (size.height - side) / 2, side, side};
  if (shorter >= side) return data::shrink(image, size, centre);
  // OpenCV's header over our pixels: it only reads them.
  const cv::Mat whole(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, const_cast<uint8_t*>(image.pixels.data()));
  cv::Mat enlarged;
  cv::resize(whole, enlarged, cv::Size(static_cast<int>(size.width), static_cast<int>(size.height)), 0, 0, cv::INTER_CUBIC);
  const int length = static_cast<int>(side);
  const cv::Mat cut = enlarged(cv::Rect(static_cast<int>(centre.left), static_cast<int>(centre.top), length, length)).clone();
  return {side, side, {cut.datastart, cut.dataend}};
}

Prepared prepare_image(const Source& source, data::Codec codec, int64_t side, bool trust) {
  std::vector<uint8_t> bytes = read_bytes(source);
  const data::PictureFormat format = data::format_of(bytes);
  const int orientation = data::orientation_of(bytes, format);
  const bool turned = orientation != 1;
  const bool keeps = side == 0 && !turned &&
                     ((format == data::PictureFormat::jpeg && codec == data::Codec::jpeg) || (format == data::PictureFormat::png && codec == data::Codec::png));
  if (keeps) {
    if (trust) check_ends(bytes, codec);
    else data::decode_picture(bytes, format, 1);  // as small as it can be had: damage shows as the bits are read
    return {std::move(bytes), false};
  }
  // Twice the side: the decoder's own shrinking is coarse, the last halving is left to area averaging.
  const data::Image image = data::upright(data::decode_picture(bytes, format, 2 * side), orientation);
  return {data::encode(side > 0 ? fit_square(image, side) : image, codec), turned};
}

}  // namespace syncdr::data_tools
