#pragma once
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace test {

/// Runs body in a child that may crash or hang, and returns its wait status; a hang ends by SIGALRM after so many seconds. 99: body threw.
inline int in_child(unsigned seconds, const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(seconds);
    int code = 99;
    try {
      code = body();
    } catch (...) {
    }
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace test
