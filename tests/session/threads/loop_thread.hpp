// Two sessions on a loop thread of their own, that really sleeps and is really woken.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <semaphore>
#include <thread>

#include "tests/session/rig.hpp"

namespace riffle::test {

/// A thread's own place to sleep.
class Sleeper final : public meet::Wakeable {
 public:
  void wake() noexcept override { bell_.release(); }
  void sleep() { bell_.acquire(); }
  bool sleep_for(std::chrono::microseconds time) { return bell_.try_acquire_for(time); }

 private:
  std::counting_semaphore<> bell_{0};
};

/// Purpose: runs a Rig over the fake on a thread. `prepare` runs there first, and may set handlers.
class LoopThread {
 public:
  LoopThread(const RigOptions& options, std::function<void(Rig&)> prepare) {
    std::binary_semaphore ready{0};
    thread_ = std::thread([&, prepare = std::move(prepare)] {
      Rig rig(Family::fake, options);
      rig_ = &rig;
      rig.client.bell = rig.server.bell = &bell_;
      prepare(rig);
      ready.release();
      while (!stop_.load()) {
        if (rig.step()) continue;
        // Both must sleep before the thread may: whoever posts afterwards rings.
        if (rig.client.fall_asleep() && rig.server.fall_asleep() && !stop_.load()) bell_.acquire();
        rig.client.awake();
        rig.server.awake();
      }
    });
    ready.acquire();
  }
  ~LoopThread() {
    stop_.store(true);
    bell_.release();
    thread_.join();
  }
  /// The parts of it that any thread may touch: `open`, `close`, `meet`.
  Host& client() { return rig_->client; }
  Host& server() { return rig_->server; }

 private:
  std::counting_semaphore<> bell_{0};
  std::atomic<bool> stop_{false};
  Rig* rig_ = nullptr;
  std::thread thread_;
};

/// Asks and sleeps until the answer; every `give_up_in`-th time it gives up early.
template <class T, class Target>
std::shared_ptr<meet::AskingFor<T>> ask(Target& target, meet::SessionMeet& session, std::uint32_t bit,
                                        meet::Question question, Sleeper& sleeper, std::chrono::microseconds patience) {
  std::shared_ptr<meet::AskingFor<T>> node(new meet::AskingFor<T>(question),
                                           [](meet::AskingFor<T>* asking) { asking->release(); });
  node->waiter = &sleeper;
  node->retain();
  session.asking_count.fetch_add(1);
  target.asking.push(node.get());
  session.loop->attend(target, bit);
  if (sleeper.sleep_for(patience)) return node;
  if (node->abandon()) return nullptr;
  sleeper.sleep();  // the answer was a moment away
  return node;
}

}  // namespace riffle::test
