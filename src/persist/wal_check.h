// What a damaged write-ahead log means: an end that a power cut tore off, or data that is lost.
//
// RocksDB offers two answers and both are wrong by themselves. kTolerateCorruptedTailRecords
// refuses to open when the last record's checksum is bad, which is what a power cut in the middle
// of a write leaves: a normal event, nothing acknowledged is lost. kPointInTimeRecovery opens in
// every case and drops all that follows the first bad record without a word, also when that was on
// the disk for days. So the store opens with kPointInTimeRecovery, and looks at the logs first:
//
// Every write carries a note that says up to which sequence number the log had been synced when it
// was written. If a record is bad and a later one says that it had been synced, the disk has lost
// what it promised: an error, for a human. If nobody says so, it was never promised: the end is
// cut. (A bad record followed by good ones is no proof by itself: the system writes unsynced pages
// in any order, so a power cut under `everysec` may leave a hole.)
//
// Limits: a log that ends early at a record's border, the last of all logs, looks like one that was
// never longer. Damage to the very last synced record is taken for a torn end.
//
// Format:  the log of RocksDB (wiki, "Write Ahead Log File Format"): blocks of 32 KiB; fragments
//          crc32c (masked) 4 | length 2 | type 1 | payload; full 1, first 2, middle 3, last 4.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gyre {

// The text of the note for "synced up to this sequence number".
std::string synced_note(std::uint64_t sequence);

// Looks at all logs (*.log) of the database directory. Errors: corrupt, with file and offset, when
// data is lost that had been synced; io. Cost: reads the logs once, about 1 GB/s or better.
Result<void> check_wals(const std::string& directory);

}  // namespace gyre
