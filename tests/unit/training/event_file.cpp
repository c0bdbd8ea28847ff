#include "event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "support/temporary_folder.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/file.h"

using namespace syncdr;
using namespace std::string_literals;
using testing::ElementsAre;
using testing::StartsWith;

// Every event file of TensorFlow begins with these bytes: the length of its version event, and that number's masked checksum.
TEST(EventFile, RecordsBeginAsTensorFlowWritesThem) {
  EXPECT_THAT(training::record_of(training::version_event(1.7e9)), StartsWith("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09"s));
}

TEST(EventFile, EventsHaveTheFieldsOfTheirProtocol) {
  const std::string time = "\x09\0\0\0\0\0\0\xf0\x3f"s;  // 1.0
  EXPECT_EQ(training::version_event(1), time + "\x1a\x0d"s + "brain.Event:2");
  EXPECT_EQ(training::session_start_event(1, 300), time + "\x10\xac\x02\x3a\x02\x08\x01"s);
  const double none = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(training::summary_event(1, 5, {{"loss", 0.5}, {"gone", none}}), time + "\x10\x05\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f"s);
}

TEST(EventFile, ASessionsNameSortsBehindAllThatAreThere) {
  const TemporaryFolder folder;
  const auto names = [&] {
    auto all = io::names_in(folder.path());
    std::sort(all.begin(), all.end());
    return all;
  };
  for (int session = 0; session < 2; ++session) training::EventFile(folder.path(), 1);
  EXPECT_THAT(names(), ElementsAre("events.out.tfevents.0000000001.syncdr", "events.out.tfevents.0000000002.syncdr"));
  io::write_file(folder.path() / "events.out.tfevents.1764500000.host.7", "");  // another program's
  training::EventFile(folder.path(), 1);
  EXPECT_EQ(names().back(), "events.out.tfevents.1764500001.syncdr");
}
