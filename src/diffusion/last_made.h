#pragma once
#include <memory>
#include <mutex>
#include <string>

namespace syncdr::diffusion {

/// What was made last, for as long as somebody holds it: who asks for the same again gets that one. May be asked from several threads.
template <class Made> class LastMade {
 public:
  /// key: all that it is made of. make() returns a shared_ptr to a new one.
  template <class Make> std::shared_ptr<Made> get(const std::string& key, const Make& make) {
    const std::lock_guard lock(mutex_);
    if (auto made = last_.lock(); made && key == key_) return made;
    std::shared_ptr<Made> made = make();
    key_ = key;
    last_ = made;
    return made;
  }

 private:
  std::mutex mutex_;
  std::string key_;
  std::weak_ptr<Made> last_;
};

}  // namespace syncdr::diffusion
