#include "core/base/result.h"

namespace shardlens {

Error Error::within(std::string place) &&
{
    m_places.push_back(std::move(place));
    return std::move(*this);
}

std::string Error::text() const
{
    std::string out;
    for (auto place = m_places.rbegin(); place != m_places.rend(); ++place)
        out += *place + ": ";
    return out + m_message;
}

std::string Error::sentence() const
{
    std::string out = text();
    if (!out.empty() && out.back() != '.' && out.back() != '?')
        out += '.';
    return out;
}

} // namespace shardlens
