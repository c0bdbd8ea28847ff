#include <fmt/format.h>

#include "fuzz.h"
#include "pack_sources.h"

using namespace syncdr;

// SYNCDR_FUZZED_LIST: lists or tables. Their paths lead to "a.png", "b c.png" and "d/e.jpg", or nowhere.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fs = std::filesystem;
  static fuzz::MemoryFile file;
  static const fuzz::Folder root([](const fs::path& folder) {
    fs::create_directories(folder / "d");
    for (const char* name : {"a.png", "b c.png", "d/e.jpg"}) ::close(::open((folder / name).c_str(), O_CREAT | O_WRONLY, 0600));
  });
  file.with({data, size});
  data_tools::ListOptions options{.root = root.path(), .strip = "/elsewhere"};
  const auto read = [&](auto reader) {
    fuzz::accepts([&] {
      const data_tools::Sources sources = reader(options);
      fuzz::require(sources.images.size() <= 3 * sources.domains.size(), "more images than there are\n");
    });
  };
  if (std::string_view(SYNCDR_FUZZED_LIST) == "tables") {
    options.tables = {file.path().string()};
    read(data_tools::read_tables);
    return 0;
  }
  for (const char* split : {"train", "test"}) {
    options.lists = {fmt::format("photo:{}={}", split, file.path().string())};
    read(data_tools::read_lists);
  }
  return 0;
}
