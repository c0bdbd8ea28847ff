#include "unit_writer.h"

#include "pictures.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/parallel.h"

namespace syncdr::translate {

UnitWriter::UnitWriter(const UnitLayout& layout, io::Claims& claims) : layout_(layout), claims_(claims), thread_([this] { run(); }) {}

void UnitWriter::run() {
  try {
    while (const auto batch = queue_.pop()) {
      take(*batch);
      if (missing_ == 0) seal();
    }
  } catch (...) {
    queue_.fail(std::current_exception());
  }
}

void UnitWriter::take(const FinishedBatch& batch) {
  if (batch.unit != unit_) {
    const auto images = layout_.images_of(batch.unit);
    unit_ = batch.unit;
    rows_.assign(static_cast<size_t>(images), {});
    statuses_.assign(static_cast<size_t>(images), good);
    missing_ = images;
  }
  const auto count = std::ssize(batch.images);
  core::parallel_for(count, layout_.codec_threads, [&](int64_t index) {
    const auto& image = batch.images[static_cast<size_t>(index)];
    const auto position = static_cast<size_t>(image.position);
    SYNCDR_ASSERT(rows_.at(position).empty(), "image {} of unit {} has come twice", position, unit_);
    rows_[position] = data::encode(to_image(image.planes), layout_.header.codec);
    statuses_[position] = image.status;
  });
  missing_ -= count;
}

/// False if the unit is another job's now.
bool UnitWriter::write(UnitRecord& record) {
  data::ShardWriter writer(layout_.path_of(unit_), layout_.header, true);
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto position = static_cast<int64_t>(i);
    auto source = layout_.source_of(unit_, position, statuses_[i]);
    const auto label = layout_.rows.label(layout_.row_of(unit_, position));
    writer.add({.key = source.key, .label = label, .encoded = std::move(rows_[i])}, source);
    record.redrawn += statuses_[i] == redrawn;
    record.quarantined += statuses_[i] == quarantined;
  }
  try {
    if (!writer.seal_unless_there(io::process_token())) return false;
    record.entry = data::make_entry(layout_.folder, layout_.file_of(unit_), layout_.images_of(unit_));
    return true;
  } catch (const std::exception&) {
    // Who finds a unit sealed by another removes the temporary file of one that seems dead.
    if (claims_.lost(layout_.file_of(unit_))) return false;
    throw;
  }
}

void UnitWriter::seal() {
  UnitRecord record{.unit = unit_};
  if (write(record)) {
    sealed_.push_back(std::move(record));
  } else {
    core::warn("{}: another job has taken it over, this rank's work on it is dropped", layout_.file_of(unit_));
  }
  claims_.release(layout_.file_of(unit_));
  unit_ = -1;
}

std::vector<UnitRecord> UnitWriter::finish() {
  queue_.end();
  thread_.join();
  queue_.pop();  // throws if the thread failed
  return std::move(sealed_);
}

}  // namespace syncdr::translate
