#include "mpi_backend.h"

#include <limits>

#include "syncdr/core/error.h"

namespace syncdr::comm {
namespace {

using c10d::OpType;
using c10d::ReduceOp;
using WorkPointer = c10::intrusive_ptr<c10d::Work>;

/// MPI counts in int. Longer buffers travel in pieces of this many elements.
constexpr int64_t piece = int64_t{1} << 30;

template <class Half> void add_halves(void* in, void* inout, int* count, MPI_Datatype*) {
  const auto* from = static_cast<const Half*>(in);
  auto* to = static_cast<Half*>(inout);
  for (int i = 0; i < *count; ++i) to[i] = Half(static_cast<float>(to[i]) + static_cast<float>(from[i]));
}

/// Sums of two-byte numbers that MPI does not know.
template <class Half> struct HalfSum {
  MPI_Datatype type;
  MPI_Op add;
  HalfSum() {
    MPI_Type_contiguous(2, MPI_BYTE, &type);
    MPI_Type_commit(&type);
    MPI_Op_create(&add_halves<Half>, 1, &add);
  }
  ~HalfSum() {
    MPI_Op_free(&add);
    MPI_Type_free(&type);
  }
};

void require(const at::Tensor& tensor) {
  SYNCDR_ASSERT(tensor.device().is_cpu() && tensor.is_contiguous(), "the MPI backend takes contiguous CPU tensors, not {} on {}",
                fmt::join(tensor.sizes(), "x"), tensor.device().str());
}

const at::Tensor& only(const std::vector<at::Tensor>& tensors) {
  SYNCDR_ASSERT(tensors.size() == 1, "a rank brings one tensor, not {}", tensors.size());
  require(tensors[0]);
  return tensors[0];
}

/// A type of the tensor's element size, for operations that only move bytes.
MPI_Datatype moved_as(const at::Tensor& tensor) {
  switch (tensor.element_size()) {
    case 1: return MPI_UINT8_T;
    case 2: return MPI_UINT16_T;
    case 4: return MPI_UINT32_T;
    case 8: return MPI_UINT64_T;
    default: SYNCDR_ASSERT(false, "elements of {} bytes", tensor.element_size());
  }
  return MPI_DATATYPE_NULL;
}

int count_of(const at::Tensor& tensor) {
  SYNCDR_ASSERT(tensor.numel() <= std::numeric_limits<int>::max(), "{} elements are too many for one MPI operation", tensor.numel());
  return static_cast<int>(tensor.numel());
}

/// call(address, count) for each piece of the tensor. An empty tensor has one empty piece: every rank must still take part.
template <class Call> void in_pieces(const at::Tensor& tensor, Call&& call) {
  auto* bytes = static_cast<char*>(tensor.data_ptr());
  int64_t begin = 0;
  do {
    const auto count = std::min(piece, tensor.numel() - begin);
    call(bytes + begin * static_cast<int64_t>(tensor.element_size()), static_cast<int>(count));
    begin += count;
  } while (begin < tensor.numel());
}

/// Puts every rank's input into output, in rank order.
MpiWork::Start gathering(const at::Tensor& output, const at::Tensor& input) {
  return [output, input, count = count_of(input)](MPI_Comm comm, Requests& requests) {
    const auto type = moved_as(input);
    check_mpi(MPI_Iallgather(input.data_ptr(), count, type, output.data_ptr(), count, type, comm, &requests.emplace_back(MPI_REQUEST_NULL)), "MPI_Iallgather");
  };
}

}  // namespace

struct MpiBackend::HalfSums {
  HalfSum<at::Half> half;
  HalfSum<at::BFloat16> bfloat;
};

MpiBackend::MpiBackend(MpiThread& thread) : Backend(thread.layout().rank, thread.layout().size), thread_(thread) {
  thread_.call([this](MPI_Comm) { half_sums_ = std::make_unique<HalfSums>(); });
}

MpiBackend::~MpiBackend() {
  thread_.call([this](MPI_Comm) { half_sums_.reset(); });
}

WorkPointer MpiBackend::start(OpType type, std::vector<at::Tensor> results, MpiWork::Start start, std::function<void()> unpack) {
  auto work = c10::make_intrusive<MpiWork>(type, std::move(results), std::move(start), std::move(unpack));
  thread_.start(work);
  return work;
}

std::pair<MPI_Datatype, MPI_Op> MpiBackend::reduction(at::ScalarType type, const ReduceOp& op) const {
  const bool sum = op == ReduceOp::SUM;
  SYNCDR_ASSERT(sum || op == ReduceOp::MIN || op == ReduceOp::MAX, "the MPI backend reduces by SUM, MIN and MAX only");
  const auto mpi_op = sum ? MPI_SUM : op == ReduceOp::MIN ? MPI_MIN : MPI_MAX;
  switch (type) {
    case at::kFloat: return {MPI_FLOAT, mpi_op};
    case at::kDouble: return {MPI_DOUBLE, mpi_op};
    case at::kInt: return {MPI_INT32_T, mpi_op};
    case at::kLong: return {MPI_INT64_T, mpi_op};
    case at::kByte: return {MPI_UINT8_T, mpi_op};
    case at::kHalf:
      if (sum) return {half_sums_->half.type, half_sums_->half.add};
      break;
    case at::kBFloat16:
      if (sum) return {half_sums_->bfloat.type, half_sums_->bfloat.add};
      break;
    default: break;
  }
  SYNCDR_ASSERT(false, "the MPI backend cannot reduce {} by this operation", c10::toString(type));
  return {};
}

WorkPointer MpiBackend::broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) {
  const auto& tensor = only(tensors);
  return start(OpType::BROADCAST, tensors, [tensor, root = static_cast<int>(options.rootRank)](MPI_Comm comm, Requests& requests) {
    in_pieces(tensor, [&](void* data, int count) {
      check_mpi(MPI_Ibcast(data, count, moved_as(tensor), root, comm, &requests.emplace_back(MPI_REQUEST_NULL)), "MPI_Ibcast");
    });
  });
}

