#include "syncdr/io/safetensors.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cstring>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"

using namespace syncdr;
using test::put;

namespace {

/// A file from its parts, as an attacker would write it.
class SafetensorsFile : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& header, size_t data_bytes, uint64_t stated = ~uint64_t{0}) {
    uint64_t length = stated == ~uint64_t{0} ? header.size() : stated;
    std::string content(sizeof(length), '\0');
    std::memcpy(content.data(), &length, sizeof(length));
    put(folder / "x.safetensors", content + header + std::string(data_bytes, '\1'));
    return folder / "x.safetensors";
  }
  void refused(const std::string& header, size_t data_bytes, const std::string& message) {
    EXPECT_ERROR(io::read_safetensors(file(header, data_bytes)), core::DataError, message);
  }
  TemporaryFolder folder;
};

TEST_F(SafetensorsFile, EveryDtypeShapeAndLayoutComesBackEqual) {
  const at::Tensor base = at::arange(24, at::kDouble).reshape({2, 3, 4}) - 5;
  io::NamedTensors tensors;
  for (at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kChar, at::kBool}) {
    tensors[at::toString(type)] = base.to(type);
  }
  tensors["byte"] = base.abs().to(at::kByte);
  tensors["not contiguous"] = base.permute({2, 0, 1});
  tensors["needs a gradient"] = base.to(at::kFloat).set_requires_grad(true);
  tensors["scalar"] = at::scalar_tensor(3.5);
  tensors["empty"] = at::empty({3, 0, 5});
  io::write_safetensors(folder / "a.safetensors", tensors, {{"format", "pt"}, {"quote", "\"\n"}});
  const io::Safetensors back = io::read_safetensors(folder / "a.safetensors");
  ASSERT_EQ(back.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(back.tensors.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(back.tensors.at(name), tensor)) << name;
    EXPECT_TRUE(back.tensors.at(name).is_contiguous()) << name;
  }
  EXPECT_EQ(back.metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"quote", "\"\n"}}));
}

