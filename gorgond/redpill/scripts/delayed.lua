-- Shared by the scripts that read what is delayed: the message of an entry. One that somebody put there by hand may be
-- nothing else.
local function message_of(entry)
  return string.sub(entry, (string.find(entry, ':', 1, true) or 0) + 1)
end
