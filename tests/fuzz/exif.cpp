#include <vector>

#include "fuzz.h"
#include "syncdr/data/pictures.h"

using namespace syncdr;

// A block as it stands in a JPEG, in a PNG and in a WebP.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 65000) return -1;
  const auto big = [](size_t value, int bytes) {
    std::string text;
    for (int i = bytes; i-- > 0;) text += static_cast<char>(value >> (8 * i));
    return text;
  };
  const std::string block(reinterpret_cast<const char*>(data), size), even = block + std::string(size % 2, '\0');
  const auto little = [&](size_t value) {
    std::string text = big(value, 4);
    return std::string(text.rbegin(), text.rend());
  };
  const std::string extended = "VP8X" + little(10) + std::string("\x08\0\0\0\0\0\0\0\0\0", 10), pixels = "VP8L" + little(6) + std::string("\x2f\0\0\0\0\0", 6);
  const std::string webp = "WEBP" + extended + pixels + "EXIF" + little(size) + even;
  const std::pair<std::string, data::PictureFormat> files[] = {
      {"\xFF\xD8\xFF\xE1" + big(size + 8, 2) + std::string("Exif\0\0", 6) + block, data::PictureFormat::jpeg},
      {"\x89PNG\r\n\x1a\n" + big(size, 4) + "eXIf" + block + big(0, 4), data::PictureFormat::png},
      {"RIFF" + little(webp.size()) + webp, data::PictureFormat::webp}};
  for (const auto& [file, format] : files) {
    const int orientation = data::orientation_of({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, format);
    fuzz::require(orientation >= 1 && orientation <= 8, "no orientation\n");
  }
  return 0;
}
