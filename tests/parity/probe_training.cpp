#include "probe.h"
#include "syncdr/data/loader.h"

using namespace syncdr;

SYNCDR_PROBE(batch_order,
             "size, batch, seed, stream, epoch [] int64 -> entries [batches, batch] int64: which entries of a training set are in which global batch of an "
             "epoch, in their order") {
  const auto of = [&](const char* name) { return in.at(name).item<int64_t>(); };
  const data::BatchOrder order(of("size"), of("batch"), static_cast<uint64_t>(of("seed")), static_cast<uint64_t>(of("stream")));
  at::Tensor all = at::empty({order.batches_per_epoch(), of("batch")}, at::kLong);
  for (int64_t batch = 0; batch < all.size(0); ++batch) {
    const auto entries = order.entries(of("epoch"), batch, 0, of("batch"));
    std::copy(entries.begin(), entries.end(), all[batch].data_ptr<int64_t>());
  }
  return {{"entries", all}};
}
