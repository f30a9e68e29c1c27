// Rows: how records lie in the store.
//
//   key:    | slot be16 | db u8 | key size be32 | key | kind u8 | element id |
//   value of kind 0 (header):
//           | type u8 | flags u8 | [floor be64] | [expiry ms be64 | its version be64] |
//             string: version be64, tombstone u8, sums u8, stored; stub: newest version be64
//   value of kind 1 (element):  | version be64 | tombstone u8 | sums u8 | stored |
//
// A key size of 0xffffffff marks the row of the (slot, db) itself: its floor; 0xfffffffe, under
// database 0, that of the slot:  | T be64 | confirmed be64 | partial u8 |. One range delete of
// [record, record + 0xff) drops all of a record; byte order is slot order, so a slot is one range.
// Recovery turns rows back into effects and merges them with apply.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "record/record.h"

namespace gyre {

// Replaces `to` by the prefix of a record's rows, up to and without the kind.
void row_prefix(std::string& to, Slot slot, DbIndex db, std::string_view key);
std::string slot_row_prefix(Slot slot);
std::string floor_row(Slot slot, DbIndex db);
// What the slot has settled with its other replicas: KeySpace::Agreement.
std::string agreement_row(Slot slot);

void header_value(std::string& to, const Node& record);
void element_value(std::string& to, const Cell& cell);

// Reads rows in key order and hands out effects, each of one record and at most 512 changes; the
// last by finish(). The views live until the call returns.
class RowReader {
 public:
  struct Sink {
    virtual ~Sink() = default;
    virtual void loaded(Slot slot, const Effect& effect) = 0;
    virtual void loaded_floor(Slot slot, DbIndex db, Version floor) = 0;
    virtual void loaded_agreement(Slot, Version /*repaired*/, Version /*confirmed*/,
                                  bool /*partial*/) {}
  };
  explicit RowReader(Sink& sink) : sink_(sink) {}

  // Errors: corrupt, with the row in hex.
  Result<void> row(std::string_view key, std::string_view value);
  void finish();

 private:
  bool parse_header(std::string_view value);
  bool parse_element(std::string_view id, std::string_view value);
  bool add_cell(std::string_view id, Reader& in);
  void flush();

  Sink& sink_;
  Slot slot_{};
  std::string record_key_;  // owns what effect_.key shows
  std::string bytes_;       // owns ids and payloads of effect_, by offset until flush
  struct Pending {
    std::size_t id_at, id_size, payload_at, payload_size;
    Version version, sum;
    bool tombstone;
  };
  std::vector<Pending> pending_;
  Effect effect_;
  bool open_ = false;
};

}  // namespace gyre
