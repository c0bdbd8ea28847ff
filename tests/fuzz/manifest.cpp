#include <boost/json.hpp>

#include "fuzz.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/json.h"

using namespace syncdr;

// Any JSON, and manifests.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::MemoryFile file;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const bool is_json = fuzz::accepts([&] {
    const boost::json::value value = io::parse_json(text, "input");
    fuzz::require(io::parse_json(io::pretty_json(value), "what was printed") == value, "JSON reads back changed\n");
  });
  if (!is_json) return -1;
  fuzz::accepts([&] {
    const data::Manifest manifest = data::Manifest::read(file.with({data, size}).path());
    for (const data::ManifestEntry& entry : manifest.entries) {
      const std::filesystem::path inside = std::filesystem::path(entry.file).lexically_normal();
      fuzz::require(inside.is_relative() && *inside.begin() != "..", "an entry leaves the folder\n");
    }
    fuzz::require(io::parse_json(manifest.text(), "what was written").is_object(), "no object\n");
  });
  return 0;
}
