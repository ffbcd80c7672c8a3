// What compilers are known to get wrong about coroutines, in the forms that the documentation
// tells users to write: each object that is made is destroyed, once.
//
// The forms that g++ 12 miscompiles are not here, since a test of them would have to crash:
// temporaries of an aggregate or closure type in an expression with co_await, and
// `co_await (c ? A() : B())`.

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "tests/storage/task_fixture.h"

namespace fixpool::storage {
namespace {

int alive = 0;
int displaced = 0;

// Knows where it was made, and so notices if its bytes were copied.
class Tracked {
 public:
  Tracked() : self_(this) { ++alive; }
  Tracked(const Tracked&) : self_(this) { ++alive; }
  Tracked(Tracked&&) noexcept : self_(this) { ++alive; }
  ~Tracked() {
    if (self_ != this) ++displaced;
    --alive;
  }

 private:
  Tracked* const self_;
};
struct Aggregate {
  Tracked tracked;
  int number;
};

using IntTask = Task<absl::StatusOr<int>>;

class CoroutineCompilersTest : public TaskFixture {
 protected:
  void SetUp() override { alive = displaced = 0; }

  // Runs `body` to its end, and destroys another one at each of its suspensions.
  template <typename Body>
  void Check(Body body) {
    ManualEvent event;
    progress_.Plan([&] { event.Pulse(); });
    progress_.Plan([&] { event.Pulse(); });
    progress_.Plan([&] { event.Pulse(); });
    EXPECT_TRUE(scheduler_.Run(body(scheduler_, event)).ok());
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(displaced, 0);
    for (int suspensions = 0; suspensions < 3; ++suspensions) {
      auto task = scheduler_.Spawn(body(scheduler_, event));
      for (int i = 0; i <= suspensions; ++i) {
        ASSERT_TRUE(scheduler_.RunReady().ok());
        if (i < suspensions) event.Pulse();
      }
      task = absl::CancelledError("dropped");
      EXPECT_EQ(alive, 0);
      EXPECT_EQ(displaced, 0);
    }
  }
};

IntTask ByValue(TaskScheduler&, ManualEvent& event, Tracked) {
  co_await event;
  co_return 1;
}
IntTask ByReference(TaskScheduler&, ManualEvent& event, const Tracked&) {
  co_await event;
  co_return 1;
}
IntTask ByAggregate(TaskScheduler&, ManualEvent& event, Aggregate aggregate) {
  co_await event;
  co_return aggregate.number;
}
template <typename Function>
IntTask ByFunction(TaskScheduler&, ManualEvent& event, Function function) {
  co_await event;
  co_return function();
}

TEST_F(CoroutineCompilersTest, TemporariesOfClassesWithConstructors) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    const absl::StatusOr<int> a = co_await ByValue(scheduler, event, Tracked());
    const absl::StatusOr<int> b = co_await ByReference(scheduler, event, Tracked());
    co_return *a + *b;
  });
}

TEST_F(CoroutineCompilersTest, ParametersMovedAndCopied) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    Tracked tracked;
    const absl::StatusOr<int> a = co_await ByValue(scheduler, event, tracked);
    co_return co_await ByValue(scheduler, event, std::move(tracked));
  });
}

TEST_F(CoroutineCompilersTest, AggregatesWithAName) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    Aggregate aggregate{Tracked(), 3};
    co_return co_await ByAggregate(scheduler, event, std::move(aggregate));
  });
}

TEST_F(CoroutineCompilersTest, ClosuresWithAName) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    Tracked tracked;
    auto function = [tracked, text = std::string(100, 'x')] { return int(text.size()); };
    co_return co_await ByFunction(scheduler, event, std::move(function));
  });
}

TEST_F(CoroutineCompilersTest, ClosuresThatAreCoroutinesWithAName) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    const auto inner = [tracked = Tracked()](TaskScheduler& s, ManualEvent& e) -> IntTask {
      const Tracked copy = tracked;
      co_return co_await ByReference(s, e, copy);
    };
    co_return co_await inner(scheduler, event);
  });
}

TEST_F(CoroutineCompilersTest, ConditionsThatAwait) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    const bool yes = alive == 0;
    const absl::StatusOr<int> a = yes ? co_await ByValue(scheduler, event, Tracked())
                                      : co_await ByReference(scheduler, event, Tracked());
    if ((co_await ByValue(scheduler, event, Tracked())).ok() && yes) co_return *a;
    co_return 0;
  });
}

TEST_F(CoroutineCompilersTest, ChosenTasksWithAName) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    const bool yes = alive == 0;
    IntTask task = yes ? ByValue(scheduler, event, Tracked()) : IntTask(absl::InternalError("no"));
    co_return co_await std::move(task);
  });
}

TEST_F(CoroutineCompilersTest, LoopsThatAwaitInTheirCondition) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    int rounds = 0;
    while (*co_await ByReference(scheduler, event, Tracked()) == 1) {
      const Tracked local;
      if (++rounds == 3) break;
    }
    co_return rounds;
  });
}

TEST_F(CoroutineCompilersTest, SeveralAwaitsInAnExpression) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    co_return *co_await ByValue(scheduler, event, Tracked()) +
        *co_await ByReference(scheduler, event, Tracked());
  });
}

TEST_F(CoroutineCompilersTest, ResultsThatOwn) {
  Check([](TaskScheduler& scheduler, ManualEvent& event) -> IntTask {
    const auto make = [](TaskScheduler&, ManualEvent& e) -> Task<absl::StatusOr<Tracked>> {
      co_await e;
      co_return Tracked();
    };
    const absl::StatusOr<Tracked> result = co_await make(scheduler, event);
    co_await event;
    co_return result.ok() ? 1 : 0;
  });
}

}  // namespace
}  // namespace fixpool::storage