WorkPointer MpiBackend::allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) {
  const auto& tensor = only(tensors);
  return start(OpType::ALLREDUCE, tensors, [tensor, how = reduction(tensor.scalar_type(), options.reduceOp)](MPI_Comm comm, Requests& requests) {
    in_pieces(tensor, [&](void* data, int count) {
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, data, count, how.first, how.second, comm, &requests.emplace_back(MPI_REQUEST_NULL)), "MPI_Iallreduce");
    });
  });
}

WorkPointer MpiBackend::_allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions&) {
  require(output);
  require(input);
  SYNCDR_ASSERT(output.numel() == input.numel() * getSize(), "{} elements from each of {} ranks do not fill {}", input.numel(), getSize(), output.numel());
  return start(OpType::_ALLGATHER_BASE, {output}, gathering(output, input));
}

WorkPointer MpiBackend::allgather(std::vector<std::vector<at::Tensor>>& outputs, std::vector<at::Tensor>& inputs, const c10d::AllgatherOptions&) {
  const auto& input = only(inputs);
  SYNCDR_ASSERT(outputs.size() == 1 && outputs[0].size() == static_cast<size_t>(getSize()), "one output for each rank is needed");
  for (const auto& output : outputs[0])
    SYNCDR_ASSERT(output.numel() == input.numel() && output.scalar_type() == input.scalar_type(), "outputs must be like the input");
  auto flat = at::empty({getSize(), input.numel()}, input.options());
  const auto unpack = [flat, parts = outputs[0]]() mutable {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < parts.size(); ++i) parts[i].copy_(flat[static_cast<int64_t>(i)].view(parts[i].sizes()));
  };
  return start(OpType::ALLGATHER, outputs[0], gathering(flat, input), unpack);
}

WorkPointer MpiBackend::barrier(const c10d::BarrierOptions&) {
  return start(OpType::BARRIER, {},
               [](MPI_Comm comm, Requests& requests) { check_mpi(MPI_Ibarrier(comm, &requests.emplace_back(MPI_REQUEST_NULL)), "MPI_Ibarrier"); });
}

}  // namespace syncdr::comm
