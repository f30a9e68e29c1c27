// Connection: one client: its input, its state, and the line of replies that keeps their order.
//
// Input is read into the worker's turn arena (or, when a command is incomplete, into the
// connection's own buffer), parsed into the worker's list of commands and executed at the end of
// the poll. Each command's reply is a place in the line: written at once, held by a gate (a turn
// that must be durable), or still to come from another thread or node. What is ready from the front
// on leaves with one write per turn.
//
// Ownership: the Worker owns it; it is freed at the end of the turn in which it was closed.
// Threading: its worker's thread alone.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "acl/user.h"
#include "config/checks.h"
#include "coordination/request.h"
#include "net/stream.h"
#include "resp/request.h"
#include "server/pubsub.h"
#include "server/sync_feed.h"
#include "server/tracking.h"

namespace gyre {

class Worker;

// Who takes a reply that comes later. gate: a turn that must be durable first.
using Answered = std::function<void(std::string&& reply, std::uint64_t gate)>;

// What MULTI has collected.
struct Transaction {
  bool open = false;
  bool failed = false;  // a command was refused: EXEC answers EXECABORT
  DbIndex db{};         // after the SELECTs among the commands
  std::vector<OwnedCommand> commands;
  std::vector<std::optional<Error>> denied;  // by command, once EXEC has asked; empty: nothing is
  std::vector<Watch> watches;
  Tracking tracking{};  // of its client, once EXEC has come
};

// Where the commands of an EXEC reach.
struct ExecReach {
  std::vector<Slot> slots;  // of all keys, watched ones too; each once, in order
  bool walks = false;       // one goes over all slots
  bool steps = false;       // one of the connection's own touches data: it keeps its place
  bool wanders = false;     // one reads keys that it does not name
  bool may_leave = false;   // one runs a script that may leave its slot
};

class Connection final : public Stream {
 public:
  Connection(Worker& worker, std::uint64_t id, bool cluster_aware);

  // ---- state that session commands read and change

  const std::uint64_t id;
  const bool cluster_aware;  // came in by cluster-client-port
  int protocol = 2;
  DbIndex db{};
  Levels levels;
  UserPtr user;  // never null once it is the worker's
  bool authenticated = false;
  bool unrestricted = false;  // authenticated, as a user who may do everything
  // From now on it acts as this user.
  void become(UserPtr whom, bool is_authenticated);
  bool reading_replicas = false;  // READONLY
  bool no_evict = false;
  bool monitoring = false;
  enum class ReplyMode : std::uint8_t { on, off, skip_next, skip } reply_mode = ReplyMode::on;
  std::unique_ptr<Subscriptions> subscriptions;  // once it has subscribed
  bool subscribed() const { return subscriptions && subscriptions->total() > 0; }
  std::unique_ptr<ClientTracking> tracking;  // while it tracks
  std::unique_ptr<SyncFeed> feed;            // once it has spoken as a replica
  bool syncing() const { return feed && feed->stage != SyncFeed::Stage::none; }
  std::string name, lib_name, lib_version;
  Transaction transaction;
  // A key of its last write on a ring, for WAIT; none: it has written nothing.
  std::string last_written;
  DbIndex last_written_db{};
  void note_write(const CommandSpec& spec, Args args, DbIndex in);
  std::int64_t created_ms = 0, active_ms = 0;  // steady
  std::uint64_t waits = 0;                     // its number in Blocking; 0: it does not wait
  SteadyMs soft_limit_since = 0;               // output over the soft limit since; 0: it is not
  const CommandSpec* last_command = nullptr;
  bool closing = false;  // close when everything in the line has left
  bool doomed = false;   // over its output limit: closed at the end of the turn

  // Nothing of it asks for more than to run its commands.
  bool ordinary() const {
    return unrestricted && !suspended_ && !transaction.open && !subscriptions && !tracking &&
           reply_mode == ReplyMode::on;
  }

  Levels levels_now() const { return transaction.watches.empty() ? levels : levels.watching(); }

  // ---- replies

