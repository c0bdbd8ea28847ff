#include "syncdr/nn/one_thread.h"

#include <ATen/core/grad_mode.h>

#include "syncdr/core/parallel.h"

namespace syncdr::nn {

void each_in_one_thread(int64_t count, const std::function<void(int64_t)>& body) {
  const OneThread one_thread;
  core::parallel_for(count, one_thread.before(), [&](int64_t index) {
    at::init_num_threads();         // a new thread takes the number from here, or oneDNN would take all cores
    const at::NoGradGuard no_grad;  // each thread has its own
    body(index);
  });
}

}  // namespace syncdr::nn
