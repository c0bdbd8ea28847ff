#include "syncdr/io/torch_file.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <boost/crc.hpp>
#include <cstring>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

using namespace syncdr;
using namespace std::string_literals;

namespace {

std::string little(uint64_t value, size_t bytes) { return {reinterpret_cast<const char*>(&value), bytes}; }
std::string floats(std::vector<float> values) { return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}; }

// Parts of pickles, by hand. What they name beside torch is harmless.
std::string text(const std::string& value) { return "X" + little(value.size(), 4) + value; }
std::string integer(int64_t value) { return "\x8a\x08" + little(static_cast<uint64_t>(value), 8); }
std::string tuple(const std::vector<int64_t>& values) {
  std::string items;
  for (int64_t value : values) items += integer(value);
  return "(" + items + "t";
}
std::string storage(int64_t elements, const std::string& type = "torch\nFloatStorage", const std::string& key = "0", const std::string& more = "") {
  return "(" + text("storage") + "c" + type + "\n" + text(key) + text("cuda:0") + integer(elements) + more + "tQ";
}
std::string tensor(const std::string& stored, int64_t offset, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides,
                   const std::string& more = "") {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + stored + integer(offset) + tuple(shape) + tuple(strides) +
         "\x89"
         "ccollections\nOrderedDict\n)R" +
         more + "tR";
}
std::string dictionary(const std::string& name, const std::string& value) { return "\x80\x02}" + text(name) + value + "s."; }

/// An archive as torch.save writes it, uncompressed. Its entries may lie about themselves.
struct Archive {
  struct Entry {
    std::string name, content;
    uint16_t method = 0;
    std::optional<uint32_t> crc, size;
  };
  std::vector<Entry> entries;

  std::string bytes() const {
    std::string data, directory;
    for (const Entry& entry : entries) {
      boost::crc_32_type crc;
      crc.process_bytes(entry.content.data(), entry.content.size());
      const uint64_t size = entry.size.value_or(entry.content.size());
      const std::string common = little(0, 2) + little(entry.method, 2) + little(0, 4) + little(entry.crc.value_or(crc.checksum()), 4) + little(size, 4) +
                                 little(size, 4) + little(entry.name.size(), 2);
      directory += "PK\1\2" + little(20, 2) + little(20, 2) + common + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 4) +
                   little(data.size(), 4) + entry.name;
      data += "PK\3\4" + little(20, 2) + common + little(0, 2) + entry.name + entry.content;
    }
    return data + directory + "PK\5\6" + little(0, 4) + little(entries.size(), 2) + little(entries.size(), 2) + little(directory.size(), 4) +
           little(data.size(), 4) + little(0, 2);
  }
};

std::string archive(const std::string& pickle, const std::string& content, std::vector<Archive::Entry> more = {}) {
  Archive result{{{"x/data.pkl", pickle}, {"x/data/0", content}}};
  result.entries.insert(result.entries.end(), more.begin(), more.end());
  return result.bytes();
}

/// The stream of PyTorch before 1.6.
std::string stream(const std::string& pickle, uint64_t elements, const std::string& content, const std::string& little_endian = "\x88", int version = 1001) {
  return "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02"s + integer(version) + ".\x80\x02}" + text("little_endian") + little_endian + "s." + pickle +
         "\x80\x02]" + text("0") + "a." + little(elements, 8) + content;
}

class TorchFileTest : public testing::Test {
 protected:
  io::TorchFile open(const std::string& content) {
    test::put(folder / "w.pth", content);
    return io::TorchFile(folder / "w.pth");
  }
  at::Tensor only_tensor(const std::string& content) {
    io::TorchFile file = open(content);
    const auto items = io::dictionary_items(file.root());
    if (!items || items->empty()) throw core::DataError("no dictionary");
    return file.tensor(*items->at(0).second, "w");
  }
  void refused(const std::string& content, const std::string& message) { EXPECT_ERROR(only_tensor(content), core::DataError, message); }
  /// A file whose only tensor is described by `described`, with a storage of four floats.
  std::string with(const std::string& described, std::vector<Archive::Entry> more = {}) {
    return archive(dictionary("w", described), floats({1, 2, 3, 4}), std::move(more));
  }
  TemporaryFolder folder;
};

TEST_F(TorchFileTest, ATensorOfEitherFormatIsRead) {
  const at::Tensor expected = at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({2, 2});
  const std::string pickle = dictionary("w", tensor(storage(4), 0, {2, 2}, {2, 1}));
  EXPECT_TRUE(at::equal(only_tensor(archive(pickle, floats({1, 2, 3, 4}), {{"x/byteorder", "little"}})), expected));
  EXPECT_TRUE(at::equal(only_tensor(stream(pickle, 4, floats({1, 2, 3, 4}))), expected));
}

