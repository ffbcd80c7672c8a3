#include "tests/simulation/seed_runner.h"

#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "tests/simulation/simulation.h"

namespace fixpool::simulation {
namespace {

// What a child leaves behind for its parent, in memory that both have.
struct Slot {
  bool done;
  bool failed;
  Invariant violated;
  uint64_t hash;
  SimCounts counts;
  char message[1024];
};

struct Child {
  pid_t pid = 0;  // 0: none
  SeedPlan plan;
  int output = -1;  // what it writes to standard error
};

class Children {
 public:
  explicit Children(SeedRunner::Options options) : options_(options), children_(options.jobs) {
    void* const memory =
        mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FIXPOOL_CHECK(memory != MAP_FAILED, "no memory for the results of seeds");
    slots_ = static_cast<Slot*>(memory);
    for (Child& child : children_) {
      child.output = memfd_create("seed", MFD_CLOEXEC);
      FIXPOOL_CHECK(child.output >= 0, "no file for what a seed says");
    }
  }
  ~Children() {
    munmap(slots_, bytes());
    for (const Child& child : children_) close(child.output);
  }

  bool HasRoom() const { return running_ < children_.size(); }
  bool any() const { return running_ > 0; }
  void Start(const SeedPlan& plan);
  SeedResult WaitForOne();

 private:
  size_t bytes() const { return options_.jobs * sizeof(Slot); }
  [[noreturn]] void Live(const Child& child, Slot& slot) const;
  std::string LastWords(const Child& child, int status) const;

  const SeedRunner::Options options_;
  std::vector<Child> children_;
  Slot* slots_;
  size_t running_ = 0;
};

void Children::Live(const Child& child, Slot& slot) const {
  dup2(child.output, STDERR_FILENO);
  alarm(options_.seconds);
  {
    Simulation simulation(SimRandom(child.plan.seed), child.plan.seed, child.plan.steps);
    simulation.Run();
    const Verdict& verdict = simulation.verdict();
    slot.failed = verdict.failed();
    slot.violated = verdict.violated();
    slot.hash = verdict.hash();
    slot.counts = verdict.counts();
    const size_t length = std::min(verdict.message().size(), sizeof(slot.message) - 1);
    std::memcpy(slot.message, verdict.message().data(), length);
    slot.message[length] = '\0';
    // What is wrong may well keep it from being taken apart.
    if (verdict.failed()) {
      slot.done = true;
      _exit(0);
    }
  }
  slot.done = true;
  _exit(0);
}

void Children::Start(const SeedPlan& plan) {
  const auto free = std::find_if(children_.begin(), children_.end(),
                                 [](const Child& child) { return child.pid == 0; });
  free->plan = plan;
  Slot& slot = slots_[free - children_.begin()];
  slot.done = false;
  if (ftruncate(free->output, 0) != 0 || lseek(free->output, 0, SEEK_SET) != 0) {
    FIXPOOL_CHECK(false, "the file for what a seed says cannot be emptied");
  }
  const pid_t pid = fork();
  FIXPOOL_CHECK(pid >= 0, "fork");
  if (pid == 0) Live(*free, slot);
  free->pid = pid;
  ++running_;
}

std::string Children::LastWords(const Child& child, int status) const {
  std::string text(4000, '\0');
  const ssize_t length = pread(child.output, text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(length, 0)));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string end = absl::StrCat("ended with status ", WEXITSTATUS(status));
  if (WIFSIGNALED(status)) {
    end = WTERMSIG(status) == SIGALRM ? absl::StrCat("did not end within ", options_.seconds, " s")
                                      : absl::StrCat("died of signal ", WTERMSIG(status));
  }
  return absl::StrCat("the process ", end, text.empty() ? "" : ": ", text);
}

SeedResult Children::WaitForOne() {
  int status = 0;
  pid_t pid;
  do pid = waitpid(-1, &status, 0);
  while (pid < 0 && errno == EINTR);
  const auto child = std::find_if(children_.begin(), children_.end(),
                                  [pid](const Child& one) { return one.pid == pid; });
  FIXPOOL_CHECK(pid > 0 && child != children_.end(), "another child than those of seeds");
  const Slot& slot = slots_[child - children_.begin()];
  SeedResult result{.plan = child->plan};
  if (slot.done && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    result.failed = slot.failed;
    result.violated = slot.violated;
    result.message = slot.message;
    result.hash = slot.hash;
    result.counts = slot.counts;
    result.counts.Add(Invariant::kNoCheckFails);
  } else {
    result.failed = true;
    result.violated = Invariant::kNoCheckFails;
    result.message = LastWords(*child, status);
  }
  child->pid = 0;
  --running_;
  return result;
}

}  // namespace

void SeedRunner::Run(const PlanSource& next, const Taker& take) {
  Children children(options_);
  bool more = true;
  while (true) {
    SeedPlan plan;
    while (more && children.HasRoom() && (more = next(plan))) children.Start(plan);
    if (!children.any()) return;
    if (!take(children.WaitForOne())) more = false;
  }
}

void SeedRunner::Run(const std::vector<SeedPlan>& plans, const Taker& take) {
  size_t at = 0;
  Run(
      [&](SeedPlan& plan) {
        if (at == plans.size()) return false;
        plan = plans[at++];
        return true;
      },
      take);
}

}  // namespace fixpool::simulation
