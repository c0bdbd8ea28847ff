#pragma once
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>

#include "syncdr/comm/world.h"

/// The main of a GoogleTest program that runs under mpirun: include this header in exactly one source, write TESTs that call world().
///
/// Every rank runs every test in the same order. Rank 0 prints the usual lines, every rank prints its failures. EXPECT_ failures are agreed on after
/// the last test. A fatal failure (ASSERT_, an exception) leaves the rank out of step with its peers' collectives, so it ends the job at once.
namespace syncdr::test {

inline std::unique_ptr<comm::World> the_world;
inline comm::World& world() { return *the_world; }

class RankListener : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.passed() || result.skipped() || world().is_root()) return;
    std::fprintf(stderr, "[rank %d of %d] %s:%d: %s\n", world().rank(), world().size(), result.file_name() ? result.file_name() : "?", result.line_number(),
                 result.message());
  }
  void OnTestEnd(const testing::TestInfo& info) override {
    if (world().size() == 1 || !info.result()->HasFatalFailure()) return;
    world().fail(core::ExitCode::bug, fmt::format("{}.{} failed on rank {}", info.test_suite_name(), info.name(), world().rank()));
  }
};

inline int run_tests(int argc, char** argv, const comm::CommConfig& config) {
  testing::InitGoogleTest(&argc, argv);
  the_world = std::make_unique<comm::World>(config);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (!world().is_root()) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new RankListener);
  const bool passed = RUN_ALL_TESTS() == 0 && testing::UnitTest::GetInstance()->test_to_run_count() > 0;
  const auto code = world().finish(passed ? core::ExitCode::done : core::ExitCode::bug);
  the_world.reset();
  return static_cast<int>(code);
}

}  // namespace syncdr::test

int main(int argc, char** argv) {
  // A test that hangs must say so long before ctest's own limit.
  return syncdr::test::run_tests(argc, argv, {.device = "cpu", .deadline = 60});
}
