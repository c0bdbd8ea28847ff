#include <algorithm>
#include <map>
#include <set>

#include "export_table.h"
#include "pack_sources.h"
#include "syncdr/core/error.h"
#include "syncdr/core/some_of.h"
#include "text_input.h"

/// Datasets that tables describe.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

using Record = std::vector<std::string>;

/// A table's records, one by one (RFC 4180, with the separator that its first line has).
class Records {
 public:
  explicit Records(const fs::path& file) : file_(file), input_(file) {
    std::string head;
    TextInput start(file);
    for (; start.peek() >= 0 && start.peek() != '\n' && head.size() < most; start.skip()) head.push_back(static_cast<char>(start.peek()));
    const auto has = [&](char separator) { return head.find(separator) != std::string::npos; };
    separator_ = has('\t') ? '\t' : !has(',') && has(';') ? ';' : ',';
  }

  /// The next one that is not empty; false: there is none.
  bool next(Record& record) {
    do {
      if (input_.peek() < 0) return false;
      number_ += lines_;
      lines_ = 1;
      length_ = 0;
      record = {""};
      while (input_.peek() >= 0 && input_.peek() != '\n') field(record);
      if (input_.peek() >= 0) input_.skip();
    } while (record.size() == 1 && record[0].empty());
    return true;
  }

  const fs::path& file() const { return file_; }
  int64_t line() const { return number_; }  ///< of the record that was read last
  std::string where() const { return fmt::format("{}:{}", file_.string(), number_); }

 private:
  static constexpr size_t most = size_t{1} << 20;  // bytes of a record

  char take() {
    if (++length_ > most) throw core::DataError("{}: a record of more than {} bytes", where(), most);
    const char c = static_cast<char>(input_.peek());
    input_.skip();
    return c;
  }

  void field(Record& record) {
    const char c = take();
    if (c == separator_) record.emplace_back();
    else if (c == '"' && record.back().empty()) quoted(record.back());
    else record.back() += c;
  }

  void quoted(std::string& value) {
    while (input_.peek() >= 0) {
      const char c = take();
      if (c == '"') {
        if (input_.peek() != '"') return;
        take();
      }
      lines_ += c == '\n' ? 1 : 0;
      value += c;
    }
    throw core::DataError("{}: a quotation mark is not closed", where());
  }

  fs::path file_;
  TextInput input_;
  char separator_;
  int64_t number_ = 0, lines_ = 1;  // of the record that is being read: its first line, and how many it has
  size_t length_ = 0;
};

/// Where each column stands.
class Columns {
 public:
  Columns(const Record& names, const std::string& where) {
    static const std::set<std::string> known{"path", "domain", "split", "category", "label", "prompt", "mask"}, of_exports{"number", "key", "run"};
    exported_ = fmt::format("{}", fmt::join(names, ",")) == export_columns;
    for (size_t i = 0; i < names.size(); ++i)
      if ((known.contains(names[i]) || (exported_ && of_exports.contains(names[i]))) && !places_.emplace(names[i], i).second)
        throw core::DataError("{}: two columns are called \"{}\"", where, names[i]);
    for (const char* name : {"path", "domain"})
      if (!has(name)) throw core::DataError("{}: no column is called \"{}\"; there are {}", where, name, core::some_of(names, 10));
    if (has("category") && has("label")) throw core::DataError("{}: there are the columns category and label, of which one is needed", where);
    count_ = names.size();
  }

  /// Whether `export` has written the table.
  bool exported() const { return exported_; }
  bool has(const std::string& name) const { return places_.contains(name); }
  /// Empty: the column is not there.
  std::string of(const Record& record, const std::string& name) const { return has(name) ? record[places_.at(name)] : ""; }
  void check(const Record& record, const std::string& where) const {
    if (record.size() != count_) throw core::DataError("{}: has {} fields, the first line {}", where, record.size(), count_);
  }

 private:
  std::map<std::string, size_t> places_;
  size_t count_ = 0;
  bool exported_ = false;
};

class Table {
 public:
  Table(const fs::path& file, const ListOptions& options, Sources& sources, CategoryNumbers& categories)
      : records_(file), paths_(options, file), sources_(sources), categories_(categories) {}