TEST_F(SafetensorsFile, TheHeaderAloneGivesShapesDtypesAndMetadata) {
  io::write_safetensors(folder / "a.safetensors", {{"a", at::ones({2, 3}, at::kHalf)}, {"b", at::scalar_tensor(1)}}, {{"format", "pt"}});
  const io::Safetensors header = io::read_safetensors_header(folder / "a.safetensors");
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.tensors.at("a").sizes(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header.tensors.at("a").scalar_type(), at::kHalf);
  EXPECT_TRUE(header.tensors.at("b").is_meta());
  EXPECT_EQ(header.metadata.at("format"), "pt");
  EXPECT_ERROR(io::read_safetensors_header(file(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})", 3)), core::DataError, "cut short");
}

TEST_F(SafetensorsFile, EqualTensorsGiveEqualBytesAndAlignedData) {
  const io::NamedTensors tensors{{"a", at::ones({3}, at::kByte)}, {"b", at::ones({2}, at::kDouble)}, {"c", at::ones({1}, at::kHalf)}};
  io::write_safetensors(folder / "1", tensors);
  io::write_safetensors(folder / "2", tensors);
  const std::string content = io::read_file(folder / "1");
  EXPECT_EQ(content, io::read_file(folder / "2"));
  uint64_t header = 0;
  std::memcpy(&header, content.data(), 8);
  EXPECT_EQ(header % 8, 0u);
  EXPECT_LT(content.find("\"b\""), content.find("\"c\""));  // wide elements first
  EXPECT_LT(content.find("\"c\""), content.find("\"a\""));
}

TEST_F(SafetensorsFile, WritingRefusesWhatTheFormatCannotHold) {
  EXPECT_THROW(io::write_safetensors(folder / "x", {{"c", at::ones({1}, at::kComplexFloat)}}), core::UsageError);
  EXPECT_THROW(io::write_safetensors(folder / "x", {{"__metadata__", at::ones({1})}}), core::UsageError);
  EXPECT_FALSE(std::filesystem::exists(folder / "x"));
}

const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

TEST_F(SafetensorsFile, EveryTruncationIsRefused) {
  const std::string whole = io::read_file(file(good, 8));
  EXPECT_EQ(io::read_safetensors(folder / "x.safetensors").tensors.size(), 1u);
  for (size_t size = 0; size < whole.size(); ++size) {
    put(folder / "cut", whole.substr(0, size));
    EXPECT_THROW(io::read_safetensors(folder / "cut"), core::DataError) << size;
  }
  put(folder / "long", whole + "x");
  EXPECT_ERROR(io::read_safetensors(folder / "long"), core::DataError, "1 bytes follow the last tensor");
}

TEST_F(SafetensorsFile, HeaderLengthsThatLieAreRefusedBeforeAllocating) {
  EXPECT_ERROR(io::read_safetensors(file(good, 8, uint64_t{1} << 62)), core::DataError, "at most 100000000 are read");
  EXPECT_ERROR(io::read_safetensors(file(good, 8, 100'000'001)), core::DataError, "at most 100000000 are read");
  EXPECT_ERROR(io::read_safetensors(file(good, 8, 100'000'000)), core::DataError, "cut short");
  EXPECT_ERROR(io::read_safetensors(file(good, 8, ~uint64_t{0} - 1)), core::DataError, "at most");
  EXPECT_ERROR(io::read_safetensors(file(good, 8, good.size() + 9)), core::DataError, "cut short");
  EXPECT_ERROR(io::read_safetensors(file(good, 8, good.size() - 1)), core::DataError, "JSON");
  EXPECT_ERROR(io::read_safetensors(file(good, 8, 0)), core::DataError, "begins with zeros");
}

TEST_F(SafetensorsFile, SizesThatDoNotFitAreRefused) {
  refused(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "tensor \"a\": shape and dtype need 12 bytes");
  refused(R"({"a":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}})", 8, "need 16 bytes");
  refused(R"({"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,8]}})", 8, "too large");
  refused(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "too large");
  refused(R"({"a":{"dtype":"F32","shape":[0,1099511627776,1099511627776],"data_offsets":[0,0]}})", 0, "too large");
  refused(R"({"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}})", 8, "cut short");
  refused(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "whole numbers");
  refused(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, "whole numbers");
  refused(R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8, "whole numbers");
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "not [begin, end]");
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4,8]}})", 8, "not [begin, end]");
}

TEST_F(SafetensorsFile, OverlapsHolesAndDuplicatesAreRefused) {
  const auto two = [](const char* second, const char* offsets) {
    return std::string(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},")") + second + R"(":{"dtype":"F32","shape":[2],"data_offsets":)" + offsets +
           "}}";
  };
  EXPECT_NO_THROW(io::read_safetensors(file(two("b", "[8,16]"), 16)));
  refused(two("b", "[4,12]"), 16, "overlap");
  refused(two("b", "[0,8]"), 16, "overlap");
  refused(two("b", "[12,20]"), 20, "leave a hole");
  refused(two("a", "[8,16]"), 16, "\"a\" occurs twice");
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, "leave a hole");
}

