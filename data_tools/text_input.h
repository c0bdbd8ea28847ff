#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "syncdr/io/file.h"

namespace syncdr::data_tools {

/// A text file, read character by character in pieces: lists and tables of any length. A byte order mark is passed over, ends of lines of all systems are
/// '\n'. Throws DataError if it is missing or UTF-16.
class TextInput {
 public:
  explicit TextInput(const std::filesystem::path& file);
  /// The next character; -1: the end.
  int peek();
  void skip();

 private:
  io::InputFile input_;
  std::string piece_;
  size_t at_ = 0;  // in piece_
  uint64_t read_ = 0;
};

/// Throws DataError on a line of more than a megabyte: the file is something else.
void each_line(const std::filesystem::path& file, const std::function<void(std::string_view line)>& take);

}  // namespace syncdr::data_tools
