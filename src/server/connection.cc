#include "server/connection.h"

#include "base/log.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

constexpr std::size_t own_read_least = 16 * 1024;

}  // namespace

Connection::Connection(Worker& worker, std::uint64_t connection_id, bool aware)
    : id(connection_id), cluster_aware(aware), worker_(worker) {}

void Connection::become(UserPtr whom, bool is_authenticated) {
  user = std::move(whom);
  authenticated = is_authenticated;
  unrestricted = authenticated && user->may_everything();
  parser_.set_authenticated(authenticated);
}

void Connection::note_write(const CommandSpec& spec, Args args, DbIndex in) {
  if (!(spec.flags & flag::write)) return;
  std::string_view key;
  for_each_key(spec, args, [&](std::size_t i) {
    if (key.empty()) key = args[i];
  });
  last_written = key;
  last_written_db = in;
}

// ---- replies

// The string at the end of the line, where the next bytes belong.
std::string& Connection::tail_of_line() {
  begun_in_line_ = line_.back().ready && !line_.back().mute;
  if (!begun_in_line_) {
    line_.push_back({.id = next_place_++, .ready = true});
    begun_in_line_ = true;
  }
  return line_.back().bytes;
}

void Connection::lend_output() {
  worker_.lend_output(out_);
}

void Connection::tell_dirty() {
  worker_.mark_dirty(*this);
}

void Connection::end_carefully(std::uint64_t gate) {
  begun_ = false;
  std::string& s = begun_in_line_ ? line_.back().bytes : out_;
  if (muted()) s.resize(begun_at_);
  if (!pushes_.empty()) {
    // Before the reply, so that nothing of it is torn, and nothing of them waits for its gate.
    s.insert(begun_at_, pushes_);
    begun_at_ += pushes_.size();
    if (begun_in_line_) line_bytes_ += pushes_.size();
    std::string().swap(pushes_);
    worker_.mark_dirty(*this);
  }
  if (s.size() > begun_at_ && gate != 0 && (!begun_in_line_ || line_.back().gate < gate)) {
    if (begun_in_line_ && begun_at_ == 0) {
      line_.back().gate = gate;
    } else {
      // What is before it in the same string need not wait for this gate.
      std::string rest = s.substr(begun_at_);
      s.resize(begun_at_);
      line_.push_back({.id = next_place_++, .ready = true, .gate = gate, .bytes = std::move(rest)});
    }
  }
  worker_.mark_dirty(*this);
}

void Connection::end_dropped() {
  begun_ = false;
  std::string& s = begun_in_line_ ? line_.back().bytes : out_;
  s.resize(begun_at_);
}

void Connection::push(std::string_view bytes) {
  if (begun_) {
    pushes_.append(bytes);
  } else {
    tail().append(bytes);
    if (begun_in_line_) line_bytes_ += bytes.size();
  }
  worker_.mark_dirty(*this);
}

// Those of a command whose reply comes later: behind its place, whose number is known already.
void Connection::put_pushes() {
  if (begun_ || pushes_.empty()) return;
  std::string bytes;
  bytes.swap(pushes_);
  push(bytes);
}

std::uint64_t Connection::reserve() {
  line_.push_back({.id = next_place_, .ready = false, .spec = last_command, .mute = muted()});
  const std::uint64_t place = next_place_++;
  ++unanswered_;
  put_pushes();
  return place;
}

void Connection::fill(std::uint64_t place, std::string&& bytes, std::uint64_t gate) {
  if (line_.empty() || place < line_.front().id) return;
  const std::size_t index = static_cast<std::size_t>(place - line_.front().id);
  if (index >= line_.size() || line_[index].ready) return;
  Place& p = line_[index];
  GYRE_ASSERT(p.id == place);
  p.ready = true;
  p.gate = gate;
  if (--unanswered_ == 0 && std::exchange(waits_for_earlier, false)) {
    worker_.send_mail(worker_.shard(), [id = id](Worker& w) {
      if (Connection* c = w.find(id)) c->resume();
    });
  }
  if (p.spec && bytes.starts_with('-')) [[unlikely]]
    worker_.count_error(*p.spec, bytes);
  if (!p.mute) p.bytes = std::move(bytes);
  line_bytes_ += p.bytes.size();
  worker_.mark_dirty(*this);
}

void Connection::flush(std::uint64_t persisted) {
  put_pushes();
  while (!line_.empty() && line_.front().ready && line_.front().gate <= persisted) {
    Place& p = line_.front();
    line_bytes_ -= std::min(line_bytes_, p.bytes.size());
    if (out_.empty()) {
      out_ = std::move(p.bytes);
    } else {
      out_.append(p.bytes);
    }
    line_.pop_front();
  }
  if (!is_open()) return;
  if (resting_ && line_.size() < unanswered_max / 2) {
    resting_ = false;
    if (!closing && (!suspended_ || waits != 0)) read_start();
  }
  if (!out_.empty() || out_.capacity() > std::string().capacity()) {
    worker_.metrics().total_net_output_bytes.add(out_.size());
    std::string bytes;
    bytes.swap(out_);
    if (write(std::move(bytes))) worker_.return_output(std::move(bytes));
  }
  if (closing && line_.empty() && pending_write_bytes() == 0) worker_.closed(*this);
}

