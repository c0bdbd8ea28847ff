#include "syncdr/io/pickle.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

using namespace syncdr;
using Kind = io::PickleValue::Kind;
using namespace std::string_literals;

namespace {

/// Pickles by hand, opcode by opcode. None of them is run, and what they name is harmless.
class PickleFile : public testing::Test {
 protected:
  io::Pickle read(const std::string& content) {
    test::put(folder / "p", content);
    const io::InputFile file(folder / "p");
    return io::read_pickle(file, 0, file.size());
  }
  void refused(const std::string& content, const std::string& message) { EXPECT_ERROR(read(content), core::DataError, message); }
  TemporaryFolder folder;
};

TEST_F(PickleFile, ConstantsOfAllWidthsAreRead) {
  const auto pickle =
      read("\x80\x02(NK\xffM\xff\xffJ\xff\xff\xff\xff\x8a\x01\x80\x8a\x00\x8b\x02\x00\x00\x00\x00\x01\x88\x89G@\x09\x21\xfb\x54\x44\x2d\x18t."s);
  const auto& items = pickle.root->items;
  ASSERT_EQ(items.size(), 10u);
  EXPECT_TRUE(items[0]->is(Kind::none));
  const int64_t expected[] = {255, 65535, -1, -128, 0, 256, 1, 0};
  for (size_t i = 0; i < std::size(expected); ++i) EXPECT_EQ(items[i + 1]->integer, expected[i]) << i;
  EXPECT_TRUE(items[7]->is(Kind::boolean));
  EXPECT_TRUE(items[9]->is(Kind::real));
}

TEST_F(PickleFile, TextsAndBytesOfAllWidthsAreRead) {
  const auto pickle =
      read("\x80\x04(U\x01"s + "aT\1\0\0\0bX\1\0\0\0c\x8c\1d\x8d\1\0\0\0\0\0\0\0"s + "eC\1"s + "fB\1\0\0\0g\x8e\1\0\0\0\0\0\0\0h\x96\1\0\0\0\0\0\0\0it."s);
  std::string all;
  for (const auto* item : pickle.root->items) all += item->text;
  EXPECT_EQ(all, "abcdefghi");
  EXPECT_TRUE(pickle.root->items[4]->is(Kind::text));
  EXPECT_TRUE(pickle.root->items[5]->is(Kind::bytes));
}

TEST_F(PickleFile, ContainersKeepTheirItemsInOrder) {
  const auto pickle = read("\x80\x04(](K\1K\2eK\3a}(K\4K\5uK\6K\7s\x8f(K\x08\x90(K\x09\x91K\1\x85K\1K\2\x86K\1K\2K\3\x87)t."s);
  const auto& items = pickle.root->items;
  ASSERT_EQ(items.size(), 8u);
  const size_t sizes[] = {3, 4, 1, 1, 1, 2, 3, 0};
  const Kind kinds[] = {Kind::list, Kind::dictionary, Kind::set, Kind::set, Kind::tuple, Kind::tuple, Kind::tuple, Kind::tuple};
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_TRUE(items[i]->is(kinds[i])) << i;
    EXPECT_EQ(items[i]->items.size(), sizes[i]) << i;
  }
  EXPECT_EQ(items[1]->items[3]->integer, 7);
  EXPECT_EQ(items[6]->items[2]->integer, 3);
}

TEST_F(PickleFile, CallsAreDescribedAndNotMade) {
  const auto pickle = read(
      "\x80\x02"
      "ccollections\nCounter\nq\0K\1\x85Rq\1(K\2K\3u}b."s);
  EXPECT_TRUE(pickle.root->made_by("collections.Counter"));
  ASSERT_EQ(pickle.root->items.size(), 4u);
  EXPECT_EQ(pickle.root->items[1]->items[0]->integer, 1);
  EXPECT_EQ(pickle.root->items[3]->integer, 3);
  ASSERT_NE(pickle.root->state, nullptr);
  EXPECT_EQ(describe(*pickle.root), "a call of collections.Counter");
}

