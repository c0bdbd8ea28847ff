#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "fuzz.h"

/// main() of a target without libFuzzer, for compilers that have none: gives it the seeds, and so many mutations of them, the same in each run and on each
/// machine. What ends it is left in the file that is named.
///
/// usage: TARGET FOLDER-OF-SEEDS COUNT
namespace {

using Input = std::vector<uint8_t>;

constexpr size_t longest = 16384;
constexpr unsigned patience = 60;  // seconds for an input
Input current;
const char* left = "";

/// The process ends here: by a signal, by a sanitizer (which aborts), or because an input took too long.
void leave_input(int signal) {
  const int file = ::open(left, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  const bool written = file >= 0 && ::write(file, current.data(), current.size()) == static_cast<ssize_t>(current.size());
  std::fprintf(stderr, "signal %d; the input is %s %s\n", signal, written ? "left in" : "lost, it cannot be written to", left);
  std::signal(signal, SIG_DFL);
  std::raise(signal == SIGALRM ? SIGABRT : signal);
}

void run(Input input) {
  current = std::move(input);
  ::alarm(patience);
  LLVMFuzzerTestOneInput(current.data(), current.size());
  ::alarm(0);
}

class Mutations {
 public:
  explicit Mutations(const std::vector<Input>& seeds) : seeds_(seeds) {}

  Input next() {
    Input input = some();
    for (size_t count = 1 + below(6); count > 0; --count) change(input);
    input.resize(std::min(input.size(), longest));
    return input;
  }

 private:
  size_t below(size_t count) { return count == 0 ? 0 : random_() % count; }
  const Input& some() { return seeds_[below(seeds_.size())]; }
  Input::iterator place(Input& input) { return input.begin() + static_cast<std::ptrdiff_t>(below(input.size() + 1)); }

  void change(Input& input) {
    constexpr uint8_t telling[] = {0, 1, 0x7F, 0x80, 0xFF, '"', '0', '9', '{', '}', '[', ']', '\n', ',', '/', '.', '-', ' '};
    const size_t at = below(input.size());
    switch (below(8)) {
      case 0:
        if (!input.empty()) input[at] ^= static_cast<uint8_t>(1 << below(8));
        break;
      case 1:
        if (!input.empty()) input[at] = static_cast<uint8_t>(random_());
        break;
      case 2:
        if (!input.empty()) input[at] = telling[below(std::size(telling))];
        break;
      case 3: input.insert(place(input), telling[below(std::size(telling))]); break;
      case 4: {
        const auto first = place(input);
        input.erase(first, first + static_cast<std::ptrdiff_t>(below(std::min<size_t>(64, static_cast<size_t>(input.end() - first)) + 1)));
        break;
      }
      case 5: {  // a number of four bytes that is far off
        const uint32_t value = below(2) == 0 ? static_cast<uint32_t>(random_()) : 0xFFFFFFFFU - static_cast<uint32_t>(below(4));
        for (size_t i = at; i < std::min(at + 4, input.size()); ++i) input[i] = static_cast<uint8_t>(value >> (8 * (i - at)));
        break;
      }
      case 6: {  // a piece of another seed
        const Input& other = some();
        const size_t first = below(other.size()), length = below(std::min<size_t>(other.size() - first, 256) + 1);
        const Input piece(other.begin() + static_cast<std::ptrdiff_t>(first), other.begin() + static_cast<std::ptrdiff_t>(first + length));
        input.insert(place(input), piece.begin(), piece.end());
        break;
      }
      default:
        if (below(8) == 0) input.resize(at);
    }
  }

  const std::vector<Input>& seeds_;
  std::mt19937_64 random_{1};
};

}  // namespace

// The largest block of memory that a target may ask for, as launch/fuzz.sh has it.
extern "C" const char* __asan_default_options() { return "abort_on_error=1:max_allocation_size_mb=512:detect_leaks=1:handle_abort=0"; }
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s FOLDER-OF-SEEDS COUNT\n", argv[0]);
    return 2;
  }
  static const std::string file = std::string(argv[0]) + ".input";
  left = file.c_str();
  for (const int signal : {SIGABRT, SIGALRM}) std::signal(signal, leave_input);
  std::vector<Input> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::ifstream in(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  if (seeds.empty()) {
    std::fprintf(stderr, "%s holds no seeds\n", argv[1]);
    return 2;
  }
  std::ranges::sort(seeds);
  for (const Input& seed : seeds) run(seed);
  Mutations mutations(seeds);
  const int count = std::atoi(argv[2]);
  for (int i = 0; i < count; ++i) run(mutations.next());
  std::printf("%zu seeds, %d mutations\n", seeds.size(), count);
}