  // Where an immediate reply goes: the tail of the line. begin() before, end() after writing.
  std::string& begin() {
    std::string& s = tail();
    begun_at_ = s.size();
    begun_ = true;
    return s;
  }
  // gate: the turn that must be durable first; 0: none.
  void end(std::uint64_t gate) {
    if (gate == 0 && pushes_.empty() && !muted()) [[likely]] {
      begun_ = false;
      if (!dirty) mark_dirty();
      return;
    }
    end_carefully(gate);
  }
  // Instead of end(): what was written since begin() is dropped, a place will be reserved.
  void end_dropped();
  // A place for a reply that comes later; the ticket's id.
  std::uint64_t reserve();
  void fill(std::uint64_t place, std::string&& bytes, std::uint64_t gate);
  // Bytes that answer no command (a message), in their place among the replies, whatever CLIENT
  // REPLY says. While a command runs they wait until its reply is there, and go before it.
  void push(std::string_view bytes);
  // The next command begins: what CLIENT REPLY SKIP silences moves on.
  void next_reply_mode() {
    if (reply_mode == ReplyMode::on || reply_mode == ReplyMode::off) [[likely]]
      return;
    reply_mode = reply_mode == ReplyMode::skip_next ? ReplyMode::skip : ReplyMode::on;
  }
  // A command's reply is being written.
  bool begun() const { return begun_; }
  // Moves what is ready to the socket; persisted: the turn up to which all is durable.
  void flush(std::uint64_t persisted);
  // The id that reserve() will give next.
  std::uint64_t next_place() const { return next_place_; }
  bool line_empty() const { return line_.empty(); }
  // A command of it has no answer yet.
  bool waits_for_answer() const { return unanswered_ > 0; }
  bool waits_for_earlier = false;  // suspended until all have
  // What it is to client-output-buffer-limit.
  ClientClass output_class() const {
    return syncing()      ? ClientClass::replica
           : subscribed() ? ClientClass::pubsub
                          : ClientClass::normal;
  }
  std::size_t output_bytes() const { return out_.size() + line_bytes_ + pending_write_bytes(); }

  // ---- input

  // Nothing more is taken from this client until resume(): a command needs an answer first.
  void suspend() { suspended_ = true; }
  void resume();
  bool suspended() const { return suspended_; }
  // Without running what was deferred: for a try that may suspend again.
  void lift_suspension() { suspended_ = false; }
  // The commands of this turn have run: their bytes may go.
  void turn_over();
  // Commands taken and not yet answered; past the bound the socket is not read until half are gone.
  // So one client's pipeline cannot make a turn long.
  static constexpr std::size_t unanswered_max = 1024;
  std::size_t query_bytes() const { return buffer_.size(); }
  RequestParser& parser() { return parser_; }
  std::size_t in_turn = 0;  // commands in the worker's list
  bool dirty = false;       // has replies to flush at the end of the turn
  // Bounded by client-query-buffer-limit, as what it waits behind may take long.
  // A command that was begun and cannot run yet: first of those that wait. Suspends.
  void begin_again_later(OwnedCommand&& command);
  void defer(OwnedCommand&& command);

 protected:
  std::span<char> read_buffer() override;
  void on_read(std::size_t n) override;
  void on_nothing_read() override;
  void on_drained() override;
  void on_eof() override;
  void on_error(const std::string& why) override;

 private:
  struct Place {
    std::uint64_t id = 0;
    bool ready = true;
    const CommandSpec* spec = nullptr;  // whose reply it is, for INFO errorstats
    std::uint64_t gate = 0;
    bool mute = false;  // CLIENT REPLY OFF or SKIP
    std::string bytes{};
  };
  bool muted() const { return reply_mode == ReplyMode::off || reply_mode == ReplyMode::skip; }
  std::string& tail() {
    if (!line_.empty()) return tail_of_line();
    begun_in_line_ = false;
    if (out_.empty()) lend_output();
    return out_;
  }
  std::string& tail_of_line();
  void lend_output();
  void mark_dirty() {
    if (!dirty) tell_dirty();
  }
  void tell_dirty();
  void end_carefully(std::uint64_t gate);
  void put_pushes();
  bool parse(std::string_view input, std::size_t& used);

  Worker& worker_;
  RequestParser parser_;
  std::string buffer_;           // input of an incomplete command
  std::size_t buffer_used_ = 0;  // of it, what the commands of this turn view
  std::size_t reading_at_ = 0;   // where the present read goes, when into buffer_
  bool reading_own_ = false;
  std::span<char> chunk_;  // where the present read goes, when into the arena
  std::string out_;        // ready to leave
  std::deque<Place> line_;
  std::uint64_t next_place_ = 1;
  std::size_t unanswered_ = 0;  // places of the line that wait for their reply
  std::size_t line_bytes_ = 0;
  std::size_t begun_at_ = 0;  // begin()'s offset in its string
  bool begun_in_line_ = false;
  bool begun_ = false;
  std::string pushes_;  // came while a command ran
  bool suspended_ = false;
  bool resting_ = false;  // not read because too much is unanswered
  std::deque<OwnedCommand> deferred_;
  std::size_t deferred_bytes_ = 0;
};

}  // namespace gyre
