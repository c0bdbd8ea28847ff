#include "together.h"

#include <ATen/ops/full.h>
#include <new>

#include "syncdr/core/error.h"

namespace syncdr::translate {

void together(comm::World& world, const char* what, const std::function<void()>& work) {
  auto code = core::ExitCode::done;
  std::string message;
  try {
    work();
  } catch (const core::Error& error) {
    code = error.code();
    message = error.what();
  } catch (const std::bad_alloc&) {
    code = core::ExitCode::io;
    message = fmt::format("rank {}: out of memory", world.rank());
  } catch (const std::filesystem::filesystem_error& error) {
    code = core::ExitCode::io;
    message = error.what();
  } catch (const std::exception& error) {
    code = core::ExitCode::bug;
    message = fmt::format("rank {}: {}", world.rank(), error.what());
  }
  const auto gathered = world.all_gather_rows(at::full({1}, static_cast<int64_t>(code), at::kLong), what);
  const auto* codes = gathered.data_ptr<int64_t>();
  int worst = -1;
  for (int rank = 0; rank < world.size(); ++rank)
    if (codes[rank] != 0 && (worst < 0 || codes[rank] < codes[worst])) worst = rank;
  if (worst >= 0) throw core::Error(static_cast<core::ExitCode>(codes[worst]), world.broadcast(message, worst, what));
}

}  // namespace syncdr::translate
