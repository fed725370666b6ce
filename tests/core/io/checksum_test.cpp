#include "core/io/checksum.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace shardlens {
namespace {

std::span<const std::byte> bytesOf(std::string_view text)
{
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

TEST(Checksum, IsTheOneThatZipHas)
{
    EXPECT_EQ(crc32Of(bytesOf("123456789")), 0xCBF43926u); // the check value of the CRC-32/ISO-HDLC definition
    EXPECT_EQ(crc32Of(bytesOf("")), 0u);
}

TEST(Checksum, GoesOnFromWhatCameBefore)
{
    EXPECT_EQ(crc32Of(bytesOf("6789"), crc32Of(bytesOf("12345"))), 0xCBF43926u);
    EXPECT_EQ(crc32Of(bytesOf(""), 0xCBF43926u), 0xCBF43926u);
}

TEST(Checksum, JoinsRunsThatWereCountedApart)
{
    const std::string_view whole = "123456789";
    for (std::size_t cut = 0; cut <= whole.size(); ++cut)
        EXPECT_EQ(crc32Joined(crc32Of(bytesOf(whole.substr(0, cut))), crc32Of(bytesOf(whole.substr(cut))), whole.size() - cut), 0xCBF43926u) << cut;
}

TEST(Checksum, JoinsALongRun)
{
    const std::vector<std::byte> head(3, std::byte{7});
    const std::vector<std::byte> tail(5'000'000, std::byte{9});
    EXPECT_EQ(crc32Joined(crc32Of(head), crc32Of(tail), tail.size()), crc32Of(tail, crc32Of(head)));
}

} // namespace
} // namespace shardlens
