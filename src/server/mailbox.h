// Mailbox: tasks from other threads, in batches: a sender hands over what it gathered in a turn.
//
// Batches of one sender are taken in the order in which they were sent. Senders watch waiting():
// past `limit` they stop reading clients, but never stop taking their own mail, so two full threads
// cannot wait for each other. Threading: send() from any thread, take() from the owner's. Lock-free
// (a stack that the owner empties whole and turns round: Treiber 1986).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace gyre {

class Worker;
using Task = std::function<void(Worker&)>;

class Mailbox {
 public:
  static constexpr std::size_t limit = 100'000;

  ~Mailbox() {
    for (Batch* b = head_.exchange(nullptr); b;) {
      Batch* next = b->next;
      delete b;
      b = next;
    }
  }

  // True when the box was empty: the owner is to be woken.
  bool send(std::vector<Task>&& tasks) {
    waiting_.fetch_add(tasks.size(), std::memory_order_relaxed);
    Batch* before = head_.load(std::memory_order_relaxed);
    auto* batch = new Batch{std::move(tasks), before};
    while (!head_.compare_exchange_weak(before, batch, std::memory_order_release,
                                        std::memory_order_relaxed)) {
      batch->next = before;
    }
    return before == nullptr;  // the batch is the owner's now, who may have freed it
  }

  // All tasks that are there, oldest batch first.
  std::vector<Task> take() {
    std::vector<Task> out;
    Batch* b = head_.exchange(nullptr, std::memory_order_acquire);
    Batch* in_order = nullptr;
    while (b) {
      Batch* next = b->next;
      b->next = in_order;
      in_order = b;
      b = next;
    }
    while (in_order) {
      const std::unique_ptr<Batch> batch(in_order);
      in_order = batch->next;
      for (Task& t : batch->tasks) out.push_back(std::move(t));
    }
    waiting_.fetch_sub(out.size(), std::memory_order_relaxed);
    return out;
  }

  std::size_t waiting() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  struct Batch {
    std::vector<Task> tasks;
    Batch* next;
  };
  std::atomic<Batch*> head_{nullptr};
  std::atomic<std::size_t> waiting_{0};
};

}  // namespace gyre