TEST_F(PickleFile, AllWaysToNameAGlobalAndToCallIt) {
  EXPECT_EQ(read("\x80\x04\x8c\x08"
                 "argparse\x8c\x09Namespace\x93."s)
                .root->text,
            "argparse.Namespace");
  EXPECT_TRUE(read("\x80\x02"
                   "cargparse\nNamespace\n)\x81."s)
                  .root->made_by("argparse.Namespace"));
  EXPECT_TRUE(read("\x80\x04"
                   "cargparse\nNamespace\n)}\x92."s)
                  .root->made_by("argparse.Namespace"));
  EXPECT_TRUE(read("\x80\x02"
                   "cargparse\nNamespace\n)R)R."s)
                  .root->made_by("argparse.Namespace"));  // what a call gave is called
  EXPECT_TRUE(read("\x80\x02K\1Q."s).root->is(Kind::persistent));
  EXPECT_TRUE(read("\x80\x02U\6module"
                   "cargparse\nNamespace\n\x86Q)\x81."s)
                  .root->made_by("argparse.Namespace"));
}

TEST_F(PickleFile, TheMemoGivesTheSameValueAgain) {
  const auto& items = read("\x80\x04(]q\5]r\0\1\0\0]\x94h\5j\0\1\0\0h\2t."s);
  ASSERT_EQ(items.root->items.size(), 6u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(items.root->items[i], items.root->items[i + 3]) << i;
}

TEST_F(PickleFile, AListMayHoldItself) {
  const auto pickle = read("\x80\x02]q\0h\0a."s);
  ASSERT_EQ(pickle.root->items.size(), 1u);
  EXPECT_EQ(pickle.root->items[0], pickle.root);
}

TEST_F(PickleFile, WhatFollowsIsLeftToTheNext) {
  EXPECT_EQ(read("\x80\x02N.\x80\x02K\7."s).end, 4u);
  test::put(folder / "p", "\x80\x02N.\x80\x02K\7."s);
  EXPECT_EQ(io::read_pickle(io::InputFile(folder / "p"), 4, 9).root->integer, 7);
}

TEST_F(PickleFile, EveryTruncationIsRefused) {
  const std::string whole = "\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94(\x8c\1a]\x94(K\1J\1\0\0\0G\0\0\0\0\0\0\0\0\x8a\2\1\1e\x8c\1bccollections\nCounter\n)Ru."s;
  EXPECT_EQ(read(whole).root->items.size(), 4u);
  for (size_t size = 0; size < whole.size(); ++size) refused(whole.substr(0, size), "the pickle");
}

TEST_F(PickleFile, LengthsBeyondTheFileTakeNoMemory) {
  refused("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"s, "passes the end");
  refused("\x80\x02X\xff\xff\xff\xff."s, "passes the end");
  refused("\x80\x02\x8b\xff\xff\xff\x7f."s, "passes the end");
  refused("\x80\x02"s + "c" + std::string(2000, 'a') + "\nb\n.", "more than 1000 characters");
}

TEST_F(PickleFile, MoreValuesThanThereCanBeAreRefused) { refused("\x80\x02" + std::string(9 << 20, 'N'), "more than 8388608 values"); }

TEST_F(PickleFile, ABrokenStackOrMemoIsNamed) {
  refused("\x80\x02."s, "byte 3: the pickle cannot be read: its stack is empty");
  refused("\x80\x02K\1(."s, "stack is empty");  // nothing below a mark is taken
  refused("\x80\x02K\1(a."s, "stack is empty");
  refused("\x80\x02t."s, "a mark is missing");
  refused("\x80\x02h\1."s, "asks for value 1, which it has not stored");
  refused("\x80\x02q\1."s, "stack is empty");
  refused("\x80\x02K\1K\2a."s, "adds items to an int");
  refused("\x80\x02](K\1K\2u."s, "adds items to a list");
  refused("\x80\x02}(K\1u."s, "a key is without a value");
  refused("\x80\x02K\1)R."s, "calls an int");
  refused("\x80\x02K\1Q)R."s, "calls a persistent object");
  refused(
      "\x80\x02"
      "ccollections\nCounter\nK\1R."s,
      "with an int in place of a tuple");
  refused("\x80\x04K\1K\2\x93."s, "name of a global is no text");
}

TEST_F(PickleFile, OtherProtocolsAndOpcodesAreRefused) {
  refused("\x80\x01N."s, "its protocol is 1");
  refused("\x80\x06N."s, "its protocol is 6");
  for (const char* opcode : {"I1\n", "i", "o", "P1\n", "\x82\1", "\x97", "\xff"}) refused("\x80\x02"s + opcode + ".", "opcode 0x");
}

}  // namespace
