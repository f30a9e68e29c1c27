#include "server/node_scripts.h"

#include <algorithm>

namespace gyre {

std::shared_ptr<const Program> NodeScripts::find(const std::string& sha) const {
  const std::lock_guard lock(mutex_);
  const auto at = programs_.find(sha);
  return at == programs_.end() ? nullptr : at->second.program;
}

void NodeScripts::remember(const std::shared_ptr<const Program>& program, bool stay) {
  const std::lock_guard lock(mutex_);
  auto [at, fresh] = programs_.try_emplace(program->sha);
  Kept& kept = at->second;
  if (fresh) {
    kept.program = program;
    bytes_ += program->text.size();
    if (!stay) evaluated_.push_back(program->sha);
  }
  kept.stays |= stay;
  while (evaluated_.size() > evaluated_max) {
    const auto oldest = programs_.find(evaluated_.front());
    evaluated_.pop_front();
    if (oldest == programs_.end() || oldest->second.stays) continue;
    bytes_ -= oldest->second.program->text.size();
    programs_.erase(oldest);
  }
}

void NodeScripts::flush() {
  const std::lock_guard lock(mutex_);
  programs_.clear();
  evaluated_.clear();
  bytes_ = 0;
  generation_.fetch_add(1, std::memory_order_release);
}

std::size_t NodeScripts::count() const {
  const std::lock_guard lock(mutex_);
  return programs_.size();
}

std::size_t NodeScripts::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

Reach NodeScripts::reach(const std::string& sha) const {
  const std::lock_guard lock(mutex_);
  const auto at = programs_.find(sha);
  return at == programs_.end() ? Reach::unknown : at->second.reach;
}

void NodeScripts::set_reach(const std::string& sha, Reach reach) {
  const std::lock_guard lock(mutex_);
  const auto at = programs_.find(sha);
  // Once it has reached further it may do so again.
  if (at != programs_.end()) at->second.reach = std::max(at->second.reach, reach);
}

std::shared_ptr<const Libraries> NodeScripts::libraries() const {
  const std::lock_guard lock(mutex_);
  return libraries_;
}

bool NodeScripts::replace(const std::shared_ptr<const Libraries>& before, Libraries now) {
  const std::lock_guard lock(mutex_);
  if (libraries_ != before) return false;
  now.generation = before->generation + 1;
  libraries_ = std::make_shared<Libraries>(std::move(now));
  return true;
}

}  // namespace gyre