// ---- input

std::span<char> Connection::read_buffer() {
  if (buffer_.empty()) {
    reading_own_ = false;
    chunk_ = worker_.arena_piece();
    return chunk_;
  }
  if (buffer_used_ > 0) worker_.run_commands_now();  // the buffer may move
  reading_own_ = true;
  reading_at_ = buffer_.size();
  const std::size_t want = std::max(
      own_read_least, std::min<std::size_t>(parser_.bytes_wanted() + 2, std::size_t{1} << 20));
  buffer_.resize(reading_at_ + want);
  return {buffer_.data() + reading_at_, want};
}

bool Connection::parse(std::string_view input, std::size_t& used) {
  used = 0;
  while (used < input.size() && is_open() && !closing) {
    auto& args = worker_.args();
    const std::size_t first = args.size();
    std::size_t taken = 0;
    const Parsed parsed = parser_.next(input.substr(used), taken, args);
    used += taken;
    if (parsed == Parsed::need_more) break;
    if (parsed == Parsed::error) {
      worker_.run_commands_now();
      if (!is_open()) return false;
      Reply reply(begin(), protocol);
      reply.error(parser_.error());
      end(0);
      closing = true;
      read_stop();
      return false;
    }
    worker_.add_command(*this, first, args.size() - first);
    // AUTH and HELLO change what may be parsed next.
    if (!authenticated) {
      worker_.run_commands_now();
      parser_.set_authenticated(authenticated);
      // The commands are done, but the bytes stay until this loop ends.
    }
  }
  return true;
}

void Connection::on_read(std::size_t n) {
  worker_.metrics().total_net_input_bytes.add(n);
  worker_.metrics().total_reads_processed.add();
  active_ms = worker_.loop_ms();
  std::size_t used = 0;
  if (reading_own_) {
    buffer_.resize(reading_at_ + n);
    if (!parse(buffer_, used)) return;
    buffer_used_ = used;
    if (in_turn == 0) turn_over();
  } else {
    const std::string_view input(chunk_.data(), n);
    const bool whole = parse(input, used);
    if (in_turn > 0) worker_.arena_used(chunk_.data() + n);
    if (!whole) return;
    if (used < n && is_open()) buffer_.assign(input.substr(used));
  }
  if (!is_open()) return;
  const auto limit =
      static_cast<std::size_t>(worker_.server().config().client_query_buffer_limit.get());
  if (buffer_.size() - buffer_used_ + deferred_bytes_ > limit) {
    worker_.metrics().client_query_buffer_limit_disconnections.add();
    LOG_SELDOM(warning, "client %s is closed: its query buffer passed client-query-buffer-limit",
               peer_address().c_str());
    worker_.closed(*this);
    return;
  }
  if (worker_.congested()) {
    read_stop();
    worker_.pause_reading(*this);
  } else if (in_turn + line_.size() > unanswered_max) {
    read_stop();
    resting_ = true;
    worker_.mark_dirty(*this);
  }
}

// The room made for it goes: what lies behind the bytes that came would be taken for more of them.
void Connection::on_nothing_read() {
  if (reading_own_) buffer_.resize(reading_at_);
}

void Connection::on_drained() {
  if (feed) worker_.sync_feeds().pump(*this);
}

void Connection::turn_over() {
  parser_.reset_scratch();
  if (buffer_used_ == 0) return;
  if (buffer_used_ == buffer_.size()) {
    std::string().swap(buffer_);  // an idle client holds no buffer
  } else {
    buffer_.erase(0, buffer_used_);
  }
  buffer_used_ = 0;
}

void Connection::begin_again_later(OwnedCommand&& command) {
  end(0);
  suspend();
  deferred_bytes_ += command.bytes();
  deferred_.push_front(std::move(command));
}

void Connection::defer(OwnedCommand&& command) {
  deferred_bytes_ += command.bytes();
  deferred_.push_back(std::move(command));
}

void Connection::resume() {
  suspended_ = false;
  while (!suspended_ && !deferred_.empty() && is_open()) {
    const OwnedCommand command = std::move(deferred_.front());
    deferred_.pop_front();
    deferred_bytes_ -= command.bytes();
    worker_.read_clock();
    Worker::Call call({command.known(), command.args(), db});
    worker_.dispatch(*this, call);
  }
  if (!suspended_ && !resting_ && is_open() && !closing && !reading()) read_start();
}

void Connection::on_eof() {
  worker_.closed(*this);
}
void Connection::on_error(const std::string&) {
  worker_.closed(*this);
}

}  // namespace gyre
