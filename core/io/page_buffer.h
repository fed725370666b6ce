#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace shardlens {

constexpr std::size_t kPageBytes = 4096;

// Room that starts at a page, as OutputFile needs it to write past the page cache. Kept from call to call.
class PageBuffer {
public:
    // At least `size` bytes, zeros at first; what they held is lost when more are asked for than before.
    [[nodiscard]] std::span<std::byte> take(std::size_t size)
    {
        const std::size_t pages = (size + kPageBytes - 1) / kPageBytes * kPageBytes;
        if (pages > m_size) {
            m_bytes.reset();
            m_bytes.reset(static_cast<std::byte*>(::operator new(pages, std::align_val_t{kPageBytes})));
            std::uninitialized_fill_n(m_bytes.get(), pages, std::byte{0});
            m_size = pages;
        }
        return {m_bytes.get(), size};
    }

private:
    struct Free {
        void operator()(std::byte* bytes) const { ::operator delete(bytes, std::align_val_t{kPageBytes}); }
    };

    std::unique_ptr<std::byte, Free> m_bytes;
    std::size_t m_size = 0;
};

} // namespace shardlens
