#pragma once

#include "core/base/result.h"
#include "ui/pages/convert_draft.h"

namespace shardlens::ui {

// A job document on disk. The error says what is wrong with it.
[[nodiscard]] Result<ConvertRequest> readJobFile(const QString& path);
// Empty, or why it was not written.
[[nodiscard]] QString writeJobFile(const QString& path, const ConvertRequest& request);

// The draft that stands for a request about the source that `now` has; its requestOf() is the request with the defaults of its goal.
// Refused: what the page has no choice for (a goal of another version, several patterns), and choices that the goal does not have.
[[nodiscard]] Result<JobDraft> draftOf(const ConvertRequest& request, const JobDraft& now, const Checkpoint& source);

} // namespace shardlens::ui