TEST_F(TorchFileTest, StridesOffsetsAndEmptyTensorsAreThoseOfTheFile) {
  EXPECT_TRUE(at::equal(only_tensor(with(tensor(storage(4), 0, {2, 2}, {1, 2}))), at::tensor({1.0f, 3.0f, 2.0f, 4.0f}).view({2, 2})));
  EXPECT_TRUE(at::equal(only_tensor(with(tensor(storage(4), 1, {3}, {1}))), at::tensor({2.0f, 3.0f, 4.0f})));
  EXPECT_TRUE(at::equal(only_tensor(with(tensor(storage(4), 3, {2, 3}, {0, 0}))), at::full({2, 3}, 4.0f)));
  EXPECT_EQ(only_tensor(with(tensor(storage(4), 0, {3, 0}, {1, 1}))).sizes(), (std::vector<int64_t>{3, 0}));
  EXPECT_EQ(only_tensor(with(tensor(storage(4), 2, {}, {}))).item<float>(), 3.0f);
}

TEST_F(TorchFileTest, ParametersAreTheirTensors) {
  const std::string inner = tensor(storage(4), 0, {4}, {1});
  EXPECT_EQ(only_tensor(with("ctorch._utils\n_rebuild_parameter\n(" + inner +
                             "\x88"
                             "ccollections\nOrderedDict\n)RtR"))
                .numel(),
            4);
  // PyTorch before 0.4: Parameter(tensor), then flags.
  const std::string old = "ctorch._utils\n_rebuild_tensor\n(" + storage(4, "torch\nFloatStorage", "0", "N") + integer(0) + tuple({4}) + tuple({1}) + "tR";
  EXPECT_EQ(only_tensor(stream(dictionary("w", "ctorch.nn.parameter\nParameter\n" + old +
                                                   "\x85R\x88\x89N\x87"
                                                   "b"),
                               4, floats({1, 2, 3, 4})))
                .numel(),
            4);
  refused(with("ctorch.nn.parameter\nParameter\n" + inner + "\x85R(" + storage(4) + "NNNtb"), "is changed after it was made");
}

TEST_F(TorchFileTest, AnOrderedDictOfPython2IsRead) {
  io::TorchFile file =
      open(archive("\x80\x02"
                   "ccollections\nOrderedDict\n](](U\1aK\1e](U\1bK\2ee\x85R."s,
                   ""));
  const auto items = io::dictionary_items(file.root());
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ(items->at(1).first->text, "b");
  EXPECT_EQ(items->at(1).second->integer, 2);
}

TEST_F(TorchFileTest, AStorageSmallerThanTheTensorNeedsIsRefused) {
  refused(with(tensor(storage(4), 1, {4}, {1})), "\"w\": needs 5 elements, its storage \"0\" states 4 and has 4");
  refused(with(tensor(storage(5), 0, {4}, {1})), "states 5 and has 4");
  refused(with(tensor(storage(4), 0, {2, 2}, {3, 1})), "needs 5 elements");
  refused(with(tensor(storage(4), -1, {2}, {1})), "is not described as torch.save does it");
  refused(with(tensor(storage(4), 0, {-1}, {1})), "something else than whole numbers");
  refused(with(tensor(storage(4), 1, {4}, {-1})), "something else than whole numbers");
  refused(with(tensor(storage(4), 0, {4}, {})), "has 1 dimensions and 0 strides");
  refused(with(tensor(storage(4, "torch\nFloatStorage", "7"), 0, {4}, {1})), "its storage \"7\" is missing");
}

TEST_F(TorchFileTest, SizesThatOverflowOrExplodeAreRefused) {
  const int64_t huge = int64_t{1} << 62;
  refused(with(tensor(storage(4), 0, {huge, 4}, {0, 0})), "too large");
  refused(with(tensor(storage(4), 0, {3}, {huge})), "too large");
  refused(with(tensor(storage(4), huge, {2}, {huge})), "too large");
  refused(with(tensor(storage(4), 0, {0, huge, 4}, {0, 0, 0})), "too large");
  refused(with(tensor(storage(4), 0, {1 << 30}, {0})), "need 4294967296 bytes, the file has");
  refused(with(tensor(storage(4), 0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1))), "65 dimensions");
}

TEST_F(TorchFileTest, KindsThatAreNotConvertedAreNamed) {
  refused(with(tensor(storage(2, "torch\nComplexFloatStorage"), 0, {2}, {1})), "is of type torch.ComplexFloatStorage");
  refused(with(tensor(storage(4, "collections\nCounter"), 0, {2}, {1})), "is of type collections.Counter");
  refused(with("ctorch._utils\n_rebuild_qtensor\n)R"), "a call of torch._utils._rebuild_qtensor, which is not converted");
  refused(with("ctorch._utils\n_rebuild_sparse_tensor\n)R"), "torch._utils._rebuild_sparse_tensor");
  refused(with("ccollections\nCounter\n)R"), "a call of collections.Counter");
  refused(with("K\1"), "is an int");
  refused(with(tensor(storage(4), 0, {4}, {1}, "}" + text("neg") + "\x88s")), "conjugated or negated");
  refused(stream(dictionary("w", tensor(storage(4, "torch\nFloatStorage", "0", tuple({1, 0, 4})), 0, {4}, {1})), 4, floats({1, 2, 3, 4})), "view of another");
  refused(archive(dictionary("w", tensor(storage(2, "torch\nBoolStorage"), 0, {2}, {1})), "\1\2"), "BOOL that is neither 0 nor 1");
}

