#pragma once

#include "core/encoding/pickle/graph.h"
#include "core/io/byte_source.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::test {

[[nodiscard]] std::vector<std::byte> toBytes(std::string_view text);
[[nodiscard]] std::shared_ptr<const MemorySource> memory(std::string_view text);
// The whole of `source` from `offset`; "error: …" where it cannot be read.
[[nodiscard]] std::string textAt(const ByteSource& source, std::uint64_t offset, std::uint64_t count);
[[nodiscard]] std::string readFile(const std::string& path);

// Bytes of hexadecimal digits or base64 text; white space counts for nothing. An empty result for anything else.
[[nodiscard]] std::string fromHex(std::string_view digits);
[[nodiscard]] std::string fromBase64(std::string_view text);

// formats/pytorch.md §12.1: w = [[0, 1, 2], [3, 4, 5]] by torch.save, 729 bytes.
[[nodiscard]] std::string smallestTorchFile();
// formats/pytorch.md §12.3: w, v on the same storage, and b in bfloat16, by the stream format; 550 bytes.
[[nodiscard]] std::string smallLegacyFile();

// "Corrupt: fragment", as tests compare failures.
[[nodiscard]] std::string codeName(ErrorCode code);

// A value as Python would print it: (1, 'a', [2.5]), os.system('ls'), new C(), pid('0'). Cut at a depth of eight with "...".
[[nodiscard]] std::string shown(pickle::Value value, int depth = 0);
// The root of a pickle, shown; "Corrupt: fragment" where it is refused.
[[nodiscard]] std::string shownPickle(std::string_view bytes);

} // namespace shardlens::test
