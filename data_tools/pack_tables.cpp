#include <algorithm>
#include <map>
#include <set>

#include "pack_sources.h"
#include "syncdr/core/error.h"
#include "syncdr/core/some_of.h"

/// Datasets that tables describe.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

using Record = std::vector<std::string>;

/// A table's records, one by one (RFC 4180, with the separator that its first line has).
class Records {
 public:
  explicit Records(const fs::path& file) : file_(file), text_(read_text(file)) {
    const std::string_view head(text_.data(), std::min(text_.find('\n'), text_.size()));
    separator_ = head.find('\t') != std::string_view::npos                                              ? '\t'
                 : head.find(',') == std::string_view::npos && head.find(';') != std::string_view::npos ? ';'
                                                                                                        : ',';
  }

  /// The next one that is not empty; false: there is none.
  bool next(Record& record) {
    do {
      if (at_ >= text_.size()) return false;
      number_ += lines_;
      lines_ = 1;
      record = {""};
      while (at_ < text_.size() && text_[at_] != '\n') field(record);
      ++at_;
      if (record.back().ends_with('\r')) record.back().pop_back();
    } while (record.size() == 1 && record[0].empty());
    return true;
  }

  /// "FILE:LINE" of the record that was read last.
  std::string where() const { return fmt::format("{}:{}", file_.string(), number_); }

 private:
  void field(Record& record) {
    if (text_[at_] == separator_) {
      record.emplace_back();
      ++at_;
      return;
    }
    if (text_[at_] == '"' && record.back().empty()) return quoted(record.back());
    record.back() += text_[at_++];
  }

  void quoted(std::string& value) {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        ++at_;
        if (at_ >= text_.size() || text_[at_] != '"') return;
      }
      lines_ += text_[at_] == '\n' ? 1 : 0;
      value += text_[at_];
    }
    throw core::DataError("{}: a quotation mark is not closed", where());
  }

  fs::path file_;
  std::string text_;
  char separator_;
  size_t at_ = 0;
  int64_t number_ = 0, lines_ = 1;  // of the record that is being read: its first line, and how many it has
};

/// Where each column stands.
class Columns {
 public:
  Columns(const Record& names, const std::string& where) {
    static const std::set<std::string> known{"path", "domain", "split", "category", "label", "prompt"};
    for (size_t i = 0; i < names.size(); ++i)
      if (known.contains(names[i]) && !places_.emplace(names[i], i).second) throw core::DataError("{}: two columns are called \"{}\"", where, names[i]);
    for (const char* name : {"path", "domain"})
      if (!has(name)) throw core::DataError("{}: no column is called \"{}\"; there are {}", where, name, core::some_of(names, 10));
    if (has("category") && has("label")) throw core::DataError("{}: there are the columns category and label, of which one is needed", where);
    count_ = names.size();
  }

  bool has(const std::string& name) const { return places_.contains(name); }
  /// Empty: the column is not there.
  std::string of(const Record& record, const std::string& name) const { return has(name) ? record[places_.at(name)] : ""; }
  void check(const Record& record, const std::string& where) const {
    if (record.size() != count_) throw core::DataError("{}: has {} fields, the first line {}", where, record.size(), count_);
  }

 private:
  std::map<std::string, size_t> places_;
  size_t count_ = 0;
};

class Table {
 public:
  Table(const fs::path& file, const ListOptions& options)
      : options_(options), records_(file), root_(!options.root.empty()    ? options.root
                                                 : file.has_parent_path() ? file.parent_path()
                                                                          : fs::path(".")) {}

  void read(Sources& sources, std::vector<std::string>& categories, std::vector<std::string>& where) {
    Record record;
    if (!records_.next(record)) throw core::DataError("{}: is empty", records_.where());
    const Columns columns(record, records_.where());
    if (!sources.images.empty() && sources.split != columns.has("split"))
      throw core::DataError("{}: one table has the column split, another has not", records_.where());
    sources.split = columns.has("split");
    while (records_.next(record)) {
      columns.check(record, records_.where());
      where.push_back(records_.where());
      sources.images.push_back(image(record, columns));
      categories.push_back(columns.of(record, "category"));
      const bool unnamed = categories.back().empty() && sources.images.back().label < 0;
      if (unnamed && sources.split && sources.images.back().split != "train")
        throw core::DataError("{}: has no category. Only images that train may do without", records_.where());
    }
  }

 private:
  Source image(const Record& record, const Columns& columns) const {
    const std::string where = records_.where(), domain = columns.of(record, "domain");
    check_domain(domain, where);
    Source image = find_image(columns.of(record, "path"), domain, root_, options_.strip, where);
    std::error_code error;
    if (!fs::is_regular_file(image.file, error)) throw core::DataError("{}: {} is missing. Is --root right?", where, image.file.string());
    image.split = columns.of(record, "split");
    if (columns.has("split") && !is_split(image.split)) throw core::DataError("{}: the split is \"{}\"; it can be train, val or test", where, image.split);
    if (const std::string text = columns.of(record, "label"); !text.empty()) {
      const auto label = parse_label(text, where);
      if (!label) throw core::DataError("{}: \"{}\" is no label; labels are whole numbers from 0. Names belong into a column category", where, text);
      image.label = *label;
    }
    image.prompt = columns.of(record, "prompt");
    check_text(image.prompt, where);
    if (image.prompt.find_first_of("\n\r\t") != std::string::npos) throw core::DataError("{}: the prompt has several lines or a tab", where);
    return image;
  }

  const ListOptions& options_;
  Records records_;
  fs::path root_;
};

}  // namespace

Sources read_tables(const ListOptions& options) {
  Sources sources;
  std::vector<std::string> categories, where;
  for (const std::string& file : options.tables) Table(file, options).read(sources, categories, where);
  check_keys(sources.images, where);
  finish(sources, categories);
  return sources;
}

}  // namespace syncdr::data_tools