TEST_F(TorchFileTest, StrangersAreNamedAndCounted) {
  const std::string twice =
      "(cargparse\nNamespace\nq\1)\x81}bh\1)\x81}b"
      "cos.path\njoin\n"
      "cnumpy\ndtype\nU\2f8\x85R"
      "cnumpy\ndtype\nU\1O\x85Rt";
  const auto strangers = open(archive(dictionary("args", twice), "")).strangers();
  EXPECT_EQ(strangers, (std::map<std::string, int64_t>{{"argparse.Namespace", 2}, {"os.path.join", 0}, {"numpy.dtype(\"O\")", 1}}));
  EXPECT_TRUE(open(with(tensor(storage(4), 0, {4}, {1}))).strangers().empty());
}

TEST_F(TorchFileTest, ADamagedStorageIsRefused) {
  const std::string pickle = dictionary("w", tensor(storage(4), 0, {4}, {1}));
  const Archive damaged{{{"x/data.pkl", pickle}, {"x/data/0", floats({1, 2, 3, 4}), 0, 12345}}};
  refused(damaged.bytes(), "is damaged: its CRC-32 does not fit");
  const Archive unchecked{{{"x/data.pkl", pickle}, {"x/data/0", floats({1, 2, 3, 4}), 0, 0}}};
  EXPECT_EQ(only_tensor(unchecked.bytes()).numel(), 4);
}

TEST_F(TorchFileTest, OtherArchivesAreNamed) {
  const std::string pickle = dictionary("w", tensor(storage(4), 0, {4}, {1}));
  refused(with("N", {{"x/constants.pkl", ""}}), "is a TorchScript archive");
  refused(with("N", {{"x/code/a.py", "a", 8}}), "is a TorchScript archive");  // its code is compressed
  refused(with("N", {{"x/byteorder", "big"}}), "big-endian");
  refused(with("N", {{"y/data.pkl", ""}}), "holds two objects");
  refused(with("N", {{"x/data/0", ""}}), "\"x/data/0\" occurs twice");
  refused(with("N", {{"x/data/1", "a", 8}}), "\"x/data/1\" is compressed");
  refused(with("N", {{"x/data/1", "a", 0, {}, 1 << 30}}), "\"x/data/1\" passes its end");
  refused(Archive{{{"readme.txt", "x"}}}.bytes(), "holds no NAME/data.pkl");
  test::put(folder / "tar", std::string(257, 'a') + "ustar" + std::string(300, '\0'));
  EXPECT_ERROR(io::TorchFile(folder / "tar"), core::DataError, "is a tar archive");
  test::put(folder / "html", "<html><body>404</body></html>");
  EXPECT_ERROR(io::TorchFile(folder / "html"), core::DataError, "is a page of HTML");
}

TEST_F(TorchFileTest, OtherStreamsAreNamed) {
  const std::string pickle = dictionary("w", tensor(storage(4), 0, {4}, {1})), content = floats({1, 2, 3, 4});
  refused("\x80\x02}q\0.", "is a pickle, but none of torch.save");
  refused(stream(pickle, 4, content, "\x89"), "big-endian");
  refused(stream(pickle, 4, content, "\x88", 1002), "its version is not 1001");
  refused(stream(pickle, 4, content + "x"), "1 bytes follow the last storage");
  refused(stream(pickle, 5, content), "storage \"0\": has 20 bytes, the file 16 behind its beginning");
  refused(stream(pickle, ~uint64_t{0} / 2, content), "too large");
  refused(stream(pickle, 3, content.substr(4)), "states 4 and has 3");
  refused(stream(dictionary("w", "K\1"), 4, content), "storage \"0\": is of no type that is known");
}

TEST_F(TorchFileTest, EveryTruncationIsRefused) {
  const std::string pickle = dictionary("w", tensor(storage(4), 0, {4}, {1}));
  for (const std::string& whole : {archive(pickle, floats({1, 2, 3, 4})), stream(pickle, 4, floats({1, 2, 3, 4}))}) {
    EXPECT_EQ(only_tensor(whole).numel(), 4);
    for (size_t size = 0; size < whole.size(); ++size) EXPECT_THROW(only_tensor(whole.substr(0, size)), core::DataError) << size;
  }
}

TEST_F(TorchFileTest, ADamagedFileIsNoCrash) {
  const std::string pickle = dictionary("w", tensor(storage(4), 0, {4}, {1}));
  for (const std::string& whole : {archive(pickle, floats({1, 2, 3, 4})), stream(pickle, 4, floats({1, 2, 3, 4}))}) {
    for (size_t at = 0; at < whole.size() * 8; ++at) {
      std::string damaged = whole;
      damaged[at / 8] = static_cast<char>(damaged[at / 8] ^ (1 << at % 8));
      try {
        only_tensor(damaged);
      } catch (const core::DataError&) {
      }
    }
  }
}

}  // namespace
