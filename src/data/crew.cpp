#include "syncdr/data/crew.h"

namespace syncdr::data {

void Crew::work_on(Task& task, std::unique_lock<std::mutex>& lock) {
  const int64_t index = task.begun++;
  if (task.begun == task.count) std::erase(open, &task);
  lock.unlock();
  std::exception_ptr error;
  try {
    task.work(index);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  if (error && index < task.failed) {
    task.failed = index;
    task.error = error;
  }
  if (++task.ended == task.count) changed.notify_all();  // from here on the task may be gone
}

void Crew::each(int64_t count, const std::function<void(int64_t)>& work) {
  if (count == 0) return;
  Task task{.count = count, .work = work};
  std::unique_lock lock(mutex);
  open.push_back(&task);
  changed.notify_all();
  while (task.begun < task.count) work_on(task, lock);
  changed.wait(lock, [&task] { return task.ended == task.count; });
  if (task.error) std::rethrow_exception(task.error);
}

void each_image(int64_t count, const std::function<void(int64_t)>& work) {
  if (Crew::of_this_thread != nullptr) return Crew::of_this_thread->each(count, work);
  for (int64_t index = 0; index < count; ++index) work(index);
}

}  // namespace syncdr::data
