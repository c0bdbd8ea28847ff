#include "text_input.h"

#include <algorithm>

#include "syncdr/core/error.h"

namespace syncdr::data_tools {

TextInput::TextInput(const std::filesystem::path& file) : input_(file) {
  peek();
  if (piece_.starts_with("\xFF\xFE") || piece_.starts_with("\xFE\xFF")) throw core::DataError("{}: is UTF-16. Save it as UTF-8", file.string());
  const std::string_view mark = "\xEF\xBB\xBF";
  if (piece_.starts_with(mark)) at_ = mark.size();
}

int TextInput::peek() {
  if (at_ == piece_.size()) {
    piece_.resize(std::min<uint64_t>(uint64_t{1} << 20, input_.size() - read_));
    at_ = 0;
    if (piece_.empty()) return -1;
    input_.read_at(read_, {reinterpret_cast<uint8_t*>(piece_.data()), piece_.size()});
    read_ += piece_.size();
  }
  return piece_[at_] == '\r' ? '\n' : static_cast<unsigned char>(piece_[at_]);
}

void TextInput::skip() {
  const bool first_of_two = piece_[at_] == '\r';
  ++at_;
  if (first_of_two && peek() == '\n' && piece_[at_] == '\n') ++at_;
}

void each_line(const std::filesystem::path& file, const std::function<void(std::string_view line)>& take) {
  constexpr size_t longest = size_t{1} << 20;
  TextInput input(file);
  std::string line;
  while (input.peek() >= 0) {
    line.clear();
    for (; input.peek() >= 0 && input.peek() != '\n'; input.skip()) {
      line.push_back(static_cast<char>(input.peek()));
      if (line.size() > longest) throw core::DataError("{}: holds a line of more than {} bytes: it is no list of images", file.string(), longest);
    }
    if (input.peek() >= 0) input.skip();
    take(line);
  }
}

}  // namespace syncdr::data_tools