TEST_F(SafetensorsFile, NamesOfAnyLengthAreRefused) {
  const auto named = [](size_t length) { return "{\"" + std::string(length, 'a') + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"; };
  EXPECT_NO_THROW(io::read_safetensors(file(named(1000), 8)));
  refused(named(200'000), 8, "aaa...\" of a tensor has 200000 bytes, at most 1000 are read");
}

TEST_F(SafetensorsFile, WrongKindsInTheHeaderAreRefused) {
  refused("[]", 0, "not a JSON object");
  refused("{\"a\":", 0, "no valid JSON: it ends in its middle");
  refused(R"({"a":3})", 0, "not a JSON object");
  refused(R"({"a":{"dtype":"F8_E4M3FN","shape":[8],"data_offsets":[0,8]}})", 8, "unknown dtype \"F8_E4M3FN\"");
  refused(R"({"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}})", 8, "not a string");
  refused(R"({"a":{"dtype":"F32","shape":[2],"offsets":[0,8]}})", 8, "\"data_offsets\" is missing");
  refused(R"({"__metadata__":{"x":1}})", 0, "\"x\" is not a string");
  EXPECT_NO_THROW(io::read_safetensors(file(R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", 2)));
  std::string content = io::read_file(folder / "x.safetensors");
  content.back() = 7;
  put(folder / "bool", content);
  EXPECT_ERROR(io::read_safetensors(folder / "bool"), core::DataError, "a BOOL is 7");
}

TEST_F(SafetensorsFile, NullMetadataUnknownMembersAndWhiteSpaceAroundTheHeaderAreTaken) {
  const io::Safetensors content =
      io::read_safetensors(file("\n\t "
                                R"({"__metadata__":null,"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":{"x":[1]}}})"
                                " \r\n",
                                8));
  EXPECT_TRUE(content.metadata.empty());
  EXPECT_EQ(content.tensors.at("a").numel(), 2);
  refused(good + std::string("\0\0", 2), 8, "something follows the end");
  refused(std::string("\0", 1) + good, 8, "no valid JSON");
}

TEST_F(SafetensorsFile, TensorsOfTypesThatAreNotReadArePassedOverWithALine) {
  const std::string path = file(R"({"a":{"dtype":"U16","shape":[3],"data_offsets":[0,6]},"b":{"dtype":"F4","shape":[4],"data_offsets":[6,8]},
      "c":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"d":{"dtype":"C64","shape":[1],"data_offsets":[12,20]},
      "e":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[20,20]}})",
                                20);
  testing::internal::CaptureStderr();
  const io::NamedTensors tensors = io::read_safetensors(path).tensors;
  EXPECT_NE(testing::internal::GetCapturedStderr().find(path + R"(: passes over "a" (U16), "b" (F4), "d" (C64) and 1 more: these types are not read)"),
            std::string::npos);
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors.count("c"), 1u);
}

TEST_F(SafetensorsFile, SizesOfTypesThatAreNotReadAreCheckedAllTheSame) {
  refused(R"({"a":{"dtype":"U16","shape":[4],"data_offsets":[0,7]}})", 7, "need 8 bytes");
  refused(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2, "need 12 bits, no whole number of bytes");
  refused(R"({"a":{"dtype":"U32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U32","shape":[1],"data_offsets":[6,10]}})", 10, "leave a hole");
}

TEST_F(SafetensorsFile, WhatIsNoSafetensorsFileIsCalledWhatItIs) {
  const auto called = [&](const std::string& content, const std::string& message) {
    put(folder / "x", content);
    EXPECT_ERROR(io::read_safetensors(folder / "x"), core::DataError, message);
  };
  called("", "is empty");
  called("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 3438167540\n", "is a Git LFS pointer");
  called("\n <!DOCTYPE html><html>", "is a page of HTML");
  called("<?xml version=\"1.0\"?><Error/>", "is a page of HTML or XML");
  called(std::string("GGUF\3\0\0\0\1\0\0\0", 12), "is a GGUF file");
  called(std::string("PK\3\4\0\0\10\10\0\0", 10) + "archive/data.pkl", "is a pickle");
  called(std::string("PK\3\4\0\0\0\0\0\0", 10), "is a pickle");  // would be a header of less than the limit
  called("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", "is a pickle");
  called("\x80\x02}q.", "is a pickle");
  called("Entry not found",
         R"(is no safetensors file: it would have a header of 8029390891631537733 bytes, at most 100000000 are read. It begins with "Entry not found")");
  called("\x89HDF\r\n\x1a\n", R"(It begins with "\x89HDF\x0d\x0a\x1a\x0a")");
  called(std::string(4096, '\0'), "a download that was broken off");
  called("1234", "has 4 bytes, a safetensors file has at least 8. It was cut short");
}

TEST_F(SafetensorsFile, AHeaderWhoseLengthLooksLikeAPickleIsRead) {
  const std::string path = file(good + std::string(640 - good.size(), ' '), 8);  // 640 is "\x80\x02"
  EXPECT_EQ(io::read_safetensors(path).tensors.size(), 1u);
  put(folder / "cut", io::read_file(path).substr(0, 100));
  EXPECT_ERROR(io::read_safetensors(folder / "cut"), core::DataError, "cut short");
}

}  // namespace
