#include "fixpool/io/thread.h"

#include <csignal>
#include <memory>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/error.h"

namespace fixpool::io {
namespace {

void* RunBody(void* argument) {
  const std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(argument));
  (*body)();
  return nullptr;
}

}  // namespace

absl::StatusOr<Thread> Thread::Start(const char* name, std::function<void()> body) {
  auto argument = std::make_unique<std::function<void()>>(std::move(body));
  // The new thread inherits the mask, so it never runs with a signal unblocked.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t handle;
  const int error = pthread_create(&handle, nullptr, RunBody, argument.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("starting thread ", name));
  static_cast<void>(argument.release());
  pthread_setname_np(handle, name);
  return Thread(handle);
}

Thread::~Thread() { FIXPOOL_CHECK(!running_, "a Thread was neither joined nor detached"); }

void Thread::Join() {
  FIXPOOL_CHECK(running_, "Join of a thread that was joined or detached");
  running_ = false;
  pthread_join(handle_, nullptr);
}

void Thread::Detach() {
  FIXPOOL_CHECK(running_, "Detach of a thread that was joined or detached");
  running_ = false;
  pthread_detach(handle_);
}

}  // namespace fixpool::io