  /// numbered: tables before this one have the column label; set where this one has.
  void read(bool& numbered) {
    Record record;
    if (!records_.next(record)) throw core::DataError("{}: is empty", records_.where());
    const Columns columns(record, records_.where());
    if (!sources_.images.empty()) {
      if (sources_.split != columns.has("split")) throw core::DataError("{}: one table has the column split, another has not", records_.where());
      if (columns.has("label") ? !categories_.all().empty() : columns.has("category") && !columns.exported() && numbered) mixed();
    }
    numbered = numbered || columns.has("label");
    sources_.split = columns.has("split");
    const size_t before = sources_.images.size();
    while (records_.next(record)) {
      columns.check(record, records_.where());
      add(record, columns);
    }
    if (sources_.images.size() == before) throw core::DataError("{}: lists no images", records_.file().string());
    if (columns.exported()) name_exported(before, numbered);
  }

 private:
  [[noreturn]] void mixed() const {
    throw core::DataError("{}: one table names categories by number in the column label, another by name in the column category", records_.where());
  }

  /// The images of an exported table, from `first` on, have its numbers: those of named categories become their names'.
  void name_exported(size_t first, bool& numbered) {
    const bool named = std::any_of(names_.begin(), names_.end(), [](const auto& item) { return item.second != std::to_string(item.first); });
    if (named ? numbered : !categories_.all().empty()) mixed();
    numbered = !named;
    ImageTable& images = sources_.images;
    for (size_t i = first; named && i < images.size(); ++i)
      if (images.label(i) >= 0) images.set_label(i, categories_.of(names_.at(images.label(i))));
  }

  void add(const Record& record, const Columns& columns) {
    const std::string where = records_.where(), domain = columns.of(record, "domain"), split = columns.of(record, "split");
    check_domain(domain, where);
    const Found image =
        paths_.image(sources_.images, columns.of(record, "path"), domain, columns.of(record, "run").empty() ? columns.of(record, "key") : "", where);
    std::error_code error;
    if (!fs::is_regular_file(image.file, error)) throw core::DataError("{}: {} is missing. Is --root right?", where, image.file.string());
    if (columns.has("split") && !is_split(split) && !(columns.exported() && split == "extra"))
      throw core::DataError("{}: the split is \"{}\"; it can be train, val or test", where, split);
    const int32_t label = label_of(record, columns, where);
    if (label < 0 && columns.has("split") && split != "train" && split != "extra")
      throw core::DataError("{}: has no category. Only images that train may do without", where);
    const std::string prompt = columns.of(record, "prompt"), mask = paths_.mask(columns.of(record, "mask"), where);
    check_text(prompt, where);
    // They go into files with a line "KEY<tab>TEXT" for each.
    if (!prompt.empty() || !mask.empty())
      for (const std::string* text : {&prompt, &mask, &image.name})
        if (text->find_first_of("\n\t") != std::string::npos) throw core::DataError("{}: \"{}\" has several lines or a tab", where, *text);
    sources_.images.add(image.origin,
                        {.name = image.name, .prompt = prompt, .mask = mask, .split = split, .label = label, .line = static_cast<uint32_t>(records_.line())});
  }

  int32_t label_of(const Record& record, const Columns& columns, const std::string& where) {
    if (const std::string text = columns.of(record, "label"); !text.empty()) {
      const auto label = parse_label(text, where);
      if (!label) throw core::DataError("{}: \"{}\" is no label; labels are whole numbers from 0. Names belong into a column category", where, text);
      return *label;
    }
    const std::string category = columns.of(record, "category");
    check_text(category, where);
    if (!columns.exported()) return categories_.of(category);
    const auto number = parse_label(columns.of(record, "number"), where);
    if (!number || category.empty() != (*number < 0) || (*number >= 0 && names_.emplace(*number, category).first->second != category))
      throw core::DataError("{}: the number \"{}\" is not that of the category \"{}\". The table is no longer as it was written", where,
                            columns.of(record, "number"), category);
    return *number;
  }

  Records records_;
  Paths paths_;
  Sources& sources_;
  CategoryNumbers& categories_;
  std::map<int32_t, std::string> names_;  // of an exported table's categories
};

}  // namespace

bool is_exported(const fs::path& folder) {
  std::error_code error;
  const fs::path file = folder / export_table;
  if (!fs::is_regular_file(file, error)) return false;
  try {
    Record names;
    return Records(file).next(names) && fmt::format("{}", fmt::join(names, ",")) == export_columns;
  } catch (const core::DataError&) {  // some other table
    return false;
  }
}

Sources read_tables(const ListOptions& options) {
  Sources sources;
  CategoryNumbers categories;
  bool numbered = false;
  for (const std::string& file : options.tables) Table(file, options, sources, categories).read(numbered);
  check_keys(sources.images);
  finish(sources, categories);
  return sources;
}

}  // namespace syncdr::data_tools
