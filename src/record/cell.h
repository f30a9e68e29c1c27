// Cell: the state of one element: a base register, and counter sums beside it.
//
// The base is last-write-wins: a payload, a tombstone, or absent (version 0). A sum is what one
// node has added since it opened it: its id is the version of the opening, so it names the node;
// within one id the higher version wins; it counts while its id lies above the base's version and
// above the record's floor. So increments of two sides both count, and a later overwrite covers
// both.
//
// A cell without sums is just (version, tombstone, payload). With sums its stored bytes are:
//
//   | varint payload size | payload | varint n | n x (be64 id, be64 version, bytes amount) |   ids
//   ascending
//
// Amounts are decimal text: integers, or what INCRBYFLOAT prints.
//
// A node goes on with a sum for a while only (sum_open_ms); so a sum whose id lies far enough below
// T is closed: every replica holds its last change. Such sums are folded into a base (purge.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "record/version.h"

namespace gyre {

struct Sum {
  Version id{};
  Version version{};
  std::string_view amount;
};

// A view of a cell; the views live as long as what they were taken from stays unchanged.
struct Cell {
  Version version{};       // of the base; zero: no base
  bool tombstone = false;  // the base is a removal, or absent while sums are there
  bool has_sums = false;
  std::string_view stored;  // the payload, or the long form when has_sums

  std::string_view payload() const;
  std::vector<Sum> sums() const;
  // Something to read: a base that is not a tombstone, or a sum.
  bool live() const { return !tombstone || has_sums; }
  // The highest version in the cell.
  Version newest() const;
};

// One change of one element, part of an effect. sum.bits == 0: the base register.
struct Change {
  std::string_view id;
  Version version{};
  Version sum{};
  bool tombstone = false;
  std::string_view payload;  // of the base, or the amount of the sum
};

// The outcome of merging one change into one element.
struct CellMerge {
  bool taken = false;  // the cell changed
  bool stands =
      false;  // the change's version is what stands now, or it was covered by its own node later
  Version above{};  // what covered it, when not taken
};

// A cell that is being merged: owns its bytes. Used off the hot path and for cells with sums.
struct CellState {
  Version version{};
  bool tombstone = true;
  bool present = false;  // there is a base or a sum
  std::string payload;
  struct OwnSum {
    Version id{};
    Version version{};
    std::string amount;
  };
  std::vector<OwnSum> sums;  // ids ascending

  static CellState of(const Cell& cell);
  CellMerge merge(const Change& change);
  // Drops what lies at or below the floor.
  void drop_below(Version floor);
  bool has_sums() const { return !sums.empty(); }
  // The stored form for the present state.
  std::string stored() const;
};

// The number that a cell means: base plus sums. `ok` is false when a part is not a number, or when
// the sum does not fit.
struct CellInteger {
  bool ok = false;
  std::int64_t value = 0;
};
CellInteger cell_integer(const Cell& cell);
// The integer that its text shows: parts with a fraction may add up to one.
std::optional<std::int64_t> shown_integer(const Cell& cell);
// The same as text, where it can be told without loss of what kind of number it is: base and
// amounts are numbers, and integers that fit as long as all of them are integers.
std::optional<std::string> cell_total(const Cell& cell);
// The base and the sums up to `upto` alone; no sums in it: there are none so old.
CellState closed_part(const Cell& cell, Version upto);
// The sum of two amounts in decimal text, as integers while both are and the sum fits.
std::string sum_of_amounts(std::string_view a, std::string_view b);
// The same as text: integer arithmetic while all parts are integers, else as INCRBYFLOAT.
std::string cell_text(const Cell& cell);

}  // namespace gyre
