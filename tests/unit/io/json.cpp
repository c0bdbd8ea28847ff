#include "syncdr/io/json.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>
#include <random>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

using namespace syncdr;

namespace {

TEST(Json, RandomDoublesReadBackToTheSameBits) {
  std::mt19937_64 random(1);
  boost::json::array values{0.1, 1.0, -0.0, 1e-310, 1.7976931348623157e308, 5e-324, 2.2250738585072011e-308, 9007199254740993.0};
  while (values.size() < 20000) {
    const double value = std::bit_cast<double>(random());
    if (std::isfinite(value)) values.push_back(value);
  }
  const boost::json::value back = io::parse_json(io::pretty_json(values), "text");
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_TRUE(back.as_array()[i].is_double()) << i;
    EXPECT_EQ(std::bit_cast<uint64_t>(back.as_array()[i].get_double()), std::bit_cast<uint64_t>(values[i].get_double())) << values[i];
  }
}

TEST(Json, FileKeepsOrderTextAndIntegers) {
  const TemporaryFolder folder;
  const boost::json::value value = {{"z", 1},
                                    {"a", {true, nullptr, "quote \" and \n and \u00e9"}},
                                    {"empty", boost::json::object{}},
                                    {"big", uint64_t{1} << 63},
                                    {"low", std::numeric_limits<int64_t>::min()},
                                    {"nothing", boost::json::array{}}};
  io::write_json(folder / "a.json", value);
  EXPECT_EQ(io::read_json(folder / "a.json"), value);
  EXPECT_EQ(io::read_json(folder / "a.json").as_object().begin()->key(), "z");
}

TEST(Json, NotANumberIsWrittenAsNull) { EXPECT_EQ(io::pretty_json({std::nan(""), INFINITY}), "[\n  null,\n  null\n]\n"); }

TEST(Json, BrokenTextIsRefusedWithItsPlace) {
  EXPECT_ERROR(io::parse_json("", "f"), core::DataError, "f: is empty");
  EXPECT_ERROR(io::parse_json("{\"a\": [1, ", "f"), core::DataError, "f: byte 10: no valid JSON: it ends in its middle. It was cut short");
  EXPECT_ERROR(io::parse_json("{\"a\": 1,}", "f"), core::DataError, "f: byte 8: no valid JSON");
  EXPECT_ERROR(io::parse_json("{} x", "f"), core::DataError, "byte 3");
  EXPECT_ERROR(io::parse_json("[1e999]", "f"), core::DataError, "f: byte");
  EXPECT_ERROR(io::parse_json("{\"a\": {\"b\": 1, \"c\": 2, \"b\": 3}}", "f"), core::DataError, "\"b\" occurs twice");
  EXPECT_ERROR(io::parse_json(std::string(100000, '['), "f"), core::DataError, "f: byte");
  EXPECT_ERROR(io::parse_json("\"\xff\"", "f"), core::DataError, "f: byte");
  EXPECT_NO_THROW(io::parse_json("{\"a\": {\"b\": 1}, \"c\": {\"b\": 1}}", "f"));
}

TEST(Json, WhatADownloadLeftInPlaceOfJsonIsCalledWhatItIs) {
  EXPECT_ERROR(io::parse_json("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 961143\n", "f"), core::DataError, "f: is a Git LFS pointer");
  EXPECT_ERROR(io::parse_json("<html>", "f"), core::DataError, "f: is a page of HTML");
  EXPECT_ERROR(io::parse_json("\xef\xbb\xbf\r\n<!doctype html>", "f"), core::DataError, "f: is a page of HTML");
  EXPECT_ERROR(io::parse_json("<", "f"), core::DataError, "f: byte 0: no valid JSON");
}

TEST(Json, MembersOfTheWrongKindAreNamed) {
  const boost::json::object object = {{"text", "x"}, {"number", 3}, {"fraction", 0.5}};
  EXPECT_EQ(io::json_string(object, "text", "f"), "x");
  EXPECT_EQ(io::json_int(object, "number", "f"), 3);
  EXPECT_EQ(io::json_double(object, "number", "f"), 3.0);
  EXPECT_EQ(io::json_double(object, "fraction", "f"), 0.5);
  EXPECT_ERROR(io::json_string(object, "number", "f"), core::DataError, "f: \"number\" is not a string");
  EXPECT_ERROR(io::json_int(object, "fraction", "f"), core::DataError, "f: \"fraction\" is not an integer");
  EXPECT_ERROR(io::json_double(object, "text", "f"), core::DataError, "f: \"text\" is not a number");
  EXPECT_ERROR(io::json_array(object, "none", "f"), core::DataError, "f: \"none\" is missing");
  EXPECT_ERROR(io::json_object(object, "text", "f"), core::DataError, "f: \"text\" is not an object");
  EXPECT_ERROR(io::as_object(boost::json::value(1), "f"), core::DataError, "f: is not a JSON object");
}

}  // namespace
