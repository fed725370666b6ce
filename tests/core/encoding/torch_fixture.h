#pragma once

#include "core/encoding/torch_file.h"
#include "core/encoding/torch_zip_layout.h"
#include "tests/core/encoding/zip_maker.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::test {

// Parts of a pickle, to be put together by hand: what a test wants to be wrong must be writable.
namespace py {
[[nodiscard]] std::string text(std::string_view value);
[[nodiscard]] std::string integer(std::int64_t value);
[[nodiscard]] std::string tuple(const std::vector<std::int64_t>& numbers);
[[nodiscard]] std::string global(std::string_view module, std::string_view name);
[[nodiscard]] std::string call(std::string_view module, std::string_view name, std::string_view arguments);
// The persistent id of a storage; `view` stands behind the count.
[[nodiscard]] std::string storage(std::string_view storageClass, std::string_view key, std::int64_t count, std::string_view view = "N");
// _rebuild_tensor_v2; `more` stands where the backward hooks do.
[[nodiscard]] std::string tensor(std::string_view storage, std::int64_t offset, const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
                                 std::string_view more = "N");
} // namespace py

// A torch.save archive with this root (a pickle without PROTO and STOP), storages "0", "1" … and other members.
[[nodiscard]] std::string torchArchive(std::string_view root, const std::vector<std::string>& storages, const std::vector<MadeMember>& others = {});

// The file that a layout and the bytes of its records make. Every byte is written once: a hole or an overlap is a failure of the test.
[[nodiscard]] std::string assembled(const TorchZipLayout& layout, const std::vector<std::string>& contents);

// "name F32 [2, 3] strides [12, 4] at 0 crc 1a2b3c4d" for every tensor that dictionaries, lists and tuples reach; the CRC-32 is that of the plain
// values in row-major order. A tensor that is refused: "name Corrupt: fragment".
[[nodiscard]] std::vector<std::string> tensorLines(const TorchFile& file, const std::shared_ptr<const ByteSource>& source);
// The same of a whole file; one line with the error where it does not open.
[[nodiscard]] std::vector<std::string> tensorLines(std::string_view bytes);

} // namespace shardlens::test
